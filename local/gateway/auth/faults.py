"""Refusals in the words of the real server: clients show them, and decide by their code."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

VERSION_HEADER, VERSION = "x-supabase-api-version", "2024-01-01"


class Fault(Exception):
    """An answer that says no."""

    def __init__(self, status: int, code: str, message: str):
        super().__init__(message)
        self.status, self.code, self.message = status, code, message

    def response(self, request: Request) -> Response:
        """With the names that the client's version of the API has for code and message."""
        if request.headers.get(VERSION_HEADER, "") >= VERSION:
            body: dict[str, object] = {"code": self.code, "message": self.message}
            return JSONResponse(body, self.status, {VERSION_HEADER: VERSION})
        body = {"code": self.status, "error_code": self.code, "msg": self.message}
        return JSONResponse(body, self.status)


def invalid_credentials() -> Fault:
    return Fault(400, "invalid_credentials", "Invalid login credentials")


def invalid_body() -> Fault:
    return Fault(400, "bad_json", "Could not parse request body as JSON")


def unsupported_grant() -> Fault:
    return Fault(400, "invalid_credentials", "unsupported_grant_type")


def unknown_refresh_token() -> Fault:
    return Fault(400, "refresh_token_not_found", "Invalid Refresh Token: Refresh Token Not Found")


def used_refresh_token() -> Fault:
    return Fault(400, "refresh_token_already_used", "Invalid Refresh Token: Already Used")


def no_bearer() -> Fault:
    return Fault(401, "no_authorization", "This endpoint requires a valid Bearer token")


def bad_token(reason: str) -> Fault:
    return Fault(403, "bad_jwt", f"invalid JWT: unable to parse or verify signature, {reason}")


def no_session() -> Fault:
    return Fault(403, "session_not_found", "Session from session_id claim in JWT does not exist")


def unavailable() -> Fault:
    return Fault(500, "unexpected_failure", "Unexpected failure, please check server logs")
