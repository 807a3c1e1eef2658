"""The HTTP edge of embed_on_upload: database webhooks and kicks in, vectors into the database."""

from __future__ import annotations

from collections import Counter
from functools import partial

import flask
import functions_framework

from shared.errors import NeuralSearchError
from shared.http import bodies, handlers, services
from shared.http.health import report
from shared.indexing import webhook as events
from shared.indexing.webhook_handler import WebhookHandler
from shared.runtime import malloc, shutdown
from shared.runtime.limiter import ConcurrencyLimiter
from shared.runtime.metrics import Metrics
from shared.search.index import active_model
from shared.supabase import credentials

MAX_BODY = 4 * 1024 * 1024  # old and new row of an object, each with up to 1 MB of user metadata
# Calls at a time, and those next; the others hear Busy. Threads for them come on top of THREADS.
# More of them run than there are cores, since each waits for Storage and the database: 8 callers were served
# 23 images/s with 4, 18 with 2 and 11 with 1.
RUNNING, WAITING = 4, 2

metrics = Metrics()
malloc.give_back_what_is_freed()


@functions_framework.http
def embed_on_upload(request: flask.Request) -> flask.Response:
    services.prepare_log()
    return _counted(request, handlers.dispatch(request, ROUTES, MAX_BODY))


@functions_framework.errorhandler(Exception)  # type: ignore[untyped-decorator]
def problem(error: Exception) -> flask.Response:
    return _counted(flask.request, handlers.problem(error))


def webhook(request: flask.Request) -> flask.Response:
    """One object has changed, or a kick: see `shared/indexing/webhook.py`."""
    handlers.check_secret(request, services.configuration().webhook_secrets)
    event = events.parse(bodies.read(request, services.readers()))
    try:
        results = _webhook_handler().handle(event)
    except NeuralSearchError as error:
        if error.outcome != "release":
            raise
        # The caller's key is right, though one of our own was refused.
        return handlers.problem(error, status=503)
    # No names: pg_net keeps answers for hours where every database role can read them. The log has them.
    return handlers.answer(Counter(result.status for result in results))


def health(request: flask.Request) -> flask.Response:
    handlers.check_secret(request, services.configuration().webhook_secrets)
    service = credentials.service(services.configuration())
    return report(
        services.models(),
        lambda: active_model(services.database(service)),
        key="SUPABASE_SECRET_KEY",
        words=str,
    )


ROUTES: handlers.Routes = {
    "/": {"POST": webhook},
    "/live": {"GET": services.live},
    "/health": {"GET": health},
    "/metrics": {"GET": partial(services.counters, metrics)},
}


def _counted(request: flask.Request, response: flask.Response) -> flask.Response:
    metrics.request(handlers.route(request, ROUTES), response.status_code)
    return handlers.finished(response)


def _webhook_handler() -> WebhookHandler:
    return handlers.once("webhook_handler", _build_webhook_handler)


def _build_webhook_handler() -> WebhookHandler:
    mine = services.configuration()
    service = credentials.service(mine)
    limiter = ConcurrencyLimiter(running=RUNNING, waiting=WAITING)
    metrics.watch(limiter)
    return WebhookHandler(
        database=services.databases(service),
        storage=services.storage(service),
        models=services.models(),
        limiter=limiter,
        metrics=metrics,
        decode=services.decoders(metrics).decode,
        max_bytes=mine.max_image_bytes,
        stopping=shutdown.requested,
    )
