"""Who asks: the key and the token that every call to Supabase carries."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from werkzeug.datastructures import Headers

from shared.errors import Unauthorized
from shared.secrets import api_keys
from shared.settings import Secret, Settings

BROWSERS = "Mozilla/"  # how every browser's User-Agent begins


@dataclass(frozen=True, kw_only=True)
class Identity:
    """The two headers by which Supabase's gateway, PostgREST and Storage know the caller."""

    apikey: Secret
    authorization: Secret  # "Bearer <token>"; without a user, the key itself is the token

    @property
    def headers(self) -> dict[str, str]:
        return {"apikey": self.apikey, "Authorization": self.authorization}

    @property
    def digest(self) -> bytes:
        """A name of this caller for caches, which must not remember the token."""
        return hashlib.sha256(f"{self.apikey}\n{self.authorization}".encode()).digest()

    @property
    def is_key_alone(self) -> bool:
        """Whether the token is one that the platform makes for a key, and dates by its own clocks."""
        return self.authorization == f"Bearer {self.apikey}" and self.apikey.startswith("sb_")

    @property
    def expires_at(self) -> float | None:
        """The `exp` that the token claims (Unix time), unverified; None where it claims none."""
        token = self.authorization.removeprefix("Bearer ")
        if token.count(".") != 2:
            return None
        try:
            exp = (api_keys.claims(token) or {"exp": 0}).get("exp")
            return None if exp is None else float(exp)
        except (ValueError, TypeError, OverflowError):
            return 0.0  # not a token that anybody should remember


def service(settings: Settings) -> Identity:
    """The service role: sees everything, so only embed_on_upload and the command line hold its key."""
    key = settings.need("secret_key")
    return Identity(apikey=key, authorization=Secret(f"Bearer {key}"))


def caller(headers: Mapping[str, str] | Headers, publishable_key: Secret) -> Identity:
    """The sender of these HTTP headers; with none of them, anon through our publishable key.

    A bearer token that is itself a key (`sb_…`) must equal the `apikey` header, or the gateway refuses it.
    Unauthorized for a secret key from a browser, as the platform answers it, which doesn't see our caller.
    """
    authorization, apikey = (headers.get(name, "").strip() for name in ("Authorization", "apikey"))
    if not all(map(api_keys.is_sendable, f"{authorization} {apikey}".split(" "))):
        raise Unauthorized("The Authorization or apikey header holds characters that no key or token has.")
    token = authorization.removeprefix("Bearer ").strip()
    if headers.get("User-Agent", "").startswith(BROWSERS) and any(map(api_keys.is_secret, (token, apikey))):
        raise Unauthorized(
            "Forbidden use of secret API key in browser: whoever opens the page can read it. Send the "
            "publishable key, and replace this one."
        )
    bearer_key = token if token.startswith("sb_") else ""
    apikey = apikey or bearer_key or publishable_key
    return Identity(apikey=Secret(apikey), authorization=Secret(authorization or f"Bearer {apikey}"))
