"""HTTP servers for tests: in a thread of the test's process, or in a process of their own."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import HTTPServer, SimpleHTTPRequestHandler
from typing import IO, Any

import httpx
import uvicorn

from local.stack import free_port as free_port
from support.waiting import PATIENCE, eventually


@contextmanager
def threaded(server: HTTPServer) -> Iterator[str]:
    """The address of a server of the standard library or of werkzeug's, for as long as the block lasts."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def asgi(app: Any) -> Iterator[str]:
    """The address of an ASGI app, for as long as the block lasts."""
    server = uvicorn.Server(
        uvicorn.Config(app, port=0, log_level="error", ws="none", timeout_graceful_shutdown=2)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        eventually(lambda: server.started or not thread.is_alive())
        assert server.started, "it ended at its start; its standard error says why"
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def process(
    command: Sequence[str], environment: dict[str, str], url: str, stderr: IO[bytes] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A server that runs as `command`, from its first answer at `url` on; ended with SIGTERM."""
    running = subprocess.Popen(command, env=environment, stderr=stderr)

    def answers() -> bool:
        try:
            return httpx.get(url, timeout=5).status_code == 200
        except httpx.HTTPError:
            assert running.poll() is None, "it ended at its start; its standard error says why"
            return False

    try:
        eventually(answers, PATIENCE)
        yield running
    finally:
        running.terminate()
        running.wait(PATIENCE)


class QuietHandler(SimpleHTTPRequestHandler):
    """Files of a folder, without a log."""

    def log_message(self, *_: Any) -> None:
        pass
