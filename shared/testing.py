"""Stand-ins to pass where the model or the database isn't the point of a test, a picture, and a port."""

from __future__ import annotations

import hashlib
import io
import json
import socket
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import numpy as np
from PIL import Image, ImageColor

Answer = Any | httpx.Response | Exception | Callable[[dict[str, Any]], Any]


class ColourEmbedder:
    """A model without weights: an image is its average colour, a text is the colour that it names."""

    supports_text = True
    image_size = 32

    def __init__(self, name: str = "colours", dimensions: int = 4):
        self.name = name
        self.dimensions = dimensions

    def embed_images(self, images: Sequence[bytes | Image.Image]) -> np.ndarray:
        pictures = [
            image if isinstance(image, Image.Image) else Image.open(io.BytesIO(image)) for image in images
        ]
        return self._vectors([np.asarray(picture.convert("RGB")).mean(axis=(0, 1)) for picture in pictures])

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        return self._vectors([np.array(ImageColor.getrgb(text)[:3]) for text in texts])

    def _vectors(self, colours: Sequence[np.ndarray]) -> np.ndarray:
        vectors = np.zeros((len(colours), self.dimensions), dtype=np.float32)
        vectors[:, :3] = np.asarray(colours) / 255
        vectors[:, 3] = 0.1  # so that black has a direction too
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


class RpcTransport(httpx.BaseTransport):
    """PostgREST's RPC end as a test wants it: an answer for each SQL function, and a record of the calls.

    An answer is JSON, a whole response, an exception, or a function from the arguments to one of these.
    """

    def __init__(self, **answers: Answer):
        self.answers = answers
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.requests: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        function = request.url.path.rpartition("/")[2]
        arguments = json.loads(request.read() or b"{}")
        self.requests.append(request)
        self.calls.append((function, arguments))
        answer = self.answers[function]
        if callable(answer):
            answer = answer(arguments)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)

    def called(self, function: str) -> list[dict[str, Any]]:
        """The arguments of each call of `function`."""
        return [arguments for name, arguments in self.calls if name == function]


def picture(colour: str = "red", size: tuple[int, int] = (32, 32), format: str = "PNG") -> bytes:
    """An image file of one colour."""
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, format)
    return file.getvalue()


def free_port() -> int:
    """One of 127.0.0.1 that nobody listens at, at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def md5(data: bytes) -> str:
    """The ETag that Storage gives these bytes."""
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'
