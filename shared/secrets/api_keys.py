"""API keys and other secrets in settings: read in each way of giving them, and refused in the wrong place."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import unquote

from shared.errors import SettingsError

# Role -> how its keys begin today. A text with keys of both acts as the first.
KINDS = {"service_role": "sb_secret_", "anon": "sb_publishable_"}
LEAST_SECRET = 16  # characters
# All that looks like one; and where one begins and ends, in an address and in libpq's list of parameters.
LIKE_A_PASSWORD = re.compile(r":.*@|password\s*=", re.IGNORECASE | re.DOTALL)
IN_ADDRESS = re.compile(r"://[^:/]*:(.*)@|[?&]password=([^&\s]*)", re.IGNORECASE)
IN_LIST = re.compile(
    r"password\s*=\s*(?:'((?:\\.|[^'\\])*)|((?!')(?:\\.|[^\s\\])+))", re.IGNORECASE | re.DOTALL
)
ESCAPED = re.compile(r"\\(.)", re.DOTALL)
ACCESS_TOKEN = re.compile(r"sbp_\w{16,}", re.ASCII | re.IGNORECASE)  # of an account of the platform
PAYLOAD = re.compile(r"(?<=[\w-]\.)[\w-]+=*(?=\.)", re.ASCII)  # of a JWT: between its dots
# A mistyped word or number, which errors tell: no secret that is worth anything is so plain.
HARMLESS = re.compile(r"[A-Z]?[a-z]{1,11}|[A-Z]{1,12}|-?\d{1,12}|-?\d{1,6}\.\d{1,6}", re.ASCII)
# The page tells everybody the publishable key: nothing else, a JWT secret or a password, may take its place.
PUBLISHABLE = re.compile(r"sb_publishable_[\w-]+|[\w-]+=*\.[\w-]+=*\.[\w-]*=*", re.ASCII | re.IGNORECASE)
VISIBLE = re.compile(r"[!-~]*")  # printable ASCII without white space
PREFERRED = "default"  # the name that the platform gives a project's first key


def claims(token: str) -> dict[str, Any] | None:
    """The claims of a JWT, unverified; None for anything else."""
    parts = token.split(".")
    return _decoded(parts[1]) if len(parts) == 3 else None


def _decoded(payload: str) -> dict[str, Any] | None:
    try:
        found = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def is_secret(key: str) -> bool:
    """Whether it acts as service_role, which policies hold back from nothing."""
    return key.startswith(KINDS["service_role"]) or (claims(key) or {}).get("role") == "service_role"


def checked(key: str, role: str, name: str) -> str:
    """`key`; SettingsError, naming its variable, where it shows that it acts as another role.

    One that is to act as anon must show that it does.
    """
    found = _role(key)
    if found is not None and found != role:
        raise SettingsError(
            f"{name} holds a key that acts as {found!r:.50}. Expected one that acts as {role}: "
            f"{KINDS[role]}…, or the legacy JWT of that role."
        )
    if role == "anon" and key and not (found and PUBLISHABLE.fullmatch(key)):
        raise SettingsError(
            f"{name} holds {described(key)}. Expected {KINDS[role]}…, or the legacy JWT of that role, and "
            "nothing beside it: the page tells it everybody."
        )
    return whole(key, name)


def of_its_own(secret: str, name: str, others: Collection[str] = ()) -> str:
    """`secret`; SettingsError where it is one of something else, as of `others`, or so short that it can be
    guessed."""
    if foreign := _foreign(secret, others):
        raise SettingsError(
            f"{name} holds {foreign}. Expected a secret of its own: every role of the database can read it "
            "in pg_net's queue. Without any, `neural-search install` makes one."
        )
    if len(secret) < LEAST_SECRET:
        raise SettingsError(
            f"{name} holds a secret of {len(secret)} characters. Expected at least {LEAST_SECRET}, "
            "without commas. Without any, `neural-search install` makes one."
        )
    return whole(secret, name)


def _foreign(secret: str, others: Collection[str]) -> str | None:
    """The other thing that a secret is, or shows to be, in words."""
    if any(_holds(secret, other) for other in others):
        return "the value of another secret setting, or the database's password"
    if (role := _role(secret)) is not None:
        return f"a key that acts as {role!r:.50}"
    return (
        "an account's access token or an address" if ACCESS_TOKEN.search(secret) or "://" in secret else None
    )


def users(token: str, name: str) -> str:
    """`token`; SettingsError where it sees everything."""
    if _role(token) == "service_role":
        raise SettingsError(f"{name} holds a key that acts as service_role. Expected a user's access token.")
    return whole(token, name)


def whole(secret: str, name: str) -> str:
    """`secret`; SettingsError where no header can hold it, as one that was copied in several lines."""
    if not is_sendable(secret):
        raise SettingsError(
            f"{name} holds {described(secret)}, white space or other than ASCII among them. Expected a key, "
            "token or secret alone, in one piece."
        )
    return secret


def is_sendable(text: str) -> bool:
    """Whether `text` can be a key or token: HTTP clients refuse others, or a part of them, in their words."""
    return VISIBLE.fullmatch(text) is not None


def without_secret(text: str, name: str, secrets: Collection[str] = ()) -> str:
    """`text`; SettingsError, which doesn't repeat it, where it holds a key, password or one of `secrets`."""
    if (
        _role(text) is not None
        or LIKE_A_PASSWORD.search(text)
        or ACCESS_TOKEN.search(text)
        or any(_holds(text, secret) for secret in secrets)
    ):
        raise SettingsError(
            f"{name} holds a key, a token, a password or the value of a secret setting. Expected no secret: "
            "errors and logs tell it."
        )
    return text


def passwords(text: str) -> list[str]:
    """Those in addresses and lists of parameters, as libpq reads them."""
    addressed = [unquote(part) for found in IN_ADDRESS.findall(text) for part in found if part]
    listed = [ESCAPED.sub(r"\1", part) for found in IN_LIST.findall(text) for part in found if part]
    return addressed + listed


def described(text: str) -> str:
    """A setting's text as errors tell it: a mere word or number, of all else, maybe a secret, its length."""
    return repr(text) if HARMLESS.fullmatch(text) else f"a text of {len(text)} characters"


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


def _holds(text: str, secret: str) -> bool:
    """A short secret counts as a whole: a path may hold the word `postgres`."""
    return text == secret or (len(secret) >= LEAST_SECRET and secret in text)


def _role(text: str) -> str | None:
    """The role of a key anywhere in `text`, where it tells; the one that sees everything before others."""
    joined = "".join(text.split())
    roles = [role for role, beginning in KINDS.items() if beginning in joined.lower()]
    found = [claimed for payload in PAYLOAD.findall(joined) if (claimed := _decoded(payload)) is not None]
    roles += [str(claimed["role"]) for claimed in found if "role" in claimed]
    if "service_role" in roles:
        return "service_role"
    return next(iter(roles), "None" if found else None)
