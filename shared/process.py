"""What both functions build once per process, and the two paths that only speak of the process."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import flask
import requests

from shared import edge, embedding, logs, settings
from shared.decoders import Decoders, start
from shared.errors import NeuralSearchError
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


def decoders(metrics: Metrics) -> Decoders:
    """Started by whoever asks first, so that they import while the model loads."""

    def count(cause: NeuralSearchError) -> None:
        metrics.decoder_replaced(type(cause).__name__)
        logs.write("decoder replaced", severity="WARNING", error=cause)

    return edge.once("decoders", lambda: start(configuration(), count))


def databases(caller: Identity) -> Callable[[], Database]:
    """Makes them in any thread, also in one that serves no request."""
    return partial(Database, configuration().need("supabase_url"), caller, edge.once("http", http_client))


def database(caller: Identity) -> Database:
    return databases(caller)()


def storage(caller: Identity) -> Storage:
    session = edge.once("session", requests.Session)
    mine = configuration()
    return Storage(mine.need("supabase_url"), caller, session, mine.public_url)


def live(_request: flask.Request) -> flask.Response:
    """Whether this process can serve: see Models.check_live."""
    models().check_live()
    return edge.answer({"status": "ok"})


def counters(metrics: Metrics, request: flask.Request) -> flask.Response:
    """Prometheus text, for whoever has the webhook secret."""
    edge.check_secret(request, configuration().webhook_secrets)
    return flask.Response(metrics.text(), mimetype="text/plain; version=0.0.4")
