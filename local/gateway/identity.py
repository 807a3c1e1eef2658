"""Who is calling: API keys and JWTs, as Supabase's gateway reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request

from local.keys import Keys

BROWSERS = "Mozilla/"  # how every browser's User-Agent begins


class KeyRefused(Exception):
    """The gateway itself answers 401: no API key, or one that it doesn't know."""

    def __init__(self, message: str, hint: str):
        super().__init__(message)
        self.body = {"message": message, "hint": hint}


@dataclass(frozen=True, kw_only=True)
class Caller:
    """The database role that a request acts as, and the claims that policies read."""

    role: str
    claims: Mapping[str, Any] = field(default_factory=dict)
    known: bool = True  # by a token; otherwise the caller counts as anon

    @property
    def user_id(self) -> str | None:
        """The user's id (the token's `sub`), which becomes the owner of their uploads."""
        subject = self.claims.get("sub")
        return subject if isinstance(subject, str) else None


ANON = Caller(role="anon", claims={"role": "anon"}, known=False)
SERVICE = Caller(role="service_role", claims={"role": "service_role"})


def token_of(request: Request, keys: Keys, *, key_required: bool = True) -> str | None:
    """The JWT that the services behind the gateway get to see; KeyRefused for a missing or unknown API key.

    An API key stands for its role's token unless a user's token is in Authorization. An opaque key there
    counts only as the repetition of `apikey`: otherwise the services see it and find no JWT in it.
    """
    key = request.headers.get("apikey") or request.query_params.get("apikey")
    bearer = bearer_of(request)
    if key is None:
        if key_required:
            raise KeyRefused(
                "No API key found in request", "No `apikey` request header or url param was found."
            )
        return bearer
    tokens: dict[str, str] = {
        keys.publishable: keys.anon,
        keys.secret: keys.service_role,
        keys.anon: keys.anon,
        keys.service_role: keys.service_role,
    }
    if key not in tokens:
        raise KeyRefused("Invalid API key", "Double check your Supabase `anon` or `service_role` API key.")
    if key == keys.secret and request.headers.get("user-agent", "").startswith(BROWSERS):
        raise KeyRefused(
            "Forbidden use of secret API key in browser",
            "A secret key must never reach a browser. Use the publishable key there.",
        )
    return tokens[key] if bearer in (None, key) else bearer


def bearer_of(request: Request) -> str | None:
    """The token after `Bearer` in the Authorization header."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def caller_from(claims: Mapping[str, Any]) -> Caller:
    """The caller that verified claims name; a token without a role acts as anon."""
    role = claims.get("role")
    return Caller(role=role if isinstance(role, str) and role else "anon", claims=claims)
