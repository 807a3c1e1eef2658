"""Queries that nobody thought of are answered or refused, and never with an object hidden from the caller."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import lookups
from support.lookups import Caller
from support.running_project import Running

steady = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

texts = st.text(st.characters(), max_size=20) | st.sampled_from(["red", "", "\0", "\ud800", "'; --", "%L"])
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.sampled_from([10**400, 2**63, -(2**63) - 1, 1e308])
    | texts
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(["images/a.png", "published/a.png", "owned/owners.png", "c.png", 1, 5, 999])
weights = st.sampled_from([1, 0.5, 0, -1, 1e-300, 1e300])
examples = (
    names
    | st.fixed_dictionaries(
        {}, optional={"id": st.integers(1, 40), "name": names, "text": texts, "weight": weights}
    )
    | anything
)


def field(good: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mostly sensible, since the first mistake hides those that follow."""
    return st.one_of(good, good, good, anything)


filters = st.fixed_dictionaries(
    {},
    optional={
        "bucket": field(st.sampled_from(["images", "published", "owned", "none"])),
        "prefix": field(texts),
        "mime_type": field(st.sampled_from(["image/png", ["image/png", "image/jpeg"]])),
        "min_bytes": field(st.integers(0, 10**6)),
        "max_bytes": field(st.integers(0, 10**6)),
        "min_shown": field(st.floats(0, 1)),
        "uploaded_after": field(st.datetimes().map(str)),
        "uploaded_before": field(st.datetimes().map(lambda time: f"{time.isoformat()}Z")),
        "owner": field(texts),
        "metadata": field(st.dictionaries(texts, anything, max_size=2)),
    },
)
queries = st.fixed_dictionaries(
    {},
    optional={
        "text": field(st.sampled_from(["red", "blue", ["red", "green"]])),
        "like": field(st.lists(examples, max_size=3)),
        "unlike": field(st.lists(examples, max_size=3)),
        "limit": field(st.integers(1, 100)),
        "offset": field(st.integers(0, 800)),
        "min_similarity": field(st.floats(-1, 1)),
        "min_confidence": field(st.sampled_from(["same", "related", "unrelated"])),
        "best_confidence": field(st.sampled_from(["same", "related", "unrelated"])),
        "strategy": field(st.sampled_from(["average", "best_score"])),
        "diversity": field(st.floats(0, 1)),
        "collapse": field(st.just("duplicates")),
        "cursor": field(texts),
        "filter": field(filters),
    },
)
arguments = st.fixed_dictionaries(
    {"query_embedding": field(st.just(lookups.RED))},
    optional={
        "similarity_threshold": field(st.floats(-1, 1)),
        "match_count": field(st.integers(0, 1000)),
        "skip_count": field(st.integers(0, 1000)),
        "filter": field(filters),
        "page_after": field(
            st.fixed_dictionaries(
                {"similarity": scalars, "id": scalars, "rank": scalars}, optional={"more": scalars}
            )
        ),
        "model": field(st.just("efficientnet-lite0-concepts")),
        "query_kind": field(st.sampled_from(["image", "text", "mixed"])),
        "min_confidence": field(st.sampled_from(["same", "strong", "related", "unrelated"])),
        "best_confidence": field(st.sampled_from(["same", "strong", "related", "unrelated"])),
    },
)


@pytest.fixture(scope="module")
def anon(project: Running) -> Caller:
    return lookups.caller(project, "anon")


def shown(rows: list[dict[str, Any]], bucket: str) -> lookups.Seen:
    return {(row[bucket], row["content"]) for row in rows}


@steady
@given(query=queries | anything)
def test_any_query_is_answered_or_refused(anon: Caller, query: Any):
    body = json.dumps(query)
    answer = anon.post("/functions/v1/query", content=body, headers={"Content-Type": "application/json"})
    if answer.status_code == 200:
        assert shown(answer.json()["results"], "bucket") <= anon.expected
    else:
        assert answer.status_code in (400, 404, 413, 422), (body, answer.text)
        assert answer.json()["detail"]


@steady
@given(given_arguments=arguments)
def test_any_call_of_match_documents_is_answered_or_refused(anon: Caller, given_arguments: Any):
    answer = _call(anon, "match_documents", given_arguments)
    if answer.status_code == 200:
        assert shown(answer.json(), "bucket_id") <= anon.expected
    else:
        assert answer.status_code in (400, 404), (given_arguments, answer.text)


@steady
@given(likes=anything | st.lists(examples, max_size=3), rest=arguments)
def test_any_call_of_recommend_documents_is_answered_or_refused(anon: Caller, likes: Any, rest: Any):
    rest = {name: value for name, value in rest.items() if name not in ("query_embedding", "page_after")}
    answer = _call(anon, "recommend_documents", {"likes": likes, **rest})
    if answer.status_code == 200:
        assert shown(answer.json(), "bucket_id") <= anon.expected
    else:
        assert answer.status_code in (400, 404), (likes, rest, answer.text)


def _call(anon: Caller, function: str, given_arguments: dict[str, Any]) -> httpx.Response:
    return anon.post(
        f"/rest/v1/rpc/{function}",
        content=json.dumps(given_arguments),
        headers={"Content-Type": "application/json"},
    )
