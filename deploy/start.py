"""A container's entry point: the functions' server, once the models that it was told to serve are there.

Without this a container with a mistyped EMBEDDING_MODELS would start, and answer every request with an error.
"""

from __future__ import annotations

import sys

from shared import embedding, settings
from shared.errors import NeuralSearchError
from shared.http import server


def check() -> None:
    """Exit with one line unless the settings make sense and every model of EMBEDDING_MODELS is built in."""
    try:
        configuration = settings.load()
        for model in configuration.embedding_models:
            embedding.prepare(model, configuration=configuration)
    except NeuralSearchError as error:
        sys.exit(f"error: {error}")


def serve() -> None:
    """In this process: it is told to stop by its own signals."""
    server.main()


if __name__ == "__main__":
    check()
    serve()
