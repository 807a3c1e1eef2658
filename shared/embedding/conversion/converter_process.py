"""A converting process: its argument, and the way of its error to the process that waits for it."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path

from shared import settings
from shared.errors import NeuralSearchError


def main(convert: Callable[[str, Path], object]) -> int:
    """Convert the model that the command line names. 0, or 1 with the error as JSON on standard output."""
    logging.basicConfig(stream=sys.stderr)  # where libraries may log: standard output carries the error
    try:
        convert(sys.argv[1], settings.load().embedding_cache)
    except NeuralSearchError as error:
        print(json.dumps({"class": type(error).__name__, "message": str(error)}))
        return 1
    return 0
