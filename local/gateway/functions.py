"""/functions/v1/<name>/…: passed on to the process that serves the function, prefix stripped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeVar

import httpx
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

Answer = TypeVar("Answer")

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
TIMEOUT = httpx.Timeout(150, connect=5)  # 150 s is the limit of hosted functions
# Each connection's own affair (RFC 9110, 7.6.1), and the headers that the client library states anew.
NOT_PASSED_ON = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization te trailer transfer-encoding upgrade "
    b"host".split()
)


def make_transport() -> httpx.AsyncHTTPTransport:
    """Connections to the functions. No client around it: that would add headers, and keep users' cookies.

    Each request gets a connection of its own: the functions' server closes an idle one after two seconds, and
    a kick that is sent just then would be lost.
    """
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    return httpx.AsyncHTTPTransport(limits=limits, trust_env=False)


def routes(prefix: str, functions: Mapping[str, str], transport: httpx.AsyncHTTPTransport) -> list[Route]:
    """The routes of the functions, mounted at `prefix`; `functions` maps a name to its process's URL."""

    async def answer(request: Request) -> Response:
        name = request.path_params["function"]
        if name not in functions:
            expected = ", ".join(sorted(functions)) or "none"
            return _error(404, "NOT_FOUND", f"There is no function {name!r}. Running: {expected}.")
        if _is_page_without_slash(request):
            return RedirectResponse(request.url.replace(path=f"{request.url.path}/"))
        try:
            return await _forward(transport, request, functions[name], prefix)
        except ClientDisconnect:
            return Response(status_code=499)  # nobody reads it
        except httpx.ConnectError:
            return _error(503, "BOOT_ERROR", f"The function {name} isn't running. Its log says why.")
        except httpx.TimeoutException:
            return _error(504, "WORKER_LIMIT", f"The function {name} didn't answer in time.")
        except httpx.HTTPError:
            return _error(502, "BAD_GATEWAY", f"The function {name} broke off. Its log says why.")

    endpoint: Callable[[Request], Awaitable[Response]] = answer
    return [
        Route(f"{prefix}/{{function}}", endpoint, methods=METHODS),
        Route(f"{prefix}/{{function}}/{{rest:path}}", endpoint, methods=METHODS),
    ]


def _is_page_without_slash(request: Request) -> bool:
    """Whether a browser opens `…/<name>`: a page's relative addresses would miss the function."""
    asks_for_html = request.method == "GET" and "text/html" in request.headers.get("accept", "")
    return asks_for_html and "rest" not in request.path_params


async def _forward(transport: httpx.AsyncHTTPTransport, request: Request, url: str, prefix: str) -> Response:
    sent = asyncio.Event()
    outgoing = httpx.Request(
        request.method,
        url + _tail(request, prefix),
        headers=_headers(request, prefix),
        content=_body(request, sent),
        extensions={"timeout": TIMEOUT.as_dict()},
    )
    answer = await _unless(_hung_up(request, sent), transport.handle_async_request(outgoing))
    response = StreamingResponse(_relay(answer), answer.status_code)
    response.raw_headers = [
        (name.lower(), value)
        for name, value in answer.headers.raw
        if name.lower() not in NOT_PASSED_ON and name.lower() != b"date"  # uvicorn adds its own
    ]
    return response


def _tail(request: Request, prefix: str) -> str:
    """Path and query as they were sent, without the function's own part."""
    raw: bytes = request.scope.get("raw_path") or request.url.path.encode()
    path = raw.decode("latin-1").split("?")[0].removeprefix(f"{prefix}/")
    _, slash, rest = path.partition("/")
    query = request.url.query
    return f"/{rest if slash else ''}" + (f"?{query}" if query else "")


def _headers(request: Request, prefix: str) -> list[tuple[bytes, bytes]]:
    headers = [(name, value) for name, value in request.headers.raw if name not in NOT_PASSED_ON]
    forwarded = {
        "x-forwarded-for": request.client.host if request.client else "",
        "x-forwarded-host": request.headers.get("host", ""),
        "x-forwarded-proto": request.url.scheme,
        "x-forwarded-prefix": f"{prefix}/{request.path_params['function']}",
    }
    return headers + [
        (name.encode(), value.encode()) for name, value in forwarded.items() if name not in request.headers
    ]


def _body(request: Request, sent: asyncio.Event) -> AsyncIterator[bytes] | None:
    """The body as a stream, where there is one: httpx would announce a chunked body even if it is empty."""
    if "content-length" in request.headers or "transfer-encoding" in request.headers:
        return _stream(request, sent)
    sent.set()
    return None


async def _stream(request: Request, sent: asyncio.Event) -> AsyncIterator[bytes]:
    async for part in request.stream():
        yield part
    sent.set()


async def _hung_up(request: Request, sent: asyncio.Event) -> None:
    """Returns when the caller has; while the body is being sent, its stream tells that."""
    await sent.wait()
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _unless(hung_up: Coroutine[Any, Any, None], answering: Coroutine[Any, Any, Answer]) -> Answer:
    """The answer; ClientDisconnect where the caller goes first: the function's connection ends with it."""
    asking, leaving = asyncio.create_task(answering), asyncio.create_task(hung_up)
    try:
        await asyncio.wait({asking, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not asking.done():
            raise ClientDisconnect()
        return asking.result()
    finally:
        leaving.cancel()
        asking.cancel()


async def _relay(answer: httpx.Response) -> AsyncIterator[bytes]:
    """The answer's bytes as they are on the wire, encoded or not."""
    try:
        async for chunk in answer.aiter_raw():
            yield chunk
    finally:
        await answer.aclose()


def _error(status: int, code: str, message: str) -> Response:
    return JSONResponse({"code": code, "message": message}, status)
