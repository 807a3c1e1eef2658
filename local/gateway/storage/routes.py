"""Which function answers which path, under which operation's name, and who needs to be known for it."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable

import jwt
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from local.gateway.database import Database
from local.gateway.identity import ANON, Caller, KeyRefused, caller_from, token_of
from local.gateway.storage import (
    buckets,
    downloads,
    faults,
    listing,
    pages,
    removals,
    signing,
    transfers,
    uploads,
)
from local.gateway.storage.call import Call, media_type
from local.gateway.storage.files import Files
from local.gateway.storage.tus import handlers as tus
from local.gateway.storage.tus.pending import Pending
from local.keys import Keys

Handler = Callable[[Call], Awaitable[Response]]
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
MAX_BODY = 1024 * 1024  # bytes of JSON, as the real server's framework has it
STREAMED = (uploads.upload, uploads.overwrite, uploads.upload_signed, tus.create, tus.patch)
KNOWN, ANYONE, NOBODY = "a valid token", "a valid token, or else anon", "nobody: the URL itself says enough"

# Method, path, operation, who, handler. The first that matches answers.
TABLE: list[tuple[str, str, str, str, Handler]] = [
    ("GET", "/bucket", "bucket.list", KNOWN, buckets.list_all),
    ("POST", "/bucket", "bucket.create", KNOWN, buckets.create),
    ("GET", "/bucket/{bucket}", "bucket.get", KNOWN, buckets.get),
    ("PUT", "/bucket/{bucket}", "bucket.update", KNOWN, buckets.update),
    ("DELETE", "/bucket/{bucket}", "bucket.delete", KNOWN, buckets.delete),
    ("POST", "/bucket/{bucket}/empty", "bucket.empty", KNOWN, removals.empty),
    ("POST", "/object/list/{bucket}", "object.list", KNOWN, listing.list_folder),
    ("POST", "/object/list-v2/{bucket}", "object.list_v2", KNOWN, pages.list_page),
    ("POST", "/object/move", "object.move", KNOWN, transfers.move),
    ("POST", "/object/copy", "object.copy", KNOWN, transfers.copy),
    ("POST", "/object/sign/{bucket}", "object.sign_many", KNOWN, signing.sign_many),
    ("POST", "/object/sign/{bucket}/{name:path}", "object.sign", KNOWN, signing.sign),
    ("GET", "/object/sign/{bucket}/{name:path}", "object.get_signed", NOBODY, downloads.download_signed),
    (
        "POST",
        "/object/upload/sign/{bucket}/{name:path}",
        "object.sign_upload_url",
        KNOWN,
        transfers.sign_upload,
    ),
    (
        "PUT",
        "/object/upload/sign/{bucket}/{name:path}",
        "object.upload_signed",
        NOBODY,
        uploads.upload_signed,
    ),
    ("GET", "/object/public/{bucket}/{name:path}", "object.get_public", NOBODY, downloads.download_public),
    ("GET", "/object/info/public/{bucket}/{name:path}", "object.info_public", NOBODY, downloads.info_public),
    (
        "GET",
        "/object/info/authenticated/{bucket}/{name:path}",
        "object.info_authenticated",
        KNOWN,
        downloads.info,
    ),
    ("GET", "/object/info/{bucket}/{name:path}", "object.info_authenticated", ANYONE, downloads.info),
    (
        "GET",
        "/object/authenticated/{bucket}/{name:path}",
        "object.get_authenticated",
        KNOWN,
        downloads.download,
    ),
    ("GET", "/object/{bucket}/{name:path}", "object.get_authenticated", ANYONE, downloads.download),
    ("POST", "/object/{bucket}/{name:path}", "object.upload", KNOWN, uploads.upload),
    ("PUT", "/object/{bucket}/{name:path}", "object.upload_update", KNOWN, uploads.overwrite),
    ("DELETE", "/object/{bucket}", "object.delete_many", KNOWN, removals.remove_many),
    ("DELETE", "/object/{bucket}/{name:path}", "object.delete", KNOWN, removals.remove),
    *[
        (method, path, f"tus.{operation}{suffix}", who, handler)
        for root, suffix, known in (("/sign", "_signed", NOBODY), ("", "", KNOWN))
        for method, path, operation, who, handler in (
            ("OPTIONS", f"/upload/resumable{root}", "options", NOBODY, tus.tell),
            ("OPTIONS", f"/upload/resumable{root}/{{upload}}", "options", NOBODY, tus.tell),
            ("POST", f"/upload/resumable{root}", "upload.create", known, tus.create),
            ("POST", f"/upload/resumable{root}/", "upload.create", known, tus.create),
            ("PATCH", f"/upload/resumable{root}/{{upload}}", "upload.part", known, tus.patch),
            ("HEAD", f"/upload/resumable{root}/{{upload}}", "upload.get", known, tus.show),
            ("DELETE", f"/upload/resumable{root}/{{upload}}", "upload.delete", known, tus.terminate),
        )
    ],
]


def routes(prefix: str, database: Database, files: Files, pending: Pending, keys: Keys) -> list[Route]:
    """The routes of Storage, mounted at `prefix`."""

    def endpoint(operation: str, who: str, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            try:
                if request.method not in ("GET", "HEAD"):
                    media_type(request)  # a fault for one that can't be read, for every caller
                call = Call(
                    request=request,
                    caller=_caller(request, keys, who),
                    operation=f"storage.{operation}",
                    database=database,
                    files=files,
                    pending=pending,
                    keys=keys,
                )
                return await handler(call)
            except KeyRefused as refusal:
                return JSONResponse(refusal.body, 401)
            except faults.Fault as fault:
                await _drain(request)
                return fault.response()
            except ClientDisconnect:
                return Response(status_code=499)  # nobody reads it

        return answer

    return [
        Route(
            prefix + path,
            endpoint(operation, who, handler),
            methods=[method],
            max_body_size=None if handler in STREAMED else MAX_BODY,
        )
        for method, path, operation, who, handler in TABLE
    ] + [Route(prefix + "/{rest:path}", _no_route, methods=METHODS)]


async def _no_route(request: Request) -> Response:
    """Such as image transformations, which the real server has and this one doesn't."""
    message = f"Route {request.method}:{request.url.path} not found"
    return JSONResponse({"message": message, "error": "Not Found", "statusCode": 404}, 404)


def _caller(request: Request, keys: Keys, who: str) -> Caller:
    if who == NOBODY:
        return ANON
    token = token_of(request, keys, key_required=False)
    if token is None and who == KNOWN:
        raise KeyRefused("No API key found in request", "No `apikey` request header or url param was found.")
    try:
        return caller_from(keys.verify(token)) if token else ANON
    except jwt.PyJWTError as error:
        if who == ANYONE:
            return ANON
        raise faults.access_denied(signing.jwt_message(error)) from error


async def _drain(request: Request) -> None:
    """Read the rest of the request: a client that can't finish sending may not read the answer."""
    with contextlib.suppress(RuntimeError, ClientDisconnect):  # nothing is left, or nobody is there any more
        async for _ in request.stream():
            pass
