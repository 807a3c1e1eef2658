"""What both functions build once per process, and the two paths that only speak of the process."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

import flask
import requests

from shared import edge, embedding, settings
from shared.decoders import Decoders
from shared.identity import Identity
from shared.metrics import Metrics
from shared.models import Models
from shared.rpc import Database, http_client
from shared.settings import Settings
from shared.storage import Storage

MOST_DECODERS = 4  # beyond that many, the model is what a server waits for


def configuration() -> Settings:
    return edge.once("settings", settings.load)


def models() -> Models:
    mine = configuration()
    load = partial(embedding.load, configuration=mine)
    return edge.once("models", lambda: Models(mine.embedding_models, load))


def decoders() -> Decoders:
    """Started by whoever asks first, so that they import while the model loads."""
    return edge.once("decoders", _start_decoders)


def _start_decoders() -> Decoders:
    mine = configuration()
    started = Decoders(
        processes=min(os.cpu_count() or 1, MOST_DECODERS),
        seconds=mine.max_decode_seconds,
        memory=mine.max_decode_memory,
        max_bytes=mine.max_image_bytes,
        max_pixels=mine.max_image_pixels,
    )
    started.start()
    return started


def databases(caller: Identity) -> Callable[[], Database]:
    """Makes them in any thread, also in one that serves no request."""
    return partial(Database, configuration().need("supabase_url"), caller, edge.once("http", http_client))


def database(caller: Identity) -> Database:
    return databases(caller)()


def storage(caller: Identity) -> Storage:
    session = edge.once("session", requests.Session)
    return Storage(configuration().need("supabase_url"), caller, session)


def live(_request: flask.Request) -> flask.Response:
    """Whether every model still embeds a test picture."""
    models().canary()
    return edge.answer({"status": "ok"})


def counters(metrics: Metrics, request: flask.Request) -> flask.Response:
    """Prometheus text, for whoever has the webhook secret."""
    edge.check_secret(request, configuration().webhook_secrets)
    return flask.Response(metrics.text(), mimetype="text/plain; version=0.0.4")
