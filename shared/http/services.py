"""Per-process services of both functions, and the handlers of /live and /metrics."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import flask

from shared import embedding, settings
from shared.errors import NeuralSearchError
from shared.http import handlers
from shared.images.sandbox.pool import DecoderPool, start
from shared.runtime import logs
from shared.runtime.limiter import ConcurrencyLimiter
from shared.runtime.metrics import Metrics
from shared.runtime.model_registry import ModelRegistry
from shared.settings import Settings
from shared.supabase.credentials import Identity
from shared.supabase.database import Database, http_client
from shared.supabase.storage import Storage, http_session

READING = 5  # bodies that threads wait for


def configuration() -> Settings:
    return handlers.once("settings", settings.load)


def prepare_log() -> None:
    """Sets the log's level as LOG_LEVEL says, once."""
    handlers.once("log_level", lambda: logs.set_level(configuration().log_level))


def readers() -> ConcurrencyLimiter:
    """Bounds the threads that wait for bodies."""
    return handlers.once("readers", lambda: ConcurrencyLimiter(running=READING, waiting=0))


def models() -> ModelRegistry:
    mine = configuration()
    load = partial(embedding.load, configuration=mine)
    return handlers.once("models", lambda: ModelRegistry(mine.embedding_models, load))


def decoders(metrics: Metrics) -> DecoderPool:
    """Started by the first request for them, so that they import while the model loads."""

    def count(cause: NeuralSearchError) -> None:
        metrics.decoder_replaced(type(cause).__name__)
        logs.write("decoder replaced", severity="WARNING", error=cause)

    return handlers.once("decoders", lambda: start(configuration(), count))


def databases(caller: Identity) -> Callable[[], Database]:
    """Makes them in any thread, also in one that serves no request."""
    return partial(Database, configuration().need("supabase_url"), caller, handlers.once("http", http_client))


def database(caller: Identity) -> Database:
    return databases(caller)()


def storage(caller: Identity | None) -> Storage:
    """Storage as the caller, or as nobody, for objects by their own tokens."""
    mine = configuration()
    url = mine.need("supabase_url")
    session = handlers.once("session", partial(http_session, url))
    return Storage(url, caller, session, mine.public_url)


def live(_request: flask.Request) -> flask.Response:
    """Whether this process can serve: see ModelRegistry.check_live."""
    models().check_live()
    return handlers.answer({"status": "ok"})


def counters(metrics: Metrics, request: flask.Request) -> flask.Response:
    """Prometheus text, for holders of the webhook secret."""
    handlers.check_secret(request, configuration().webhook_secrets)
    return flask.Response(metrics.text(), mimetype="text/plain; version=0.0.4")
