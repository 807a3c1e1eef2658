"""Of a request whose client hangs up while one step is under way, no other step begins."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import responses
from flask import Flask
from flask.testing import FlaskClient

from shared.images import DecodedImage
from shared.images.sandbox.pool import DecoderPool
from shared.testing import ColourEmbedder, RpcTransport, picture

STORAGE = "http://supabase.test/storage/v1"
RED = picture("red")
MATCH = {
    "id": 1,
    "bucket_id": "images",
    "object_id": "o",
    "content": "a/1.png",
    "similarity": 0.9,
    "metadata": None,
    "confidence": "strong",
    "score": 1.4,
    "closest": 0,
    "found_by": ["image"],
    "duplicates": [],
}
ANSWERS: dict[str, Any] = {
    "active_model": [{"name": "colours", "dimensions": 4}],
    "get_embeddings": [MATCH],
    "match_documents": [MATCH],
    "search_documents": [MATCH],
    "recommend_documents": [MATCH],
    "object_states": [{"name": "a.png", "object_id": "7", "state": "pending", "reason": None}],
}
WANTED = {"bucket": "images", "name": "a/1.png", "token": "t"}
IMAGE: dict[str, Any] = {"data": RED, "content_type": "image/png"}
UPLOAD = "/embeddings?bucket=images&name=a.png"


class Steps:
    """The steps in the order of their beginnings; the client hangs up during `last`."""

    def __init__(self, last: str, client: socket.socket):
        self.last, self.client = last, client
        self.begun: list[str] = []

    def begin(self, step: str) -> None:
        self.begun.append(step)
        if step == self.last:
            self.client.close()

    def database(self) -> RpcTransport:
        def answering(function: str) -> Callable[[dict[str, Any]], Any]:
            def answer(_: dict[str, Any]) -> Any:
                self.begin(function)
                return ANSWERS[function]

            return answer

        return RpcTransport(**{function: answering(function) for function in ANSWERS})

    def storage(self, mock: responses.RequestsMock) -> None:
        def answering(
            step: str, body: bytes | str
        ) -> Callable[[Any], tuple[int, dict[str, str], bytes | str]]:
            def answer(_: Any) -> tuple[int, dict[str, str], bytes | str]:
                self.begin(step)
                return 200, {}, body

            return answer

        mock.add_callback("GET", f"{STORAGE}/object/sign/images/a/1.png", answering("download", RED))
        mock.add_callback("POST", f"{STORAGE}/object/images/a.png", answering("upload", '{"Id": "7"}'))
        rows = '[{"error": null, "path": "a/1.png", "signedURL": "/object/sign/images/a/1.png?token=t"}]'
        mock.add_callback("POST", f"{STORAGE}/object/sign/images", answering("sign", rows))
        signed = '{"signedURL": "/render/image/sign/images/a/1.png?token=t"}'
        mock.add_callback("POST", f"{STORAGE}/object/sign/images/a/1.png", answering("transform", signed))

    def model(self, name: str) -> ColourEmbedder:
        steps = self

        class Telling(ColourEmbedder):
            def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
                steps.begin("embed")
                return super().embed_texts(texts)

        return Telling(name)

    def decoders(self, pool: DecoderPool) -> Any:
        def decode(data: bytes, **given: Any) -> DecodedImage:
            self.begin("decode")
            return pool.decode(data, **given)

        return SimpleNamespace(decode=decode)


@pytest.fixture
def storage() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


WAYS = {
    "a text": (
        ("POST", "/", {"json": {"text": "red"}}),
        ["active_model", "embed", "search_documents", "sign", "transform"],
    ),
    "an image": (("POST", "/", IMAGE), ["active_model", "decode", "match_documents", "sign", "transform"]),
    "a name": (
        ("POST", "/", {"json": {"like": "a/1.png"}}),
        ["active_model", "get_embeddings", "recommend_documents", "sign", "transform"],
    ),
    "a vector": (("POST", "/vector", {"json": {"text": "red"}}), ["active_model", "embed"]),
    "an upload": (
        ("POST", UPLOAD + "&wait=1", IMAGE),
        ["active_model", "decode", "upload", "object_states", "object_states"],
    ),
    "a preview": (("GET", "/preview", {"query_string": WANTED}), ["download", "decode"]),
}
CASES = [
    pytest.param(request, ["request", *steps[:number]], id=f"{way} after {['request', *steps][number]}")
    for way, (request, steps) in WAYS.items()
    for number in range(len(steps))
]


@pytest.mark.parametrize(("request_", "steps"), CASES)
def test_nothing_more_is_begun_for(
    serve: Callable[..., Flask],
    storage: responses.RequestsMock,
    request_: tuple[str, str, dict[str, Any]],
    steps: list[str],
):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        told = Steps(steps[-1], theirs)
        told.begin("request")
        told.storage(storage)
        app = serve("query", told.database(), load=told.model, STORAGE_TRANSFORMATIONS="on")
        app.extensions["decoders"] = told.decoders(app.extensions["decoders"])
        method, path, content = request_
        client: FlaskClient = app.test_client()
        client.open(path, method=method, environ_overrides={"gunicorn.socket": ours}, **content)
    assert told.begun == steps
