"""doctor's judgement of the project's models."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from cli.checks import api
from cli.checks.loaded_models import judged
from shared.errors import DatabaseError, ModelNotLoaded


def ago(minutes: float) -> str:
    return (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat()


def model(name: str = "a", **changes: Any) -> dict[str, Any]:
    about = {"name": name, "state": "active", "documents": 3, "pending": 0, "asked_at": None}
    index = {"index_name": f"documents_{name}_idx", "index_valid": True, "search_strategy": "hnsw"}
    return {**about, **index, "created_at": ago(60), **changes}


def test_models_that_are_as_they_should_be_are_told_in_a_line():
    rows = [model(), model("b", state="standby", pending=5, asked_at=ago(1))]
    assert judged(rows) == "a (active, 3 documents), b (standby, 3 documents)"


def test_a_model_that_is_searched_exactly_needs_no_index():
    assert judged([model(index_name=None, index_valid=None)])


def test_a_model_that_was_just_added_has_some_time_to_be_loaded():
    assert judged([model(), model("b", state="standby", pending=5, created_at=ago(1))])


@pytest.mark.parametrize("minutes", [None, 11])
def test_images_that_wait_for_a_model_that_nobody_loads_are_wrong(minutes: float | None):
    asked_at = None if minutes is None else ago(minutes)
    with pytest.raises(ModelNotLoaded, match=r"5 images to be embedded with b \(standby\).*worker --model b"):
        judged([model(), model("b", state="standby", pending=5, asked_at=asked_at)])


def test_a_model_that_nobody_loads_and_nobody_needs_to_is_in_order():
    assert judged([model(), model("b", state="standby", asked_at=ago(60))])


def test_an_index_that_isnt_complete_is_wrong_of_a_standby_model_too():
    with pytest.raises(DatabaseError, match=r"documents_b_idx of b is missing.*`neural-search models add b`"):
        judged([model(), model("b", state="standby", index_valid=False)])


def test_what_is_left_of_a_retired_model_is_wrong():
    with pytest.raises(DatabaseError, match=r"b is retired, with 3 documents left.*models remove b"):
        judged([model(), model("b", state="retired")])


def test_a_project_without_an_active_model_is_wrong():
    remedy = "No model is active. Run `neural-search models activate NAME`"
    with pytest.raises(DatabaseError, match=remedy):
        judged([model(state="standby")])
    with pytest.raises(DatabaseError, match=remedy):
        api.publishable_key(SimpleNamespace(call_as=lambda *_: []))  # type: ignore[arg-type]
