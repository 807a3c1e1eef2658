"""The report of /health: the state of each part, without a secret in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flask

from shared.errors import NeuralSearchError, Unauthorized
from shared.http import handlers
from shared.runtime import logs
from shared.runtime.model_registry import ModelRegistry
from shared.search.index import ActiveModel

Words = Callable[[NeuralSearchError], str]


def for_callers(error: NeuralSearchError) -> str:
    return error.detail


def report(
    models: ModelRegistry, active: Callable[[], ActiveModel], *, key: str, words: Words = for_callers
) -> flask.Response:
    """200 where the database answers, and the model that it calls active embeds here; else 503.

    `active` asks with the function's own key, the setting `key`. `embedding` has the models that embed here,
    and why others don't, in `words`.
    """
    failures = models.failures()
    database = _part(lambda: _database(models, _asked(active, key)), words)
    embedding = _embedding(models, failures, words) | _part(
        lambda: _serves(models, failures, database.get("active_model")), words
    )
    healthy = embedding["status"] == database["status"] == "ok"
    parts = {"embedding": embedding, "database": database}
    return handlers.answer({"status": "ok" if healthy else "failing", **parts}, 200 if healthy else 503)


def _asked(active: Callable[[], ActiveModel], key: str) -> ActiveModel:
    try:
        return active()
    except Unauthorized as error:  # whose remedy is for callers: to send another key
        text = f"The function's own key is missing or refused. Correct {key} and restart it."
        raise Unauthorized(f"{error}. {text}", told=text) from error


def _part(check: Callable[[], dict[str, Any]], words: Words) -> dict[str, Any]:
    try:
        return {"status": "ok", **check()}
    except Exception as error:  # the report is for failures
        logs.write("health check failed", severity="WARNING", error=error)
        known = handlers.known(error)
        return {"status": "failing", "error": known.type, "detail": words(known)}


def _embedding(models: ModelRegistry, failures: dict[str, NeuralSearchError], words: Words) -> dict[str, Any]:
    working = [name for name in models.names if name not in failures]
    failing = {name: words(failure) for name, failure in failures.items()}
    return {"models": working, "loaded": models.loaded()} | ({"failing": failing} if failing else {})


def _serves(
    models: ModelRegistry, failures: dict[str, NeuralSearchError], active: str | None
) -> dict[str, Any]:
    models.check_live(failures)
    if active in failures:
        raise failures[active].anew()
    return {}


def _database(models: ModelRegistry, active: ActiveModel) -> dict[str, Any]:
    models.check(active.name)
    return {"active_model": active.name}
