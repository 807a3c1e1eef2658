"""The HTTP edge of query: search, upload, and the page. Holds no secret key: it acts as its callers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import flask
import functions_framework

from functions.query import pages
from shared import settings
from shared.errors import Busy, InvalidQuery
from shared.http import bodies, handlers, services
from shared.http.health import report
from shared.images import DecodedImage
from shared.images.sandbox.budget import Budget
from shared.runtime import disconnect, malloc
from shared.runtime.limiter import ConcurrencyLimiter, MemoryLimiter
from shared.runtime.metrics import Metrics
from shared.search import filters, json_body, uploads
from shared.search import query as queries
from shared.search.authentication import AuthenticationCache
from shared.search.index import ObjectState, active_model
from shared.search.preview_links import PreviewLinks
from shared.search.previews import Previews, Wanted
from shared.search.query import Query
from shared.search.search import URL_SECONDS, Search
from shared.search.validation import single
from shared.supabase import credentials
from shared.supabase.credentials import Identity
from shared.supabase.database import Database

# Searches at a time, and those next; the others hear Busy. Those that decode images, and those that embed
# texts, have such places each. Threads for them come on top of THREADS.
RUNNING, WAITING = 2, 4
# Large bodies are parsed one at a time: it takes the interpreter for itself, so that two would only take
# longer. All who are at work may wait for that: half a second each at most, while a refusal would be another
# body's fault. Small ones cost too little to wait behind those.
PARSING, PARSING_NEXT = 1, handlers.CALLERS_AT_WORK - 1
# All large bodies together have the memory of so many of the longest that are taken, until their answers.
BODIES = 4
UPLOAD_FIELDS = ("bucket", "name", "upsert")
QUERY_FIELDS = (*queries.FIELDS, *filters.KEYS)
WATCHING, BRIEFLY = 2, 1.0  # uploads that may hold a thread until they are searchable; seconds for the others

CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": "authorization, apikey, content-type, x-client-info",
    "Access-Control-Allow-Methods": "GET, HEAD, POST, OPTIONS",
    "Access-Control-Expose-Headers": "Retry-After, x-request-id",
    "Access-Control-Max-Age": "3600",
}
MAX_ECHOED = 1024  # characters of headers that a caller may add: proxies take answers' heads of some KB

metrics = Metrics()
malloc.give_back_what_is_freed()


@functions_framework.http
def query(request: flask.Request) -> flask.Response:
    handlers.once("settings", partial(settings.load, for_callers=True))
    services.prepare_log()
    with disconnect.ends_work(partial(handlers.is_open, handlers.connection(request))):
        return _finished(request, handlers.dispatch(request, ROUTES, _max_body()))


@functions_framework.errorhandler(Exception)  # type: ignore[untyped-decorator]
def problem(error: Exception) -> flask.Response:
    return _finished(flask.request, handlers.problem(error))


def search(request: flask.Request) -> flask.Response:
    caller = _caller(request)
    model = _authentication().authenticate(caller)  # before the body is looked at
    with _memory().share() as take:
        found = _search().find(caller, model, _read_query(request, take))
    results = [vars(one) for one in found.results]  # not dataclasses.asdict, which copies every value: 1 ms
    return handlers.answer({"model": model.name, **vars(found), "results": results})


def vector(request: flask.Request) -> flask.Response:
    """The vector of a text or an image, for callers of the SQL functions."""
    caller = _caller(request)
    model = _authentication().authenticate(caller)  # before the body is looked at
    with _memory().share() as take:
        made = _search().vector(caller, model, _read_query(request, take))
    return handlers.answer({"model": model.name, "dimensions": model.dimensions, "vector": made})


def upload(request: flask.Request) -> flask.Response:
    """Stores an image as the caller; with `?wait=1`, answers once it is searchable or never will be."""
    caller = _caller(request)
    _authentication().authenticate(caller)
    address = _once(request.args.to_dict(flat=False), ("wait", *UPLOAD_FIELDS))
    wants_to_wait = _flag(address.pop("wait", "0"), "wait")
    about = _store(request, caller, address)
    if not wants_to_wait:
        return handlers.answer({**about, "state": "pending", "reason": None}, 202)
    state = _watch(services.database(caller), about["bucket"], about["name"])
    status = 201 if state.state == "searchable" else 202
    return handlers.answer({**about, "state": state.state, "reason": state.reason}, status)


def _store(request: flask.Request, caller: Identity, address: Mapping[str, str]) -> dict[str, str]:
    """The stored image as answers name it; its bytes are held no longer."""
    with _memory().share() as take:
        image = _read_upload(request, address, take)
        object_id = uploads.store(services.storage(caller), image, limiter=_file_limiter(), decode=_decode)
    return {"bucket": image.bucket, "name": image.name, "object_id": object_id}


def _watch(database: Database, bucket: str, name: str) -> ObjectState:
    watchers = handlers.once("watchers", lambda: ConcurrencyLimiter(running=WATCHING, waiting=0))
    try:
        with watchers.enter():
            return uploads.wait(database, bucket, name)
    except Busy:
        return uploads.wait(database, bucket, name, seconds=BRIEFLY)


def preview(request: flask.Request) -> flask.Response:
    """A small WebP of a stored image, for holders of Storage's token for it: an `<img>` sends no headers."""
    fields = {name: request.args.get(name, "") for name in ("bucket", "name", "token")}
    wanted = Wanted(**fields, size=request.args.get("size", "tile"))
    response = flask.Response(_previews().make(wanted), mimetype="image/webp")
    response.headers["Cache-Control"] = f"private, max-age={URL_SECONDS}"
    return response


def health(_request: flask.Request) -> flask.Response:
    anon = credentials.caller({}, services.configuration().publishable_key)
    return report(
        services.models(), lambda: active_model(services.database(anon)), key="SUPABASE_PUBLISHABLE_KEY"
    )


