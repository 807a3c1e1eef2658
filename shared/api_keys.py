"""The project's API keys: read from the environment's ways of giving them, and refused in the wrong place."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any

from shared.errors import SettingsError

# Role -> how its keys begin today. A text with keys of both acts as the first.
KINDS = {"service_role": "sb_secret_", "anon": "sb_publishable_"}
LEAST_SECRET = 16  # characters
PASSWORD = re.compile(r"://[^/?#@]*:[^/?#]*@")  # in an address
PREFERRED = "default"  # the name that the platform gives a project's first key


def claims(token: str) -> dict[str, Any] | None:
    """The claims of a JWT, unverified; None for anything else."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        found = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def checked(key: str, role: str, name: str) -> str:
    """`key`; SettingsError, naming its variable, where it shows that it acts as another role."""
    found = _role(key)
    if found is not None and found != role:
        raise SettingsError(
            f"{name} holds a key that acts as {found!r:.50}. Expected one that acts as {role}: "
            f"{KINDS[role]}…, or the legacy JWT of that role."
        )
    return key


def of_its_own(secret: str, name: str) -> str:
    """`secret`; SettingsError where it is a key of the project, or so short that it can be guessed."""
    if (role := _role(secret)) is not None:
        raise SettingsError(
            f"{name} holds a key that acts as {role!r:.50}. Expected a secret of its own: every role "
            "of the database can read it in pg_net's queue. Without any, `neural-search install` makes one."
        )
    if len(secret) < LEAST_SECRET:
        raise SettingsError(
            f"{name} holds a secret of {len(secret)} characters. Expected at least {LEAST_SECRET}, "
            "without commas. Without any, `neural-search install` makes one."
        )
    return secret


def users(token: str, name: str) -> str:
    """`token`; SettingsError where it sees everything."""
    if _role(token) == "service_role":
        raise SettingsError(f"{name} holds a key that acts as service_role. Expected a user's access token.")
    return token


def without_secret(text: str, name: str) -> str:
    """`text`; SettingsError, which doesn't repeat it, where it holds a key or a password."""
    if _role(text) is not None or PASSWORD.search(text):
        raise SettingsError(
            f"{name} holds a key, a token or an address with a password. Expected no secret: errors and logs "
            "tell it."
        )
    return text


def one_of(text: str, name: str) -> str:
    """The key named `default`, or the only one, of a JSON object from names to keys."""
    try:
        keys: Mapping[str, str] = json.loads(text)
        key = keys[PREFERRED] if PREFERRED in keys or len(keys) != 1 else next(iter(keys.values()))
        return key.strip()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise SettingsError(
            f'{name} names no key {PREFERRED!r}. Expected JSON like {{"{PREFERRED}": "sb_…"}}.'
        ) from error


def _role(key: str) -> str | None:
    """The role that a key acts as, where it tells; also in quotes, in a map or after `Bearer`."""
    for role, beginning in KINDS.items():
        if beginning in key.lower():
            return role
    found = claims(key)
    return None if found is None else str(found.get("role"))
