"""`python -m soak.stand_in PORT`: embed_on_upload on its real server with a model that costs nothing."""

from __future__ import annotations

import sys

import functions_framework

from shared import settings
from shared.http.server import serve
from shared.runtime.model_registry import ModelRegistry
from shared.settings import CHECKOUT
from shared.testing import ColourEmbedder

MODEL = ColourEmbedder()


def main(port: str) -> None:
    app = functions_framework.create_app(
        "embed_on_upload", str(CHECKOUT / "functions/embed_on_upload/main.py")
    )
    app.extensions["settings"] = settings.load()
    app.extensions["models"] = ModelRegistry((MODEL.name,), lambda _name: MODEL)
    serve(app, "127.0.0.1", int(port))


if __name__ == "__main__":
    main(sys.argv[1])
