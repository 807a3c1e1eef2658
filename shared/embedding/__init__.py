"""Embedding models behind one interface: `load(name)` and then `embed_images` and `embed_texts`.

Importing this package loads no runtime and starts no thread: functions-framework imports a function before it
forks, and threads don't survive that.
"""

from __future__ import annotations

from shared.embedding.embedder import Embedder
from shared.embedding.loading import load, prepare

__all__ = ["Embedder", "load", "prepare"]
