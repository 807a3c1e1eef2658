"""Signing in by password, refreshing, asking who one is, signing out, and the keys that verify tokens."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

import jwt
import psycopg
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from local.gateway.auth import faults, sessions
from local.gateway.auth.sessions import Row
from local.gateway.database import AUTH, Connection, Database
from local.gateway.identity import KeyRefused, bearer_of, token_of
from local.keys import Keys

LIFETIME = 3600  # seconds of an access token
MAX_BODY = 64 * 1024  # bytes: an address and a password
JWKS_SECONDS = 600  # that the platform's edge keeps them
Handler = Callable[[Connection, Request, Keys], Awaitable[Response]]


def routes(prefix: str, database: Database, keys: Keys) -> list[Route]:
    """The routes of Auth, mounted at `prefix`."""

    def endpoint(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            try:
                token_of(request, keys)  # the gateway's own check of the API key
                await request.body()  # kept for the handler, as the REST API does it
                async with database.transaction(AUTH, {"search_path": "auth"}) as connection:
                    return await handler(connection, request, keys)
            except KeyRefused as refusal:
                return JSONResponse(refusal.body, 401)
            except faults.Fault as fault:
                return fault.response(request)
            except psycopg.Error:
                return faults.unavailable().response(request)
            except ClientDisconnect:
                return Response(status_code=499)  # nobody reads it

        return answer

    async def jwks(request: Request) -> Response:
        headers = {"cache-control": f"public, max-age={JWKS_SECONDS}"}
        return JSONResponse({"keys": keys.jwks}, headers=headers)

    return [
        Route(prefix + path, handler, methods=[method], max_body_size=MAX_BODY)
        for path, handler, method in (
            ("/.well-known/jwks.json", jwks, "GET"),
            ("/token", endpoint(token), "POST"),
            ("/user", endpoint(user), "GET"),
            ("/logout", endpoint(logout), "POST"),
        )
    ]


async def token(connection: Connection, request: Request, keys: Keys) -> Response:
    """POST /token?grant_type=password {email, password}, or =refresh_token {refresh_token}."""
    body, grant = await _body(request), request.query_params.get("grant_type")
    if grant == "password":
        agent = request.headers.get("user-agent", "")
        found, session = await sessions.sign_in(
            connection, _text(body, "email"), _text(body, "password"), agent
        )
    elif grant == "refresh_token":
        found, session = await sessions.refresh(connection, _text(body, "refresh_token"))
    else:
        raise faults.unsupported_grant()
    return JSONResponse(_session(found, session, request, keys))


async def user(connection: Connection, request: Request, keys: Keys) -> Response:
    """GET /user: the user whom the token in Authorization names, while their session lasts."""
    claims = _claims(request, keys)
    await sessions.check(connection, claims.get("session_id"))
    return JSONResponse(_presentable(await sessions.find_user(connection, claims["sub"])))


async def logout(connection: Connection, request: Request, keys: Keys) -> Response:
    """POST /logout?scope=global, local or others."""
    claims = _claims(request, keys)
    scope = request.query_params.get("scope", "global")
    await sessions.sign_out(connection, claims["sub"], claims.get("session_id"), scope)
    return Response(status_code=204)


async def _body(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.body())
    except (ValueError, RecursionError):
        raise faults.invalid_body() from None
    if not isinstance(body, dict):
        raise faults.invalid_body()
    return body


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or re.search("[\0\ud800-\udfff]", value):  # which the database can't hold
        return ""
    return value


def _claims(request: Request, keys: Keys) -> dict[str, Any]:
    bearer = bearer_of(request)
    if bearer is None:
        raise faults.no_bearer()
    try:
        claims = keys.verify(bearer)
    except jwt.PyJWTError as error:
        raise faults.bad_token(str(error)) from error
    if not isinstance(claims.get("sub"), str):
        raise faults.Fault(403, "bad_jwt", "invalid claim: missing sub claim")
    return claims


def _session(found: Row, session: Row, request: Request, keys: Keys) -> dict[str, Any]:
    return {
        "access_token": _access_token(found, session, request, keys),
        "token_type": "bearer",
        "expires_in": LIFETIME,
        "expires_at": int(time.time()) + LIFETIME,
        "refresh_token": session["token"],
        "user": _presentable(found),
        "weak_password": None,
    }


def _access_token(found: Row, session: Row, request: Request, keys: Keys) -> str:
    claims = {
        "iss": f"{request.url.scheme}://{request.url.netloc}/auth/v1",
        "aud": found["aud"],
        "sub": str(found["id"]),
        "email": found["email"],
        "phone": "",
        "app_metadata": found["raw_app_meta_data"] or {},
        "user_metadata": found["raw_user_meta_data"] or {},
        "aal": "aal1",
        "amr": [{"method": "password", "timestamp": int(time.time())}],
        "session_id": str(session["session_id"]),
        "is_anonymous": False,
    }
    return keys.mint(found["role"], claims, lifetime=LIFETIME)


def _presentable(found: Row) -> dict[str, Any]:
    stamps = ("email_confirmed_at", "last_sign_in_at", "created_at", "updated_at")
    return {
        "id": str(found["id"]),
        "aud": found["aud"],
        "role": found["role"],
        "email": found["email"],
        "phone": "",
        "app_metadata": found["raw_app_meta_data"] or {},
        "user_metadata": found["raw_user_meta_data"] or {},
        "identities": [],
        "is_anonymous": False,
        **{name: found[name] and found[name].isoformat() for name in stamps},
    }
