"""A model's name to its torch modules. Imports torch; never on the serving path."""

from __future__ import annotations

import importlib
from typing import cast

from shared.embedding import registry
from shared.embedding.towers import Source


def open_source(name: str) -> Source:
    """The model's towers. UnknownModel or ModelBroken where that can't be."""
    registry.check(name)
    if packaged := registry.PACKAGED.get(name):
        return cast(Source, importlib.import_module(packaged.module).open_source())
    # transformers' model classes take a second to import
    from shared.embedding.conversion.checkpoints import open_checkpoint

    return open_checkpoint(name)