ROUTES: handlers.Routes = {
    "/": {"GET": pages.page, "POST": handlers.in_turn(search)},
    "/query": {"POST": handlers.in_turn(search)},
    "/embeddings": {"POST": handlers.in_turn(upload)},
    "/preview": {"GET": preview},
    "/vector": {"POST": handlers.in_turn(vector)},
    "/live": {"GET": services.live},
    "/health": {"GET": handlers.in_turn(health)},
    "/metrics": {"GET": partial(services.counters, metrics)},
    **pages.ROUTES,
}


def _max_body() -> int:
    # JSON carries an image in base64, a third longer.
    return services.configuration().max_image_bytes * 4 // 3 + json_body.MAX_BYTES


def _caller(request: flask.Request) -> Identity:
    return credentials.caller(request.headers, services.configuration().publishable_key)


def _read_query(request: flask.Request, take: Callable[[int], None]) -> Query:
    body = bodies.read(request, services.readers(), take)
    with _parsing(body):
        return _parse_query(request, body)


def _parse_query(request: flask.Request, body: bytes) -> Query:
    kind = bodies.kind(request, body)
    if kind == "file":
        return queries.from_form(request.args.to_dict(flat=False), [body])
    _refuse_beside_body(name for name in request.args if name in QUERY_FIELDS)
    return queries.from_json(body) if kind == "json" else queries.from_form(*bodies.form(request, body))


def _read_upload(
    request: flask.Request, address: Mapping[str, str], take: Callable[[int], None]
) -> uploads.Upload:
    body = bodies.read(request, services.readers(), take)
    with _parsing(body):
        fields, images = _fields_and_images(request, bodies.kind(request, body), body, address)
    if len(images) != 1:
        raise InvalidQuery("Send one image, as the file field `image` or as the body.", value=len(images))
    return uploads.Upload(
        bucket=fields.get("bucket", ""),
        name=fields.get("name", ""),
        data=images[0],
        upsert=_flag(fields.get("upsert", "false"), "upsert"),
    )


def _fields_and_images(
    request: flask.Request, kind: bodies.Kind, body: bytes, address: Mapping[str, str]
) -> tuple[Mapping[str, str], list[bytes]]:
    if kind == "json":
        raise InvalidQuery("An upload is no JSON. Send the image as multipart/form-data or as the body.")
    if kind == "file":
        return address, [body]
    _refuse_beside_body(address)
    fields, images = bodies.form(request, body)
    return _once(fields, UPLOAD_FIELDS), images


def _refuse_beside_body(names: Iterable[str]) -> None:
    """For what stands in the address where the body says everything: nothing of it would count."""
    for name in names:
        raise InvalidQuery(
            f"{name} stands in the address beside a body with fields. Put it there.", value=name
        )


def _once(fields: Mapping[str, Sequence[str]], known: Sequence[str]) -> dict[str, str]:
    """The fields' values; InvalidQuery for an unknown one, or one that is given several times."""
    for name in fields:
        if name not in known:
            text = f"There is no field {name!r:.100} here. Expected: {', '.join(known)}."
            raise InvalidQuery(text, value=name[:100])
    return {name: single(name, values) for name, values in fields.items()}


def _flag(text: str, name: str) -> bool:
    if text.lower() not in ("1", "true", "0", "false"):
        raise InvalidQuery(f"{name} is {text!r:.100}. Expected true or false.", value=text[:100])
    return text.lower() in ("1", "true")


def _finished(request: flask.Request, response: flask.Response) -> flask.Response:
    metrics.request(handlers.route(request, ROUTES), response.status_code)
    response.headers.update(CORS)
    asked = request.headers.get("Access-Control-Request-Headers", "")
    if 0 < len(asked) <= MAX_ECHOED:
        # Clients and tracing libraries add headers: none of them means anything to us.
        response.headers["Access-Control-Allow-Headers"] = asked
    return handlers.finished(response)


def _decode(data: bytes, *, min_side: int | None) -> DecodedImage:
    """Decodes on the running request's budget: one for all its images."""
    if "budget" not in flask.g:
        flask.g.budget = Budget(seconds=services.configuration().max_decode_seconds)
    return services.decoders(metrics).decode(data, min_side=min_side, budget=flask.g.budget)


def _authentication() -> AuthenticationCache:
    return handlers.once("authentication", lambda: AuthenticationCache(services.database))


def _file_limiter() -> ConcurrencyLimiter:
    return handlers.once("file_limiter", _search_limiter)


def _search_limiter() -> ConcurrencyLimiter:
    return ConcurrencyLimiter(running=RUNNING, waiting=WAITING)


def _parsing(body: bytes) -> AbstractContextManager[None]:
    limiter = handlers.once("parsing", lambda: ConcurrencyLimiter(running=PARSING, waiting=PARSING_NEXT))
    return limiter.enter() if len(body) > bodies.BUFFERED else nullcontext()


def _memory() -> MemoryLimiter:
    return handlers.once("memory", lambda: MemoryLimiter(BODIES * _max_body()))


def _previews() -> Previews:
    return handlers.once("previews", _build_previews)


def _build_previews() -> Previews:
    return Previews(
        storage=services.storage(None),
        decode=_decode,
        max_bytes=services.configuration().max_image_bytes,
    )


def _search() -> Search:
    return handlers.once("search", _build_search)


def _build_search() -> Search:
    return Search(
        connect=services.database,
        storage=services.storage,
        models=services.models(),
        file_limiter=_file_limiter(),
        text_limiter=_search_limiter(),
        metrics=metrics,
        decode=_decode,
        previews=PreviewLinks(transforms=services.configuration().storage_transformations == "on"),
    )
