"""Network namespaces: each is a machine of its own, which reaches one port of this one and nothing else."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

from support.tcp_relay import relay


@dataclass(frozen=True, kw_only=True)
class Namespace:
    """`command` before another runs it inside, where the project is found at `url`."""

    command: tuple[str, ...]
    url: str


@contextmanager
def namespace(number: int, url: str) -> Iterator[Namespace]:
    """Made for the block, for root on Linux. OSError or CalledProcessError where that isn't allowed.

    It has a network of four addresses of 198.18.0.0/15, which are kept for tests (RFC 2544).
    """
    name = f"soak{os.getpid()}n{number}"
    here, there = f"198.18.{number}.1", f"198.18.{number}.2"
    _ip("netns", "add", name)
    try:
        _ip("link", "add", f"{name}h", "type", "veth", "peer", "name", f"{name}g", "netns", name)
        _ip("addr", "add", f"{here}/30", "dev", f"{name}h")
        _ip("link", "set", f"{name}h", "up")
        _ip("-n", name, "addr", "add", f"{there}/30", "dev", f"{name}g")
        _ip("-n", name, "link", "set", f"{name}g", "up")
        _ip("-n", name, "link", "set", "lo", "up")
        target = urlsplit(url)
        connect = partial(socket.create_connection, (target.hostname or "", target.port or 80))
        with relay(here, connect) as port:
            yield Namespace(command=("ip", "netns", "exec", name), url=f"http://{here}:{port}")
    finally:
        _ip("netns", "del", name)  # the pair of devices goes with it


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
