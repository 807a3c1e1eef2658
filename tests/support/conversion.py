"""Conversions in the test's own process, where torch is imported already, which takes seconds."""

from __future__ import annotations

import warnings

from shared.embedding import artifacts
from shared.settings import Settings


def prepare(configuration: Settings) -> None:
    """As `embedding.prepare` does it in a process of its own, where nobody sees torch's remarks either."""
    import torch

    from shared.embedding.conversion import convert

    torch.set_num_threads(1)  # as there
    name, cache = configuration.embedding_models[0], configuration.embedding_cache
    with artifacts.lock(name, cache), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if artifacts.find(name, cache) is None:
            convert.convert(name, cache)
