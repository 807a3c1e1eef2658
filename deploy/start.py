"""A container's entry point: functions-framework, once the models that it was told to serve are there.

Without this a container with a mistyped EMBEDDING_MODELS would start, and answer every request with an error.
"""

from __future__ import annotations

import sys
from importlib.metadata import entry_points

from shared import embedding, settings
from shared.errors import NeuralSearchError


def check() -> None:
    """Exit with one line unless the settings make sense and every model of EMBEDDING_MODELS is built in."""
    try:
        configuration = settings.load()
        for model in configuration.embedding_models:
            embedding.prepare(model, configuration=configuration)
    except NeuralSearchError as error:
        sys.exit(f"error: {error}")


def serve() -> None:
    """What the command functions-framework does, in this process: it is told to stop by its own signals."""
    (command,) = entry_points(group="console_scripts", name="functions-framework")
    command.load()()


if __name__ == "__main__":
    check()
    serve()
