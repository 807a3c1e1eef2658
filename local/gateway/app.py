"""The gateway as an ASGI app: all routes, CORS, and the workers that live as long as it does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from local.gateway import auth, cron, functions, net, rest, storage
from local.gateway.database import SUPERUSER, Database, sessions
from local.gateway.local_origins import LocalOrigins
from local.gateway.storage.files import Files
from local.gateway.storage.tus import handlers as tus
from local.gateway.storage.tus.pending import Pending
from local.gateway.storage.tus.sweeping import sweep
from local.keys import Keys

EXPOSED = [
    "content-range",
    "content-location",
    "content-disposition",
    "etag",
    "x-supabase-api-version",
    "location",
    "preference-applied",
    *tus.EXPOSED,
]

log = logging.getLogger(__name__)


def create_app(
    database_url: Callable[[str], str], files: Path, keys: Keys, function_urls: Mapping[str, str]
) -> Starlette:
    """The gateway over the database whose URL, for a login role, `database_url` tells.

    `files` is the folder for the objects' bytes, `function_urls` maps a function's name to its address.
    """
    database_url = sessions(database_url)
    database = Database(database_url)
    transport = functions.make_transport()
    stored = Files(files)
    pending = Pending(files / "resumable", stored)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await database.open()
        stored.remove_partial()
        app.state.tasks = {
            asyncio.create_task(net.work(database_url(SUPERUSER))),
            asyncio.create_task(cron.work(database_url)),
            asyncio.create_task(sweep(pending, stored, database)),
        }
        try:
            yield
        finally:
            await _end(app.state.tasks)
            await transport.aclose()
            await database.close()

    async def health(request: Request) -> Response:
        reachable = await database.is_reachable()
        body = {
            "status": "ok" if reachable else "failing",
            "database": reachable,
            "functions": list(function_urls),
        }
        return JSONResponse(body, 200 if reachable else 503)

    return Starlette(
        routes=[
            Route("/", health),
            Route("/health", health),
            *storage.routes("/storage/v1", database, stored, pending, keys),
            *auth.routes("/auth/v1", database, keys),
            *rest.routes("/rest/v1", database, keys),
            *functions.routes("/functions/v1", function_urls, transport),
        ],
        middleware=[
            Middleware(LocalOrigins),
            Middleware(
                CORSMiddleware,
                allow_origins=["*"],
                allow_methods=["*"],
                allow_headers=["*"],
                expose_headers=EXPOSED,
            ),
        ],
        exception_handlers={OSError: _refused_by_system, Exception: _failed},
        lifespan=lifespan,
    )


async def _refused_by_system(request: Request, error: Exception) -> Response:
    """For a full disk and the like. Handled here: a connection that ends with an error loses the answer."""
    log.error("%s %s: %s", request.method, request.url.path, error)
    return _internal(getattr(error, "strerror", None) or "Internal Server Error")


async def _failed(_request: Request, _error: Exception) -> Response:
    return _internal("Internal Server Error")


def _internal(message: str) -> Response:
    body = {"statusCode": "500", "error": "Internal", "code": "InternalError", "message": message}
    return JSONResponse(body, 500)


async def _end(tasks: set[asyncio.Task[None]]) -> None:
    for task in list(tasks):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
