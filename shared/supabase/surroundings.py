"""The environment's proxies and certificates (HTTPS_PROXY, NO_PROXY, REQUESTS_CA_BUNDLE, …), read once."""

from __future__ import annotations

from collections.abc import MutableMapping
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

import requests


class Surroundings(NamedTuple):
    """As requests takes them."""

    proxies: MutableMapping[str, str]
    verify: bool | str | None


def read(url: str) -> Surroundings:
    """Those for calls of `url`; no proxy reaches this machine's own, or would have to read its keys."""
    with requests.Session() as session:
        found = session.merge_environment_settings(url, {}, None, None, None)
    return Surroundings({} if is_loopback(url) else found["proxies"], found["verify"])


def session(url: str) -> requests.Session:
    """For calls of `url`. Read once: requests itself reads them for each, a tenth of the CPU of a search."""
    made = requests.Session()
    made.proxies, made.verify = read(url)
    made.trust_env = False
    return made


def is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
