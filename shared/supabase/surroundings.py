"""The environment's proxies and certificates (HTTPS_PROXY, NO_PROXY, REQUESTS_CA_BUNDLE, …), read once."""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

import requests
from requests.utils import select_proxy

from shared.errors import SettingsError

# What is in none of its parts would let other software take a password for a port or a host, and tell it.
PROXY = re.compile(
    r"(https?://)?([^\s/?#@:]*(:[^\s/?#@]*)?@)?([\w.-]+|\[[\da-f:.]+\])(:(?P<port>\d{1,5}))?/?",
    re.ASCII | re.IGNORECASE,
)


class Surroundings(NamedTuple):
    """As requests takes them."""

    proxies: MutableMapping[str, str]
    verify: bool | str | None


def read(url: str) -> Surroundings:
    """Those for calls of `url`; no proxy reaches this machine's own, or would have to read its keys.

    SettingsError where the proxy for them is no address of one.
    """
    with requests.Session() as session:
        found = session.merge_environment_settings(url, {}, None, None, None)
    if is_loopback(url):
        return Surroundings({}, found["verify"])
    if used := select_proxy(url, found["proxies"]):
        _check(used)
    return Surroundings(found["proxies"], found["verify"])


def proxy(url: str) -> str | None:
    """The one for calls of `url`, as httpx takes it."""
    used = select_proxy(url, read(url).proxies)
    return f"http://{used}" if used and "://" not in used else used


def session(url: str) -> requests.Session:
    """For calls of `url`. Read once: requests itself reads them for each, a tenth of the CPU of a search."""
    made = requests.Session()
    made.proxies, made.verify = read(url)
    made.trust_env = False
    return made


def _check(used: str) -> None:
    found = PROXY.fullmatch(used)
    if not found or int(found["port"] or 0) > 65535:
        raise SettingsError(
            "The environment's proxy (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY) is no address of one. Expected "
            "http://host:port or https://host:port; in a name or password write %2F for /, %40 for @."
        )


def is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
