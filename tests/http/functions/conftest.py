"""The functions as the framework serves them, with stand-ins for all that a test doesn't try."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import flask
import functions_framework
import pytest

from shared import settings
from shared.images.sandbox import pool as decoding
from shared.images.sandbox.pool import DecoderPool
from shared.runtime.model_registry import ModelRegistry
from shared.settings import CHECKOUT
from shared.supabase.database import http_client
from shared.testing import ColourEmbedder, RpcTransport

ENVIRONMENT = {
    "SUPABASE_URL": "http://supabase.test",
    "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_ours",
    "SUPABASE_SECRET_KEY": "sb_secret_ours",
    "EMBED_WEBHOOK_SECRET": "the-current-secret,the-previous-secret",
    "EMBEDDING_MODELS": "colours",
    "MAX_IMAGE_BYTES": "100000",
}


@pytest.fixture(scope="session")
def decoders() -> Iterator[DecoderPool]:
    """One for all apps, as each has processes to start."""
    with closing(decoding.start(settings.load(ENVIRONMENT))) as running:
        yield running


@pytest.fixture
def serve(decoders: DecoderPool) -> Callable[..., flask.Flask]:
    """A function as an app: its environment, and the database that answers it (none: any call fails)."""

    def serve(
        name: str, transport: RpcTransport | None = None, *, load: Any = ColourEmbedder, **environment: str
    ) -> flask.Flask:
        source: Path = CHECKOUT / "functions" / name / "main.py"
        app: flask.Flask = functions_framework.create_app(name, str(source))
        mine = settings.load(ENVIRONMENT | environment)
        app.extensions["settings"] = mine
        app.extensions["decoders"] = decoders
        app.extensions["http"] = http_client(transport or RpcTransport())
        app.extensions["models"] = ModelRegistry(mine.embedding_models, load)
        return app

    return serve
