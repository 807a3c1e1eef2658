"""The planner's statistics, of which `Prefer: count=planned` tells, tell nothing hidden.

Invariants 5 and 9. The attack: a planned count is an EXPLAIN, and its rows come from statistics of all rows.
So range searches spell out a hidden value letter by letter. It is replayed on all that PostgREST exposes.
"""

from __future__ import annotations

import json
import random
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.databases import Clone, clone, make_crowd
from support.running_project import Running, running

from local.postgres import Cluster

COUNTS = ("planned", "estimated", "exact")
ALPHABET = "-/0123456789abcdefghijklmnopqrstuvwxyz"  # in the order of its codes, as the database compares
VISIBLE, HIDDEN = 10, 3000
BUCKET = "hidden-bucket"
OWNERS = tuple(f"00000000-0000-4000-8000-00000000000{n}" for n in range(5))
FOLDERS = tuple(f"case-{n}" for n in range(10))
WORDS = ("hidden", "case-", OWNERS[0][:8])
LETTERS = 14  # of a hidden value that are spelled: more than each of these words has
VECTOR = [1.0] * 8

# As it was: a table in the exposed schema, whose policy shows the rows of objects that the caller may see.
EXPOSED = """
create table public.exposed as
  select id, object_id, bucket_id, content, owner_id from neural_search.documents;
alter table public.exposed enable row level security;
create policy visible on public.exposed for select to anon, authenticated
  using (exists (select from storage.objects as o where o.id = object_id));
grant select on public.exposed to anon, authenticated;
analyze public.exposed;
"""

COLUMNS = """
select c.relname, array_agg(a.attname::text order by a.attnum) from pg_class as c
join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'v', 'm', 'p', 'f') group by c.relname
order by 1
"""
FUNCTIONS = """
select p.proname, coalesce(p.proargnames[1:p.pronargs], '{}'),
  coalesce(p.proargnames[p.pronargs + 1:], '{}') from pg_proc as p
where p.pronamespace = 'public'::regnamespace and p.prokind = 'f' and p.proretset
order by p.proname, p.oid
"""
ARGUMENTS: dict[str, Any] = {
    "query_embedding": VECTOR,
    "query_text": "hidden",
    "similarity_threshold": -1,
    "names": ["0.png", f"{FOLDERS[0]}/0.png"],
    "document_ids": [1, 11, 12],
    "likes": [{"embedding": VECTOR}],
    "name": "0.png",
    "bucket": "images",
    "first_ids": [1, 11],
    "second_ids": [2, 12],
}


@dataclass(frozen=True)
class Resource:
    """A relation or a function that PostgREST exposes."""

    name: str
    columns: tuple[str, ...]
    arguments: tuple[str, ...] | None = None  # of a function

    def ask(self, http: httpx.Client, count: str, params: list[tuple[str, str]]) -> httpx.Response:
        headers = {"Prefer": f"count={count}"}
        if self.arguments is None:
            return http.get(f"/rest/v1/{self.name}", params=[*params, ("limit", "1")], headers=headers)
        body = {name: ARGUMENTS[name] for name in self.arguments if name in ARGUMENTS}
        return http.post(f"/rest/v1/rpc/{self.name}", params=params, json=body, headers=headers)

    def total(self, http: httpx.Client, count: str, params: list[tuple[str, str]]) -> str:
        """The answer's count of rows in all; its status where it has none."""
        answer = self.ask(http, count, params)
        return answer.headers.get("content-range", f"/{answer.status_code}").rpartition("/")[2]


@dataclass(frozen=True, eq=False)
class World:
    """A project with hidden documents, or the same without them."""

    project: Running
    resources: tuple[Resource, ...]

    @cache  # noqa: B019
    def caller(self, name: str) -> httpx.Client:
        keys = self.project.keys
        bearer = {"anon": keys.publishable, "user": keys.mint("authenticated", {"sub": OWNERS[4][:-1] + "9"})}
        headers = {"apikey": keys.publishable, "Authorization": f"Bearer {bearer[name]}"}
        client = httpx.Client(base_url=self.project.url, headers=headers, timeout=30, verify=False)
        return self.project.open.enter_context(client)


@pytest.fixture(scope="module")
def worlds(
    cluster: Cluster, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[World, World]]:
    """With the hidden documents, and without them."""
    folder: Path = tmp_path_factory.mktemp("counts")
    with ExitStack() as open_:

        def build(name: str, hidden: int) -> World:
            database = open_.enter_context(clone(cluster, template))
            _fill(database, hidden)
            project = open_.enter_context(running(database.url, folder / name))
            return World(project, _resources(database))

        (folder / "with").mkdir()
        (folder / "without").mkdir()
        yield build("with", HIDDEN), build("without", 0)


