"""The HTTP edge of embed_on_upload: database webhooks and kicks in, vectors into the database."""

from __future__ import annotations

from collections import Counter
from functools import partial

import flask
import functions_framework

from shared import bodies, edge, events, identity, memory, process, shutdown
from shared.documents import active_model
from shared.errors import NeuralSearchError
from shared.gate import Gate
from shared.health import report
from shared.ingest import Ingest
from shared.metrics import Metrics

MAX_BODY = 4 * 1024 * 1024  # old and new row of an object, each with up to 1 MB of user metadata
# Together fewer than the server's 8 threads on two cores, so that one is free to answer Busy or /live.
# More of them run than there are cores, since each waits for Storage and the database: 8 callers were served
# 23 images/s with 4, 18 with 2 and 11 with 1.
RUNNING, WAITING = 4, 2
READING = 5  # bodies that threads wait for

metrics = Metrics()
memory.give_back_what_is_freed()


@functions_framework.http
def embed_on_upload(request: flask.Request) -> flask.Response:
    return _counted(request, edge.dispatch(request, ROUTES, MAX_BODY))


@functions_framework.errorhandler(Exception)  # type: ignore[untyped-decorator]
def problem(error: Exception) -> flask.Response:
    return _counted(flask.request, edge.problem(error))


def webhook(request: flask.Request) -> flask.Response:
    """One object has changed, or a kick: see `shared/events.py`."""
    edge.check_secret(request, process.configuration().webhook_secrets)
    event = events.parse(bodies.read(request, _readers()))
    try:
        results = _ingest().handle(event)
    except NeuralSearchError as error:
        if error.outcome != "release":
            raise
        # Whatever our own keys are refused with, the caller's are right.
        return edge.problem(error, status=503)
    # No names: pg_net keeps answers for hours where every database role can read them. The log has them.
    return edge.answer(Counter(result.status for result in results))


def health(request: flask.Request) -> flask.Response:
    edge.check_secret(request, process.configuration().webhook_secrets)
    service = identity.service(process.configuration())
    return report(process.models(), lambda: active_model(process.database(service)))


ROUTES: edge.Routes = {
    "/": {"POST": webhook},
    "/live": {"GET": process.live},
    "/health": {"GET": health},
    "/metrics": {"GET": partial(process.counters, metrics)},
}


def _counted(request: flask.Request, response: flask.Response) -> flask.Response:
    path = edge.normal_path(request)
    metrics.request(path if path in ROUTES else "other", response.status_code)
    return edge.finished(response)


def _readers() -> Gate:
    return edge.once("readers", lambda: Gate(running=READING, waiting=0))


def _ingest() -> Ingest:
    return edge.once("ingest", _build_ingest)


def _build_ingest() -> Ingest:
    mine = process.configuration()
    service = identity.service(mine)
    gate = Gate(running=RUNNING, waiting=WAITING)
    metrics.watch(gate)
    return Ingest(
        database=process.databases(service),
        storage=process.storage(service),
        models=process.models(),
        gate=gate,
        metrics=metrics,
        decode=process.decoders(metrics).decode,
        max_bytes=mine.max_image_bytes,
        stopping=shutdown.requested,
    )
