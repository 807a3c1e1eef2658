"""Preferences of a request: those that are followed are named, and a write that they forbid is undone."""

from __future__ import annotations

import httpx
import pytest
from support.databases import Connection
from support.gateways import Gateway

SCHEMA = """
create table public.herd (
    id int primary key, name text default 'nobody', at timestamptz default '2026-01-01 12:00Z'
);
create table public.keyless (id int);
grant all on public.herd, public.keyless to service_role;
create function public.cull() returns setof int language sql as 'delete from public.herd returning id';
create function public.cull_one() returns int language sql as 'delete from public.herd returning id';
create function public.no_herd() returns public.herd language sql stable as 'select null::public.herd';
"""
ROWS = "insert into public.herd (id, name) values (1, 'a'), (2, 'b'), (3, 'c')"
ALL = "/rest/v1/herd?id=gt.0"
ONE = {"accept": "application/vnd.pgrst.object+json"}


@pytest.fixture(scope="module", autouse=True)
def schema(gateway: Gateway) -> None:
    with gateway.database.connect() as connection:
        connection.execute(SCHEMA.encode())


@pytest.fixture(autouse=True)
def rows(db: Connection, schema: None) -> None:
    db.execute("truncate public.herd")
    db.execute(ROWS)


def names(db: Connection) -> str:
    row = db.execute("select coalesce(string_agg(name, '' order by id), '') from public.herd").fetchone()
    assert row
    return str(row[0])


WRITES = {
    "delete": ("DELETE", ALL, None),
    "update": ("PATCH", ALL, {"name": "z"}),
    "insert": ("POST", "/rest/v1/herd", [{"id": 4}, {"id": 5}]),
    "call": ("POST", "/rest/v1/rpc/cull", {}),
}


@pytest.mark.parametrize("write", WRITES)
def test_several_rows_where_one_is_wanted_are_pgrst116_and_nothing_is_changed(
    http: httpx.Client, db: Connection, write: str
) -> None:
    method, path, body = WRITES[write]
    answer = http.request(method, path, json=body, headers=ONE)
    assert (answer.status_code, answer.json()["code"]) == (406, "PGRST116")
    assert answer.json()["details"] == f"The result contains {2 if write == 'insert' else 3} rows"
    assert names(db) == "abc"


def test_no_row_where_one_is_wanted_is_pgrst116(http: httpx.Client) -> None:
    nobody = "/rest/v1/herd?id=eq.9"
    for answer in (
        http.delete(nobody, headers=ONE),
        http.patch(nobody, json={"name": "z"}, headers=ONE),
        http.patch(ALL, json={}, headers=ONE),
        http.post("/rest/v1/herd", json=[], headers=ONE),
    ):
        assert (answer.status_code, answer.json()["code"]) == (406, "PGRST116")


def test_one_row_where_one_is_wanted_is_changed(http: httpx.Client, db: Connection) -> None:
    answer = http.delete("/rest/v1/herd?id=eq.1", headers=ONE)
    assert (answer.status_code, names(db)) == (204, "bc")


