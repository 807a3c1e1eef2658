"""The environment's proxies and certificates (HTTPS_PROXY, NO_PROXY, REQUESTS_CA_BUNDLE, …), read once."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import NamedTuple

import requests


class Surroundings(NamedTuple):
    """As requests takes them."""

    proxies: MutableMapping[str, str]
    verify: bool | str | None


def read(url: str) -> Surroundings:
    """Those for calls of `url`."""
    with requests.Session() as session:
        found = session.merge_environment_settings(url, {}, None, None, None)
    return Surroundings(found["proxies"], found["verify"])
