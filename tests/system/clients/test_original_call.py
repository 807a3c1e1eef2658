"""`match_documents` with its original three arguments, from unmodified supabase-py and supabase-js."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from client_actions import SupabaseJs, SupabasePy
from support.running_project import Running

from shared.testing import ColourEmbedder, picture

COLOURS = ("red", "orange", "blue")
Call = Callable[[dict[str, Any]], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def names(project: Running, supabase_py: SupabasePy) -> list[str]:
    """Three pictures, of which red and orange are alike; a folder of their own among the other tests'."""
    names = [f"original/{colour}.png" for colour in COLOURS]
    for name, colour in zip(names, COLOURS, strict=True):
        supabase_py.upload(name, picture(colour))
    for name in names:
        project.eventually(lambda name=name: project.state(name)[0], "searchable")
    return names


@pytest.fixture(params=["supabase-py", "supabase-js"])
def call(request: pytest.FixtureRequest, project: Running) -> Call:
    if request.param == "supabase-py":
        client = project.supabase()
        return lambda arguments: client.rpc("match_documents", arguments).execute().data
    program: SupabaseJs = request.getfixturevalue("supabase_js")
    return lambda arguments: program.call("rpc", "match_documents", arguments, on="rpc")


def similarities() -> list[float]:
    vectors = ColourEmbedder().embed_texts(COLOURS)
    return [float(vectors[0] @ vector) for vector in vectors]


@pytest.mark.parametrize("form", [list, str])
def test_the_nearest_above_the_threshold_come_best_first(
    project: Running, names: list[str], call: Call, form: type
):
    [red] = project.service().rpc("get_embeddings", {"names": [f"images/{names[0]}"]}).execute().data
    vector = json.loads(red["embedding"]) if form is list else red["embedding"]
    to_red, to_orange, to_blue = similarities()

    def found(threshold: float, count: int) -> list[tuple[str, float]]:
        asked = {"query_embedding": vector, "similarity_threshold": threshold, "match_count": count}
        rows = call(asked)
        assert all({"id", "content", "similarity"} <= row.keys() for row in rows)
        return [(row["content"], row["similarity"]) for row in rows if row["content"] in names]

    between = (to_orange + to_blue) / 2
    everything = found(-1, 1000)
    assert [name for name, _ in everything] == names
    assert [similarity for _, similarity in everything] == pytest.approx(
        [to_red, to_orange, to_blue], abs=1e-3
    )
    assert [name for name, _ in found(between, 1000)] == names[:2]
    assert [name for name, _ in found((to_red + to_orange) / 2, 1000)] == names[:1]
    assert len(call({"query_embedding": vector, "similarity_threshold": -1, "match_count": 2})) == 2
