"""Which rows REST answers with, and in which form: limit, offset, Range and Accept."""

from __future__ import annotations

import httpx
import pytest
from support.databases import Connection
from support.gateways import Gateway

SCHEMA = """
create table public.steps (id int primary key, note text);
grant all on public.steps to service_role;
create function public.climb() returns setof int language sql as 'delete from public.steps returning id';
"""
ROWS = "insert into public.steps select generate_series(1, 5)"
STEPS = "/rest/v1/steps?select=id&order=id"
OBJECT = "application/vnd.pgrst.object+json"


@pytest.fixture(scope="module", autouse=True)
def schema(gateway: Gateway) -> None:
    with gateway.database.connect() as connection:
        connection.execute(SCHEMA.encode())


@pytest.fixture(autouse=True)
def rows(db: Connection, schema: None) -> None:
    db.execute("truncate public.steps")
    db.execute(ROWS)


@pytest.mark.parametrize(
    ("query", "told", "found"),
    [
        ("limit=2", "1-2", [2]),
        ("offset=1", "0-2", [2, 3]),
        ("limit=3&offset=1", "2-9", [3, 4]),
        ("offset=3", "0-9", [4, 5]),
        ("limit=0", "1-2", []),
        ("limit=x", "1-2", [2, 3]),
        ("limit=2", "bytes=1-2", [1, 2]),
    ],
)
def test_a_range_and_a_limit_take_the_rows_of_both(
    http: httpx.Client, query: str, told: str, found: list[int]
) -> None:
    answer = http.get(f"{STEPS}&{query}", headers={"range": told})
    assert [row["id"] for row in answer.json()] == found


def test_a_range_beside_the_limit_is_a_416(http: httpx.Client) -> None:
    answer = http.get(f"{STEPS}&limit=2", headers={"range": "2-4"})
    assert (answer.status_code, answer.json()["code"]) == (416, "PGRST103")


def test_a_range_counts_for_a_get_alone(http: httpx.Client, db: Connection) -> None:
    headers = {"range": "1-2", "prefer": "count=exact"}
    assert http.get(STEPS, headers=headers).headers["content-range"] == "1-2/5"
    answer = http.head(STEPS, headers=headers)
    assert (answer.status_code, answer.headers["content-range"]) == (200, "0-4/5")
    assert http.delete(f"{STEPS}&id=gt.0", headers=headers).headers["content-range"] == "*/5"


def test_an_offset_beyond_the_rows_tells_how_many_there_are(http: httpx.Client) -> None:
    answer = http.get(f"{STEPS}&offset=9", headers={"prefer": "count=exact"})
    assert (answer.status_code, answer.headers["content-range"]) == (416, "*/5")
    assert answer.headers["preference-applied"] == "count=exact"


def test_values_of_a_function_are_counted_and_it_is_called_once(http: httpx.Client, db: Connection) -> None:
    answer = http.post("/rest/v1/rpc/climb?limit=2&offset=1", json={}, headers={"prefer": "count=exact"})
    assert (answer.status_code, answer.json(), answer.headers["content-range"]) == (206, [2, 3], "1-2/5")
    assert db.execute("select count(*) from public.steps").fetchone() == (0,)


def test_an_offset_beyond_a_functions_rows_undoes_nothing(http: httpx.Client, db: Connection) -> None:
    answer = http.post("/rest/v1/rpc/climb?offset=9", json={}, headers={"prefer": "count=exact"})
    assert (answer.status_code, answer.headers["content-range"]) == (416, "*/5")
    assert db.execute("select count(*) from public.steps").fetchone() == (0,)


@pytest.mark.parametrize(
    ("accept", "single"),
    [
        (OBJECT, True),
        ("application/vnd.pgrst.object", True),
        ("Application/vnd.PgRsT.object+json; charset=utf-8", True),
        (f"{OBJECT}, application/json", True),
        (f"application/json, {OBJECT}", False),
        (f"application/json;q=0.5, {OBJECT}", True),
        (f"{OBJECT};q=0.1, */*", False),
        (f"*/*, {OBJECT}", True),
        (f"text/html;q=x, {OBJECT}", True),
        ("application/json;nulls=stripped", False),
        ("application/vnd.pgrst.array+json", False),
        ("text/html, application/xml;q=0.9, */*;q=0.8", False),
    ],
)
def test_the_media_type_that_is_wanted_most_decides(
    http: httpx.Client, db: Connection, accept: str, single: bool
) -> None:
    answer = http.get(f"{STEPS}&id=eq.1", headers={"accept": accept})
    assert answer.json() == ({"id": 1} if single else [{"id": 1}])
    answer = http.delete("/rest/v1/steps?id=gt.0", headers={"accept": accept})
    assert answer.status_code == (406 if single else 204)


@pytest.mark.parametrize("accept", ["application/*", "text/html", ""])
def test_other_media_types_are_pgrst107_and_nothing_is_changed(
    http: httpx.Client, db: Connection, accept: str
) -> None:
    answer = http.delete("/rest/v1/steps?id=gt.0", headers={"accept": accept})
    assert (answer.status_code, answer.json()["code"]) == (406, "PGRST107")
    assert db.execute("select count(*) from public.steps").fetchone() == (5,)


@pytest.mark.parametrize("kind", ["object", "array"])
def test_nulls_cant_be_left_out(http: httpx.Client, db: Connection, kind: str) -> None:
    """PostgREST does; not supported here."""
    headers = {"accept": f"application/vnd.pgrst.{kind}+json; nulls=stripped"}
    for answer in (http.get(STEPS, headers=headers), http.delete("/rest/v1/steps?id=eq.1", headers=headers)):
        assert (answer.status_code, answer.json()["code"]) == (400, "PGRST100")
    assert db.execute("select count(*) from public.steps").fetchone() == (5,)
