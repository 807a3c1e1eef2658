"""URLs that carry their own permission: tokens bound to one object, one purpose and a time."""

from __future__ import annotations

import time
from typing import Any

import jwt
from starlette.responses import JSONResponse, Response

from local.gateway.storage import faults, objects
from local.gateway.storage.body import Body
from local.gateway.storage.call import Call, valid_key
from local.keys import Keys

MAX_PATHS = 1000
UPLOAD_LIFETIME = 2 * 3600
NO_ACCESS = "Either the object does not exist or you do not have access to it"


async def sign(call: Call) -> Response:
    """POST /object/sign/{bucket}/{name} {expiresIn}: a download URL, for who may read the object."""
    lifetime = _lifetime(await call.body())
    async with call.transaction() as connection:
        await objects.existing(connection, call.bucket, call.name)
    return JSONResponse({"signedURL": _download_url(call, call.name, lifetime)})


async def sign_many(call: Call) -> Response:
    """POST /object/sign/{bucket} {paths, expiresIn}: one answer per path, those that fail among them."""
    body = await call.body()
    body.require("expiresIn", "paths")
    lifetime, paths = _lifetime(body), body.texts("paths", least=1, most=MAX_PATHS)
    async with call.transaction() as connection:
        visible = await objects.find_names(connection, call.bucket, paths)
    return JSONResponse(
        [
            {"error": None, "path": path, "signedURL": _download_url(call, path, lifetime)}
            if path in visible
            else {"error": NO_ACCESS, "path": path, "signedURL": None}
            for path in paths
        ]
    )


def check(call: Call, scope: str) -> dict[str, Any]:
    """The claims of the URL's token; a fault unless it is for this object and this purpose."""
    token = call.request.query_params.get("token")
    if not token:
        raise faults.invalid_body("querystring must have required property 'token'")
    return verified(call.keys, token, f"{call.bucket}/{call.name}", scope)


def verified(keys: Keys, token: str, url: str, scope: str) -> dict[str, Any]:
    """The claims of a token; a fault unless it is for the object at `url` (bucket/name) and this purpose."""
    try:
        claims = keys.verify(token)
    except jwt.PyJWTError as error:
        raise faults.invalid_jwt(jwt_message(error)) from error
    if claims.get("scope") != scope:
        raise faults.invalid_signature(f"Token is not scoped for {scope}")
    if claims.get("url") != url:
        raise faults.invalid_signature()
    return claims


def upload_url(call: Call, *, upsert: bool) -> dict[str, str]:
    """The answer to a request for an upload URL; the caller's permission was probed."""
    url = f"{call.bucket}/{call.name}"
    claims = {"owner": call.caller.user_id, "url": url, "upsert": upsert, "scope": "upload"}
    token = _token(call, claims, UPLOAD_LIFETIME)
    return {"url": f"/object/upload/sign/{url}?token={token}", "token": token}


def jwt_message(error: jwt.PyJWTError) -> str:
    """The words of the real server's library for a bad token."""
    match error:
        case jwt.ExpiredSignatureError():
            return '"exp" claim timestamp check failed'
        case jwt.InvalidSignatureError():
            return "signature verification failed"
        case _:
            return "Invalid Compact JWS"


def _download_url(call: Call, name: str, lifetime: int) -> str:
    url = f"{call.bucket}/{valid_key(name)}"
    token = _token(call, {"url": url, "scope": "download"}, lifetime)
    return f"/object/sign/{url}?token={token}"


def _token(call: Call, claims: dict[str, Any], lifetime: int) -> str:
    # Never a role claim: a signed URL's token is worth nothing in Authorization.
    now = int(time.time())
    return jwt.encode({**claims, "iat": now, "exp": now + lifetime}, call.keys.jwt_secret)


def _lifetime(body: Body) -> int:
    body.require("expiresIn")
    return body.number("expiresIn", 0, least=1)
