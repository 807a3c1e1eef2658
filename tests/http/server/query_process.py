"""`python query_process.py PORT`: the query function on its real server; model and database cost nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import functions_framework
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


SLOW_SECONDS = 0.4  # for a text that begins so


class Model(ColourEmbedder):
    """All words are red to it, and some take it long."""

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        time.sleep(SLOW_SECONDS * sum(text.startswith("slow") for text in texts))
        return super().embed_texts(["red"] * len(texts))


def main(port: str) -> None:
    app = functions_framework.create_app("query", str(CHECKOUT / "functions/query/main.py"))
    mine = settings.load(ENVIRONMENT)
    answers = RpcTransport(
        active_model=[{"name": "colours", "dimensions": 4}],
        match_documents=[],
        search_documents=[],
        recommend_documents=[],
    )
    app.extensions["settings"] = mine
    app.extensions["http"] = http_client(answers)
    app.extensions["models"] = ModelRegistry(mine.embedding_models, Model)
    serve(app, "127.0.0.1", int(port))


if __name__ == "__main__":
    main(sys.argv[1])
