"""A way by TCP to a PostgreSQL that listens on a unix socket alone."""

from __future__ import annotations

import socket
from contextlib import AbstractContextManager
from functools import partial
from urllib.parse import parse_qs, urlsplit

from support.tcp_relay import relay

from local.postgres import SOCKET, Cluster


def bridge(cluster: Cluster) -> AbstractContextManager[int]:
    """The port on this machine where the cluster can be reached for as long as the block lasts."""
    ((folder,),) = parse_qs(urlsplit(cluster.url("postgres")).query).values()
    return relay("127.0.0.1", partial(_connected, f"{folder}/{SOCKET}"))


def _connected(path: str) -> socket.socket:
    database = socket.socket(socket.AF_UNIX)
    try:
        database.connect(path)
    except OSError:
        database.close()
        raise
    return database
