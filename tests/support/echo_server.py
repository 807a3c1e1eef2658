"""An HTTP server that answers with the request itself, and fails on demand."""

from __future__ import annotations

import gzip
import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Received:
    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes
    port: int  # the connection's own, at its other end

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256  # a whole batch connects at once

    def handle_error(self, *_: object) -> None:
        """A caller that hangs up, as some tests have it, is no error."""


class Echo:
    """Keeps the requests. `/status/503`, `/gzip`, `/cookies`, `/cut` and `/hold` do as they are named."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.released = threading.Event()  # ends the waiting of /hold
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Echo:
        threading.Thread(target=self._server.serve_forever, args=[0.05], daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    def to(self, path: str) -> list[Received]:
        return [one for one in self.received if urlsplit(one.path).path == path]

    def _handler(echo) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                port = self.client_address[1]
                received = Received(self.command, self.path, self.headers.items(), self._body(), port)
                echo.received.append(received)
                path = urlsplit(self.path).path
                if path == "/hold":
                    echo.released.wait(30)
                status = int(path.removeprefix("/status/")) if path.startswith("/status/") else 200
                self._send(status, path, received)

            def _body(self) -> bytes:
                if self.headers.get("transfer-encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("content-length") or 0))
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            def _send(self, status: int, path: str, received: Received) -> None:
                told: dict[str, Any] = {
                    "method": received.method,
                    "path": received.path,
                    "headers": {name.lower(): value for name, value in received.headers},
                    "body": received.body.decode("latin-1"),
                }
                body = json.dumps(told).encode()
                if path == "/gzip":
                    body = gzip.compress(body)
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("location", "/elsewhere")
                if path == "/gzip":
                    self.send_header("content-encoding", "gzip")
                if path == "/cookies":
                    self.send_header("set-cookie", "session=1")
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body) + (100 if path == "/cut" else 0)))
                self.send_header("Referrer-Policy", "no-referrer")
                self.send_header("X-Content-Type-Options", "nosniff")
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)
                self.close_connection = path == "/cut"

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer

            def log_message(self, *_: object) -> None:
                pass

        return Handler
