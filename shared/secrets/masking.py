"""Secrets, hidden in texts that are shown: those of this process, and all that look like one.

Other software repeats its requests, their headers too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote

# Each letter is read a few times at most: callers' names, however long, stand in other software's errors.
TOKEN = re.compile(
    r"(?<=token=)[^\s&'\")>]+"  # in an address
    r"|(?<![\w-])(?=[\w-]*eyJ[\w-])[\w-]++\.[\w-]++\.[\w-]++|sb_secret_[\w-]+"
)
# An address's user and password, and the beginning before them.
PASSWORD = re.compile(r"(?<![^\s@])(?=[^\s@]++@)([^\s@]*?://)[^\s/@:]*:[^\s@]++")
QUOTES = re.compile(r"""[\\"']+""")  # which other software writes with more or fewer backslashes
_own: tuple[re.Pattern[str], ...] = ()  # this process's secrets, the longest first


def without_secrets(text: str) -> str:
    """`text` without our own secrets, tokens, secret keys and the passwords of addresses."""
    return TOKEN.sub("…", PASSWORD.sub(r"\1…", without_own_secrets(text)))


def without_own_secrets(text: str) -> str:
    """`text` without our own secrets alone: the links of results need the tokens that they have."""
    for secret in _own:
        text = secret.sub("…", text)
    return text


def hide(secrets: Iterable[str]) -> None:
    """From now on `secrets` are among this process's own."""
    global _own
    forms = [form for secret in secrets for form in (_written(secret), re.escape(quote(secret, safe="")))]
    found = {*_own, *(re.compile(form) for form in forms if form)}
    _own = tuple(sorted(found, key=lambda secret: len(secret.pattern), reverse=True))


def _written(secret: str) -> str:
    """The pattern of `secret` as Python, JSON or both write it."""
    return r"""[\\"']++""".join(re.escape(part) for part in QUOTES.split(secret) if part)
