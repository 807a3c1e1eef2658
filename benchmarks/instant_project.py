"""A project that always answers at once: the functions' own share of the time, without a database's."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

BUCKET = "pictures"


@dataclass(frozen=True, kw_only=True)
class Project:
    """Its address, the number of its objects, and its keys."""

    url: str
    objects: int
    secret_key: str = "sb_secret_benchmark"
    publishable_key: str = "sb_publishable_benchmark"


def webhook(number: int) -> dict[str, Any]:
    """The body that tells of object `number`."""
    record = {"id": str(uuid.UUID(int=number)), "bucket_id": BUCKET, "name": f"{number}.jpg"}
    about = {"type": "INSERT", "schema": "storage", "table": "objects", "old_record": None}
    return {**about, "record": record}


@contextmanager
def canned(files: Sequence[bytes], model: str, dimensions: int) -> Iterator[Project]:
    """Storage holds `files` as `0.jpg`, `1.jpg` …; every object is to be embedded, at any request."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            name = self.path.partition("?")[0].rpartition("/")[2]
            self._answer(files[int(name.removesuffix(".jpg"))], "image/jpeg")

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
            answer = _answer(self.path.partition("?")[0], body, model, dimensions)
            self._answer(json.dumps(answer).encode(), "application/json")

        def _answer(self, body: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: a benchmark's own lines are on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="project", daemon=True)
    thread.start()
    try:
        yield Project(url=f"http://127.0.0.1:{server.server_address[1]}", objects=len(files))
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _answer(path: str, body: Any, model: str, dimensions: int) -> Any:
    match path.rpartition("/")[2]:
        case "active_model":
            return [{"name": model, "dimensions": dimensions}]
        case "claim_object":
            return [_claimed(body["target_object_id"], model)]
        case "finish_embedding_job":
            return "embedded"
        case "reuse_embedding":  # each is embedded anew, though the pictures come again
            return "unknown"
        case "release_embedding_jobs":
            return 0
        case "match_documents" | "search_documents" | "documents" | "claim_embedding_jobs":
            return []
    raise ValueError(f"The canned project has no answer for {path!r}.")


def _claimed(object_id: str, model: str) -> dict[str, Any]:
    number = uuid.UUID(object_id).int
    return {
        "status": "claimed",
        "reason": None,
        "object_id": object_id,
        "model": model,
        "version": "1",
        "bucket_id": BUCKET,
        "name": f"{number}.jpg",
        "size": None,
        "mime_type": "image/jpeg",
        "etag": None,
        "attempt": 1,
        "waited_seconds": 0.0,
        "known_hashes": [],
        "lease_id": str(uuid.UUID(int=number)),
    }
