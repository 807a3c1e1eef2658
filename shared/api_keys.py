"""The project's API keys: read from the environment's ways of giving them, and refused in the wrong place."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from shared.errors import SettingsError

# Role -> how its keys begin today. A text with keys of both acts as the first.
KINDS = {"service_role": "sb_secret_", "anon": "sb_publishable_"}
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


def unused(secret: str, name: str) -> str:
    """`secret`; SettingsError where it is a key of the project."""
    if (role := _role(secret)) is not None:
        raise SettingsError(
            f"{name} holds a key that acts as {role!r:.50}. Expected a secret of its own: every role "
            "of the database can read it in pg_net's queue. Without any, `neural-search install` makes one."
        )
    return secret


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
