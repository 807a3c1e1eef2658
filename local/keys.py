"""The embedded stack's keys: made once per data folder, kept in a file that only its owner can read."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jwt

from shared.errors import StackError
from shared.settings import Secret

FILE = "keys.json"
ISSUER = "neural-search"
TEN_YEARS = 10 * 365 * 24 * 3600


@dataclass(frozen=True, kw_only=True)
class Keys:
    """What a Supabase project has in its API settings, and the secret of the upload webhook."""

    jwt_secret: Secret  # signs users' tokens and signed URLs (HS256)
    publishable: Secret  # sb_publishable_…: acts as anon
    secret: Secret  # sb_secret_…: acts as service_role
    anon: Secret  # the legacy form of the publishable key, a JWT
    service_role: Secret  # the legacy form of the secret key, a JWT
    webhook: Secret  # what the database sends in x-webhook-secret

    def mint(self, role: str, claims: Mapping[str, Any] | None = None, *, lifetime: float = 3600) -> Secret:
        """A token for `role`, as the auth server would sign it, valid for `lifetime` seconds."""
        return Secret(_sign(self.jwt_secret, role, claims or {}, lifetime))


def load(folder: Path) -> Keys:
    """The keys in `folder`, made there first where it has none; StackError where they can't be read."""
    path = folder / FILE
    try:
        if not path.exists():
            _write(path, _make())
        values = json.loads(path.read_text())
        return Keys(**{name: Secret(value) for name, value in values.items()})
    except OSError as error:
        raise StackError(f"The keys in {path} can't be read or written: {error.strerror}.") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise StackError(
            f"{path} holds no keys that we can read. Remove it to have new ones made."
        ) from error


def _make() -> Keys:
    jwt_secret = secrets.token_hex(32)
    return Keys(
        jwt_secret=Secret(jwt_secret),
        publishable=Secret(f"sb_publishable_{secrets.token_urlsafe(24)}"),
        secret=Secret(f"sb_secret_{secrets.token_urlsafe(24)}"),
        anon=Secret(_sign(jwt_secret, "anon", {}, TEN_YEARS)),
        service_role=Secret(_sign(jwt_secret, "service_role", {}, TEN_YEARS)),
        webhook=Secret(secrets.token_urlsafe(32)),
    )


def _sign(secret: str, role: str, claims: Mapping[str, Any], lifetime: float) -> str:
    now = int(time.time())
    return jwt.encode({"iss": ISSUER, "role": role, "iat": now, "exp": now + int(lifetime), **claims}, secret)


def _write(path: Path, keys: Keys) -> None:
    """Complete or not at all, and readable by nobody else from the first byte on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{FILE}.{os.getpid()}")
    partial.touch(mode=0o600)
    partial.write_text(json.dumps(asdict(keys), indent=2))
    partial.replace(path)
