"""Requests that web pages of elsewhere make: a browser on this machine reaches 127.0.0.1 for each of them."""

from __future__ import annotations

import functools
import logging
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

# As containers name the machine that they run on, with Docker Desktop and Podman.
FROM_CONTAINERS = ("host.docker.internal", "host.containers.internal")
SHOWN = 200  # characters of a name that a stranger chose

log = logging.getLogger(__name__)


class LocalOrigins:
    """Middleware that refuses, before anything else, the pages of other machines (`Origin`, and `Host`, whose
    name may lead here by DNS rebinding). Clients that are no browsers send no Origin, and pass.

    Starlette's TrustedHostMiddleware looks at no Origin, and knows no range of addresses.
    """

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = _refusal(Headers(scope=scope)) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
            return
        _note(refusal)
        body = {"statusCode": "403", "error": "Forbidden", "code": "ForeignOrigin", "message": refusal}
        await JSONResponse(body, 403, {"cache-control": "no-store"})(scope, receive, send)


def _refusal(headers: Headers) -> str | None:
    for origin in headers.getlist("origin"):
        if not _is_local(_hostname(origin)):
            return (
                f"A web page of {origin[:SHOWN]!r} asked. The embedded stack answers pages of this machine "
                "alone: open it at http://localhost, any port, or call from a server, which sends no Origin."
            )
    for host in headers.getlist("host") or [""]:
        name = _hostname(f"//{host}")
        if not (name in FROM_CONTAINERS or _is_local(name)):
            return (
                f"The request is addressed to {host[:SHOWN]!r}. The embedded stack answers as localhost or "
                "127.0.0.1 alone: use one of these, through a tunnel, too."
            )
    return None


def _hostname(address: str) -> str:
    """The host of an address; nothing where it has none, as the Origin `null`."""
    try:
        return (urlsplit(address).hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_local(name: str) -> bool:
    """Whether browsers know, without asking a name server, that it is this machine."""
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


@functools.lru_cache(maxsize=100)
def _note(refusal: str) -> None:
    """Once each: browsers don't show a refused page's author the answer, and a page may ask without end."""
    log.warning("%s", refusal)
