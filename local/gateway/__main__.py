"""`python -m local.gateway FILE`: the gateway as a process of its own, configured by a JSON file."""

from __future__ import annotations

import dataclasses
import json
import logging
import socket
import sys
import time
from pathlib import Path

import psycopg
import uvicorn
from psycopg.conninfo import make_conninfo
from psycopg.pq import PGconn, Ping

from local import keys
from local.gateway.app import create_app
from local.gateway.database import REST
from shared.errors import NeuralSearchError, StackError

PATIENCE = 10  # seconds
SHUTDOWN = 3  # seconds for the requests under way


def serve(configuration: Path) -> None:
    """Serve until SIGTERM or SIGINT.

    The file holds `socket` (an inherited descriptor that listens), `database_url` (of any user; each role
    connects under its own name), `data` (the folder with the keys and the bytes), `functions` (name to URL)
    and `jwt_algorithm` (of users' tokens).
    """
    try:
        told = json.loads(configuration.read_text())
        data, url, descriptor = Path(told["data"]), told["database_url"], int(told["socket"])
        functions, algorithm = dict(told["functions"]), str(told.get("jwt_algorithm", keys.ES256))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StackError(f"The gateway's configuration {configuration} can't be read: {error}.") from error
    _check_database(make_conninfo(url, user=REST))
    own = dataclasses.replace(keys.load(data), algorithm=algorithm)
    app = create_app(lambda user: make_conninfo(url, user=user), data / "objects", own, functions)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="warning",
            timeout_graceful_shutdown=SHUTDOWN,
            server_header=False,
        )
    )
    server.run([socket.socket(fileno=descriptor)])
    if not server.started:
        raise StackError("The gateway didn't start.")


def _check_database(url: str) -> None:
    """Before anything starts, so that its failure is one line and no traceback.

    One that recovers from a crash, which takes seconds, is waited for.
    """
    deadline = time.monotonic() + PATIENCE
    conninfo = make_conninfo(url, connect_timeout=PATIENCE)
    while PGconn.ping(conninfo.encode()) == Ping.REJECT and time.monotonic() < deadline:
        time.sleep(0.1)
    try:
        psycopg.connect(conninfo).close()
    except psycopg.OperationalError as error:
        reason = str(error).strip().splitlines()[-1]
        raise StackError(
            f"The database can't be reached: {reason}. Start the stack with `neural-search up`."
        ) from error


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # One line per request and per attempt to reconnect would bury everything else.
    for noisy in ("httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        serve(Path(sys.argv[1]))
    except NeuralSearchError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
