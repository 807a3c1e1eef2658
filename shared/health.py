"""The report of /health: what works, part by part, without a secret in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flask

from shared import edge, logs
from shared.documents import ActiveModel
from shared.errors import ModelNotLoaded, NeuralSearchError
from shared.models import Models


def report(models: Models, active: Callable[[], ActiveModel | None]) -> flask.Response:
    """200 where the models answer, the database answers, and this process has its active model; else 503."""
    parts = {
        "embedding": _part(lambda: _embedding(models)),
        "database": _part(lambda: _database(models, active())),
    }
    healthy = all(part["status"] == "ok" for part in parts.values())
    return edge.answer({"status": "ok" if healthy else "failing", **parts}, 200 if healthy else 503)


def _part(check: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return {"status": "ok", **check()}
    except Exception as error:  # what fails is what the report is for
        logs.write("health check failed", severity="WARNING", error=error)
        known = error if isinstance(error, NeuralSearchError) else NeuralSearchError()
        return {"status": "failing", "error": known.type, "detail": str(known)}


def _embedding(models: Models) -> dict[str, Any]:
    models.canary()
    return {"models": list(models.names), "loaded": models.loaded()}


def _database(models: Models, active: ActiveModel | None) -> dict[str, Any]:
    if active is None:
        raise ModelNotLoaded("No model is active. Apply the migrations: `neural-search install`.")
    models.check(active.name)
    return {"active_model": active.name}
