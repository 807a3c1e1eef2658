"""`python query_process.py PORT [URL]`: the query function on its real server, before the project at URL.

Without one, model and database cost nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import functions_framework
import httpx
import numpy as np

from shared import settings
from shared.http.server import serve
from shared.runtime.model_registry import ModelRegistry
from shared.settings import CHECKOUT
from shared.supabase.database import http_client
from shared.testing import ColourEmbedder, RpcTransport

ENVIRONMENT = {
    "SUPABASE_URL": "http://127.0.0.1:9",
    "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_ours",
    "EMBEDDING_MODELS": "colours",
}


class Model(ColourEmbedder):
    """All words are red to it. Before a project it embeds texts as soon as that answers."""

    project = ""

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        if self.project:
            httpx.post(f"{self.project}/embed_texts", timeout=60)
        return super().embed_texts(["red"] * len(texts))


def main(port: str, url: str = "") -> None:
    app = functions_framework.create_app("query", str(CHECKOUT / "functions/query/main.py"))
    Model.project = url
    mine = settings.load(ENVIRONMENT | ({"SUPABASE_URL": url} if url else {}))
    answers = RpcTransport(
        active_model=[{"name": "colours", "dimensions": 4}],
        match_documents=[],
        search_documents=[],
        recommend_documents=[],
    )
    app.extensions["settings"] = mine
    app.extensions["http"] = http_client(None if url else answers)
    app.extensions["models"] = ModelRegistry(mine.embedding_models, Model)
    serve(app, "127.0.0.1", int(port))


if __name__ == "__main__":
    main(*sys.argv[1:])
