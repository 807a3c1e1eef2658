"""What both functions build once per process, and the two paths that only speak of the process."""

from __future__ import annotations

from functools import partial

import flask
import requests

from shared import edge, embedding, settings
from shared.identity import Identity
from shared.metrics import Metrics
from shared.models import Models
from shared.rpc import Database, http_client
from shared.settings import Settings
from shared.storage import Storage


def configuration() -> Settings:
    return edge.once("settings", settings.load)


def models() -> Models:
    mine = configuration()
    load = partial(embedding.load, configuration=mine)
    return edge.once("models", lambda: Models(mine.embedding_models, load))


def database(caller: Identity) -> Database:
    return Database(configuration().need("supabase_url"), caller, edge.once("http", http_client))


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
