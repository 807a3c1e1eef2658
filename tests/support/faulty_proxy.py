"""A proxy that passes everything on to the project, but for a test's faults."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from support.http_servers import threaded

DRIP_SECONDS = 0.02  # between two bytes of a slow body
SILENCE_SECONDS = 10  # the longest that a hung answer waits for its caller to give up
NOT_PASSED_ON = {"connection", "keep-alive", "transfer-encoding", "content-length", "host", "date", "server"}


@dataclass(frozen=True)
class Answer:
    """The project's answer to one request."""

    status: int
    headers: dict[str, str]
    body: bytes


class Exchange(BaseHTTPRequestHandler):
    """One request on its way. A fault decides its fate with the methods from `forward` on."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except OSError:  # the caller has gone: often the very point
            self.close_connection = True

    def answer(self) -> None:
        self.sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.server.proxy.take(self.path)
        if fault is None:
            return self.send(self.forward())
        fault(self)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = answer

    def log_message(self, *_: object) -> None:
        """Says nothing: the tests assert."""

    def forward(self) -> Answer:
        """Lets the project do what it is asked, and returns its answer without telling it."""
        target = urlsplit(self.server.proxy.target)
        connection = http.client.HTTPConnection(target.hostname or "", target.port, timeout=30)
        kept = {name: value for name, value in self.headers.items() if name.lower() not in NOT_PASSED_ON}
        try:
            connection.request(self.command, self.path, self.sent or None, kept)
            answer = connection.getresponse()
            headers = {n: value for n, value in answer.getheaders() if n.lower() not in NOT_PASSED_ON}
            return Answer(answer.status, headers, answer.read())
        finally:
            connection.close()

    def send(self, answer: Answer) -> None:
        self.begin(answer, {"Content-Length": str(len(answer.body))})
        self.wfile.write(answer.body)
        self.close_connection = False

    def begin(self, answer: Answer, length: dict[str, str]) -> None:
        """The answer's head. Unless all that it announces follows, the connection ends with this request."""
        self.close_connection = True
        self.send_response(answer.status)
        for name, value in (answer.headers | length).items():
            self.send_header(name, value)
        self.end_headers()

    def reset(self) -> None:
        """RST instead of FIN, as from a proxy that crashes."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


Fault = Callable[[Exchange], None]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    proxy: Proxy

    def shutdown_request(self, request: Any) -> None:
        self.close_request(request)  # without the FIN that would go before a reset

    def handle_error(self, *_: object) -> None:
        """A caller that hangs up in the middle of a fault is no error."""


@dataclass
class Proxy:
    """Passes on to `target`. Any thread may use it."""

    target: str
    seen: list[str] = field(default_factory=list)  # each request's path, in order
    _rules: list[tuple[str, Fault]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Its address, for as long as the block lasts."""
        server = _Server(("127.0.0.1", 0), Exchange)
        server.proxy = self
        with threaded(server) as address:
            yield address

    @contextmanager
    def fault(self, path: str, fault: Fault) -> Iterator[list[str]]:
        """Requests whose path contains `path` meet `fault` until the block ends; yields their paths."""
        met: list[str] = []

        def noting(exchange: Exchange) -> None:
            met.append(exchange.path)
            fault(exchange)

        rule = (path, noting)
        with self._lock:
            self._rules.append(rule)
        try:
            yield met
        finally:
            with self._lock:
                self._rules.remove(rule)

    def take(self, path: str) -> Fault | None:
        with self._lock:
            self.seen.append(path)
            return next((fault for part, fault in self._rules if part in path), None)


def status(code: int, body: object = None, **headers: str) -> Fault:
    """This answer instead of the project's; a `str` body is HTML, anything else JSON."""
    kind = "text/html" if isinstance(body, str) else "application/json"
    data = body.encode() if isinstance(body, str) else json.dumps(body or {}).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda exchange: exchange.send(Answer(code, {"Content-Type": kind} | named, data))


def cut_off(exchange: Exchange) -> None:
    """Half of the body that was announced."""
    answer = exchange.forward()
    exchange.begin(answer, {"Content-Length": str(len(answer.body))})
    exchange.wfile.write(answer.body[: len(answer.body) // 2])


def cut_off_chunked(exchange: Exchange) -> None:
    """Half of a chunk, and never the last one."""
    answer = exchange.forward()
    exchange.begin(answer, {"Transfer-Encoding": "chunked"})
    exchange.wfile.write(b"%x\r\n" % len(answer.body) + answer.body[: len(answer.body) // 2])


def cut_off_unannounced(exchange: Exchange) -> None:
    """Half of a body whose length nobody told: the end of the connection is the end of the body."""
    answer = exchange.forward()
    exchange.begin(answer, {"Connection": "close"})
    exchange.wfile.write(answer.body[: len(answer.body) // 2])


def drip(exchange: Exchange) -> None:
    """The whole body, but a byte at a time: never silent for long, never done."""
    answer = exchange.forward()
    exchange.begin(answer, {"Content-Length": str(len(answer.body))})
    pause = threading.Event()
    for byte in answer.body:
        exchange.wfile.write(bytes([byte]))
        pause.wait(DRIP_SECONDS)


def silence(exchange: Exchange) -> None:
    """No answer, until the caller gives up."""
    exchange.close_connection = True
    exchange.connection.settimeout(SILENCE_SECONDS)
    exchange.connection.recv(1)


def reset(exchange: Exchange) -> None:
    """The connection breaks before anything was done."""
    exchange.reset()


def lost(exchange: Exchange) -> None:
    """It was done, and the connection broke before anybody was told."""
    exchange.forward()
    exchange.reset()


def lost_in_silence(exchange: Exchange) -> None:
    """It was done, and the caller gave up waiting before the answer came."""
    exchange.forward()
    silence(exchange)


def instead(body: bytes, **headers: str) -> Fault:
    """The project's answer with another body, as an outdated cache gives it."""

    def fault(exchange: Exchange) -> None:
        answer = exchange.forward()
        kept = {name: value for name, value in answer.headers.items() if name.lower() not in headers}
        changed = {name: value for name, value in headers.items() if value}
        exchange.send(Answer(answer.status, kept | changed, body))

    return fault


def after(action: Callable[[], None]) -> Fault:
    """Something happens while the request is on its way, and then it goes on."""

    def fault(exchange: Exchange) -> None:
        action()
        exchange.send(exchange.forward())

    return fault
