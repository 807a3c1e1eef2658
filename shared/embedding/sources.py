"""A model's name to its torch modules. Imports torch; never on the serving path."""

from __future__ import annotations

import importlib
from typing import cast

from shared.embedding import models
from shared.embedding.source import Source


def open_source(name: str) -> Source:
    """The model's towers. UnknownModel or ModelBroken where that can't be."""
    models.check(name)
    if packaged := models.PACKAGED.get(name):
        return cast(Source, importlib.import_module(packaged.module).open_source())
    # transformers' model classes take a second to import
    from shared.embedding.checkpoints import open_checkpoint

    return open_checkpoint(name)