@pytest.mark.parametrize("write", ["delete", "update", "call"])
def test_more_rows_than_max_affected_are_pgrst124_and_nothing_is_changed(
    http: httpx.Client, db: Connection, write: str
) -> None:
    method, path, body = WRITES[write]
    for bound in ("2", "-1", "1, max-affected=9"):
        headers = {"prefer": f"handling=strict, max-affected={bound}"}
        answer = http.request(method, path, json=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (400, "PGRST124")
        assert answer.json()["details"] == "The query affects 3 rows"
        assert names(db) == "abc"
    answer = http.request(method, path, json=body, headers={"prefer": "handling=strict,max-affected=3"})
    assert answer.is_success
    assert answer.headers["preference-applied"] == "handling=strict, max-affected=3"
    assert names(db) in ("", "zzz")


def test_max_affected_counts_with_strict_handling_and_for_changed_rows_alone(http: httpx.Client) -> None:
    insert = http.post(
        "/rest/v1/herd", json=[{"id": 4}, {"id": 5}], headers={"prefer": "handling=strict, max-affected=1"}
    )
    assert (insert.status_code, insert.headers["preference-applied"]) == (201, "handling=strict")
    assert http.get(ALL, headers={"prefer": "handling=strict, max-affected=1"}).status_code == 200
    assert http.delete(ALL, headers={"prefer": "max-affected=1"}).status_code == 204


def test_max_affected_of_a_function_that_returns_no_set_is_pgrst128(
    http: httpx.Client, db: Connection
) -> None:
    headers = {"prefer": "handling=strict, max-affected=9"}
    answer = http.post("/rest/v1/rpc/cull_one", json={}, headers=headers)
    assert (answer.status_code, answer.json()["code"], names(db)) == (400, "PGRST128", "abc")


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize(
    "unknown", ["foo=bar", "baz", "return=all", "Return=minimal", "timezone=No/Where", "timezone=asia/tokyo"]
)
def test_an_unknown_preference_is_pgrst122_with_strict_handling(
    http: httpx.Client, db: Connection, write: str, unknown: str
) -> None:
    method, path, body = WRITES[write]
    headers = {"prefer": f"count=exact, {unknown}, tx=commit, handling=strict"}
    answer = http.request(method, path, json=body, headers=headers)
    assert (answer.status_code, answer.json()["code"], names(db)) == (400, "PGRST122", "abc")
    assert answer.json()["details"] == f"Invalid preferences: {unknown}"


def test_a_bound_that_is_no_number_is_refused_with_strict_handling(
    http: httpx.Client, db: Connection
) -> None:
    """Stricter than PostgREST, which changes all rows then."""
    for bound in ("three", "", "9" * 5000):
        answer = http.delete(ALL, headers={"prefer": f"handling=strict, max-affected={bound}"})
        assert (answer.status_code, answer.json()["code"], names(db)) == (400, "PGRST122", "abc")


def test_an_unknown_preference_is_none_otherwise(http: httpx.Client) -> None:
    headers = {"prefer": "foo=bar, return=all, resolution=x, timezone=No/Where, handling=lenient"}
    answer = http.post("/rest/v1/herd", json={"id": 4}, headers=headers)
    assert (answer.status_code, answer.content) == (201, b"")
    assert answer.headers["preference-applied"] == "handling=lenient"


def test_an_unknown_resolution_overwrites_nothing(http: httpx.Client, db: Connection) -> None:
    headers = {"prefer": "resolution=merge"}
    answer = http.post("/rest/v1/herd", json={"id": 1, "name": "z"}, headers=headers)
    assert (answer.status_code, answer.json()["code"], names(db)) == (409, "23505", "abc")


def test_of_a_preference_told_twice_the_first_counts(http: httpx.Client, db: Connection) -> None:
    told = "resolution=ignore-duplicates, resolution=merge-duplicates"
    answer = http.post("/rest/v1/herd", json={"id": 1, "name": "z"}, headers={"prefer": told})
    assert (answer.status_code, names(db)) == (201, "abc")
    assert answer.headers["preference-applied"] == "resolution=ignore-duplicates"


def test_a_time_zone_holds_for_the_request(http: httpx.Client, db: Connection) -> None:
    headers = {"prefer": "timezone=Asia/Tokyo, return=representation"}
    answer = http.patch("/rest/v1/herd?id=eq.1", json={"at": "2026-01-01 00:00"}, headers=headers)
    assert answer.json()[0]["at"] == "2026-01-01T00:00:00+09:00"
    assert answer.headers["preference-applied"] == "return=representation, timezone=Asia/Tokyo"
    assert http.get("/rest/v1/herd?id=eq.1").json()[0]["at"] == "2025-12-31T15:00:00+00:00"


def test_a_reading_follows_no_preferences_of_writes(http: httpx.Client) -> None:
    told = "return=minimal, missing=default, resolution=merge-duplicates, count=exact"
    answer = http.get(ALL, headers={"prefer": told})
    assert answer.headers["preference-applied"] == "count=exact"
    assert "preference-applied" not in http.get(ALL).headers


def test_a_resolution_is_followed_where_there_is_a_key(http: httpx.Client) -> None:
    headers = {"prefer": "resolution=merge-duplicates, missing=default"}
    answer = http.post("/rest/v1/keyless", json={"id": 1}, headers=headers)
    assert (answer.status_code, answer.headers["preference-applied"]) == (201, "missing=default")


def test_headers_alone_are_refused(http: httpx.Client, db: Connection) -> None:
    """PostgREST tells the new row's address; not supported here."""
    headers = {"prefer": "return=headers-only"}
    answer = http.post("/rest/v1/herd", json={"id": 4}, headers=headers)
    assert (answer.status_code, answer.json()["code"], names(db)) == (400, "PGRST100", "abc")


@pytest.mark.parametrize(
    ("method", "count", "window"),
    [
        ("DELETE", "exact", "*/3"),
        ("DELETE", "planned", "*/*"),
        ("PATCH", "exact", "0-2/3"),
        ("PATCH", "planned", "0-2/*"),
    ],
)
def test_the_range_of_changed_rows(http: httpx.Client, method: str, count: str, window: str) -> None:
    body = {"name": "z"} if method == "PATCH" else None
    answer = http.request(method, ALL, json=body, headers={"prefer": f"count={count}"})
    assert answer.headers["content-range"] == window


def test_one_row_comes_with_its_range(http: httpx.Client) -> None:
    answer = http.get("/rest/v1/herd?id=eq.1", headers=ONE)
    assert (answer.json()["name"], answer.headers["content-range"]) == ("a", "0-0/*")


def test_a_row_that_a_filter_takes_from_a_function_that_returns_one_is_null(http: httpx.Client) -> None:
    answer = http.post("/rest/v1/rpc/no_herd?id=eq.9", json={})
    assert (answer.status_code, answer.text) == (200, "null")
