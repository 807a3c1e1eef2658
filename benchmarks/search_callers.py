"""Searches of callers who may see only some documents: results, and times beside statements by hand.

Everything of one case takes turns: the same connection, role and claims, warm. By hand are written
* `hnsw`: the ten nearest by the index in half precision, of the documents, under its policy; of as
  many candidates, by an iterative scan in strict order, without which hidden rows would leave pages empty.
* `hnsw, narrowed`: the same with the case's filter as a condition.
* `exact`: the ten nearest of neural_search.documents by comparing all, under its policy, as the same caller.
* `exact, joined`: the same without our policy on documents: joined with storage.objects, whose own policies
  alone decide, once for each object. A caller could not write this: it needs a view that evades our policy.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.contest import ratio
from benchmarks.search_queries import Collection, K, Turns, acting, take_turns
from benchmarks.search_rows import SHARES, Connection, Row, Show, owner

ROUNDS, SECONDS = 30, 3.0  # of match_documents and HNSW by hand
SLOW_ROUNDS, SLOW_SECONDS = 7, 3.0  # of match_documents and exact search by hand

ADMIN = {"app_metadata": {"role": "admin"}, "sub": "00000000-0000-4000-8000-000000000001"}
IS_ADMIN = "(select auth.jwt()) -> 'app_metadata' ->> 'role' = 'admin'"
POLICIES = {
    "owner": f"owner_id = (select auth.uid())::text or {IS_ADMIN}",
    "folder": f"(storage.foldername(name))[1] = (select auth.uid())::text or {IS_ADMIN}",
}
DECLARED = {policy: {policy: f"case when {IS_ADMIN} then null else auth.uid() end"} for policy in POLICIES}
MATCH = """
select content, similarity from public.match_documents(
  query_embedding => %(query)s::vector, similarity_threshold => -1, match_count => 10{more}
)
"""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A caller and a filter."""

    name: str
    policy: str  # of POLICIES
    claims: dict[str, Any]
    visible: NDArray[np.bool_]  # (n,): the documents that may be found
    filter: dict[str, Any] = field(default_factory=dict)
    condition: str = "true"  # the filter by hand
    visible_by: dict[str, str] | None = None  # declared of all buckets

    @property
    def narrowed(self) -> bool:
        return bool(self.filter)


@dataclass(frozen=True, kw_only=True)
class Result:
    """A case's result. Times in milliseconds, ratios of match_documents' time to that by hand."""

    case: str
    declared: bool  # by visible_by
    visible: int
    count: int  # the fewest rows that match_documents returned
    recall: float  # its mean recall@10 against exact search over the visible
    p50_ms: float
    p95_ms: float
    most_ms: float
    to_hnsw: float | None
    hnsw_recall: float | None
    to_exact: float | None  # exact, joined
    to_exact_as_caller: float | None

    @property
    def complete(self) -> bool:
        return self.count == min(K, self.visible)

    def row(self) -> dict[str, Any]:
        return asdict(self)


def callers(rows: Sequence[Row]) -> Iterator[Case]:
    """Who may see 100%, 10%, 1% and 0.1%, by either policy."""
    owners = np.array([row.owner for row in rows])
    everything = np.ones(len(rows), bool)
    yield Case(name="sees 100%", policy="owner", claims=ADMIN, visible=everything)
    for policy in POLICIES:
        for share in reversed(SHARES):
            who = owner(share)
            name = f"sees {share}, by {policy}"
            case = Case(name=name, policy=policy, claims={"sub": who}, visible=owners == who)
            yield from (case, replace(case, name=f"{name}, declared", visible_by=DECLARED[policy]))


def filters(rows: Sequence[Row]) -> Iterator[Case]:
    """Who may see everything and asks for 10%, 1% and 0.1% of it."""
    owners, buckets, albums = (
        np.array([getattr(row, name) for row in rows]) for name in ("owner", "bucket", "album")
    )
    for share in reversed(SHARES):
        who, bucket = owner(share), f"bucket {share}"
        album = json.dumps({"album": share})
        for kind, wanted, condition, visible in (
            ("bucket", bucket, f"bucket_id = '{bucket}'", buckets == bucket),
            ("prefix", f"{who}/", f"starts_with(content, '{who}/')", owners == who),
            ("owner", who, f"owner_id = '{who}'", owners == who),
            ("metadata", {"album": share}, f"metadata @> '{album}'", albums == share),
        ):
            yield Case(
                name=f"{kind} of {share}",
                policy="owner",
                claims=ADMIN,
                visible=visible,
                filter={kind: wanted},
                condition=condition.replace("%", "%%"),  # psycopg takes a single one for a placeholder
            )