def _fill(database: Clone, hidden: int) -> None:
    numbers = random.Random(0)
    vectors = [[numbers.gauss(0, 1) for _ in VECTOR] for _ in range(VISIBLE)]
    make_crowd(database, vectors, [f"{n}.png" for n in range(VISIBLE)], [None] * VISIBLE)
    with database.connect("supabase_admin") as platform:
        platform.execute("set session_replication_role = 'replica'")
        platform.execute("insert into storage.buckets (id, name) values (%s, %s)", [BUCKET, BUCKET])
        platform.execute(
            """
            with made as (
              insert into storage.objects (bucket_id, name, version, owner_id)
              select %(bucket)s, (%(folders)s::text[])[n %% 10 + 1] || '/' || n || '.png', n::text,
                (%(owners)s::text[])[n %% 5 + 1]
              from generate_series(1, %(hidden)s) as n returning *
            )
            insert into neural_search.documents
              (object_id, bucket_id, content, model, embedding, object_version, owner_id)
            select id, bucket_id, name, 'tiny', %(vector)s, version, owner_id from made
            """,
            {
                "bucket": BUCKET,
                "folders": list(FOLDERS),
                "owners": list(OWNERS),
                "vector": json.dumps(VECTOR),
                "hidden": hidden,
            },
        )
        platform.execute("update neural_search.documents set embedded_at = '2026-01-01'")
        platform.execute("delete from cron.job")  # nothing is reconciled meanwhile
        platform.execute("analyze neural_search.documents, neural_search.words, storage.objects")
        platform.execute(EXPOSED)


def _resources(database: Clone) -> tuple[Resource, ...]:
    with database.connect() as connection:
        relations = [Resource(name, tuple(columns)) for name, columns in connection.execute(COLUMNS.encode())]
        functions = [
            Resource(name, tuple(told), tuple(given)) for name, given, told in connection.execute(FUNCTIONS)
        ]
    return (*relations, *functions)


def recovered(total: Callable[[str], str]) -> str:
    """The least value of a column, spelled out by how many rows are planned to lie below each guess."""
    known, none = "", total("")
    if total("~") == none:  # which is beyond all values: nothing can be learned
        return ""
    while len(known) < LETTERS:
        letter = bisect_left(ALPHABET, True, key=lambda one: total(known + one) != none) - 1
        if letter < 0:
            break
        known += ALPHABET[letter]
    return known


ATTACKED = {  # column -> a condition under which a hidden value is the least one, and that value
    "bucket_id": ([("bucket_id", "neq.images")], BUCKET),
    "owner_id": ([], OWNERS[0]),
    "content": ([("bucket_id", "neq.images")], FOLDERS[0]),
}
CALLERS = pytest.mark.parametrize("caller", ["anon", "user"])


def spell(world: World, caller: str, resource: Resource, column: str, count: str) -> str:
    http = world.caller(caller)
    given, _ = ATTACKED[column]
    return recovered(lambda guess: resource.total(http, count, [*given, (column, f"lt.{guess}")]))


@CALLERS
def test_the_attack_recovers_what_a_table_in_the_exposed_schema_hides(
    worlds: tuple[World, World], caller: str
):
    """Which shows that it works, here as on the platform."""
    [exposed] = [one for one in worlds[0].resources if one.name == "exposed"]
    assert exposed.total(worlds[0].caller(caller), "exact", []) == str(VISIBLE)
    assert spell(worlds[0], caller, exposed, "bucket_id", "planned") == BUCKET
    assert spell(worlds[0], caller, exposed, "owner_id", "planned") == OWNERS[0][:LETTERS]


@CALLERS
@pytest.mark.parametrize("count", COUNTS)
def test_the_attack_recovers_nothing_from_what_we_expose(
    worlds: tuple[World, World], caller: str, count: str
):
    ours = [one for one in worlds[0].resources if one.name != "exposed"]
    assert {"documents", "match_documents", "list_fingerprints"} <= {one.name for one in ours}
    for resource in ours:
        for column in set(resource.columns) & set(ATTACKED):
            spelled = spell(worlds[0], caller, resource, column, count)
            assert not any(word in spelled for word in WORDS), (resource, column, spelled)


RANGES = (
    [],
    [("bucket_id", "lt.i")],
    [("bucket_id", "gt.images")],
    [("content", "like.case*")],
    [("content", "gte.case-1"), ("content", "lt.case-2")],
    [("owner_id", f"eq.{OWNERS[0]}")],
    [("id", "gt.10")],
    [("similarity", "gt.0.99")],
)


@CALLERS
@pytest.mark.parametrize("count", COUNTS)
def test_no_answer_depends_on_hidden_rows(worlds: tuple[World, World], caller: str, count: str):
    seen = 0
    for resource, same in zip(*(world.resources for world in worlds), strict=True):
        if resource.name == "exposed":
            continue
        assert resource == same
        for params in RANGES:
            if {column for column, _ in params} <= set(resource.columns):
                first, second = (resource.ask(world.caller(caller), count, params) for world in worlds)
                assert first.status_code == second.status_code, (resource.name, params)
                assert first.headers.get("content-range") == second.headers.get("content-range")
                assert first.json() == second.json()
                seen += first.status_code in (200, 206)
    assert seen > 20