def measure(
    connection: Connection, collection: Collection, cases: Sequence[Case], show: Show
) -> list[Result]:
    """Each case, as its caller; the connection is a superuser's, in a database of the benchmark's own."""
    make_view(connection)
    results = []
    for done, case in enumerate(cases):
        show("match_documents beside statements by hand", done, len(cases))
        declare(connection, case)
        with policy(connection, case.policy), acting(connection, "authenticated", case.claims):
            results.append(_measured(connection, collection, case))
    return results


def make_view(connection: Connection) -> None:
    """The documents without our policy, for `exact, joined`."""
    connection.execute("create schema if not exists by_hand")
    connection.execute("create or replace view by_hand.documents as select * from neural_search.documents")
    connection.execute("grant usage on schema by_hand to authenticated")
    connection.execute("grant select on by_hand.documents to authenticated")


def declare(connection: Connection, case: Case) -> None:
    declared = json.dumps(case.visible_by) if case.visible_by else None
    connection.execute("update neural_search.buckets set visible_by = %s", [declared])


@contextmanager
def policy(connection: Connection, name: str) -> Iterator[None]:
    """Reading objects is governed by this policy, in the block."""
    create = "create policy by_hand on storage.objects for select to authenticated using"
    connection.execute(f"{create} ({POLICIES[name]})".encode())
    try:
        yield
    finally:
        connection.execute("drop policy by_hand on storage.objects")


def _measured(connection: Connection, collection: Collection, case: Case) -> Result:
    values = {"filter": json.dumps(case.filter)} if case.narrowed else {}
    match = MATCH.format(more=", filter => %(filter)s::jsonb" if case.narrowed else "")
    quick = {"match": match, "hnsw": _hnsw(collection)}
    if case.narrowed:
        quick["hnsw, narrowed"] = _hnsw(collection, case.condition)
    slow = {"match": match, "exact, joined": _joined(collection, case.condition)}
    if not case.narrowed:
        slow["exact"] = _exact(collection)

    def turns(statements: dict[str, str], rounds: int, seconds: float) -> dict[str, Turns]:
        return take_turns(
            connection,
            collection,
            statements,
            rounds=rounds,
            seconds=seconds,
            visible=case.visible,
            values=values,
        )

    return _result(case, turns(quick, ROUNDS, SECONDS), turns(slow, SLOW_ROUNDS, SLOW_SECONDS))


def _result(case: Case, quick: dict[str, Turns], slow: dict[str, Turns]) -> Result:
    ours = quick["match"]
    every = [*ours.milliseconds, *slow["match"].milliseconds]
    return Result(
        case=case.name,
        declared=case.visible_by is not None,
        visible=int(case.visible.sum()),
        count=min(*ours.counts, *slow["match"].counts),
        recall=float(np.mean([*ours.recalls, *slow["match"].recalls])),
        p50_ms=ours.percentile(50),
        p95_ms=ours.percentile(95),
        most_ms=max(every),
        to_hnsw=_ratio(quick, "hnsw"),
        hnsw_recall=quick["hnsw, narrowed" if case.narrowed else "hnsw"].recall,
        to_exact=_ratio(slow, "exact, joined"),
        to_exact_as_caller=_ratio(slow, "exact"),
    )


def _ratio(turns: dict[str, Turns], by_hand: str) -> float | None:
    """The median over the rounds of how many times as long ours took."""
    if by_hand not in turns:
        return None
    times = {name: turns[name].milliseconds for name in ("match", by_hand)}
    return ratio(times, "match", by_hand)


def _hnsw(collection: Collection, condition: str = "true") -> str:
    half = f"halfvec({collection.dimensions})"
    return f"""
        select content, 1 - (embedding <=> %(query)s) from neural_search.documents
        where model = '{collection.model}' and {condition}
        order by embedding::{half} <=> %(query)s::vector::{half} limit {K}
        """


def _exact(collection: Collection) -> str:
    return f"""
        select content, 1 - (embedding <=> %(query)s) from neural_search.documents
        where model = '{collection.model}' order by embedding <=> %(query)s limit {K}
        """


def _joined(collection: Collection, condition: str) -> str:
    return f"""
        select content, 1 - (embedding <=> %(query)s) from (
          select d.* from by_hand.documents as d
          join storage.objects as o on o.id = d.object_id and o.version = d.object_version
          where d.model = '{collection.model}'
        ) as visible where {condition} order by embedding <=> %(query)s limit {K}
        """
