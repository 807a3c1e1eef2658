"""Bodies of REST's writes: which are taken, with which columns, and that values arrive as they were sent."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from support.databases import Connection
from support.gateways import Gateway

SCHEMA = """
create table public.plants (id int primary key, name text default 'nameless', height numeric default 1);
create table public.seeds (name text default 'nameless');
create table public.stones (id int primary key default 1);
grant all on public.plants, public.seeds, public.stones to service_role;
create function public.grow() returns int language sql as
    'update public.plants set height = height + 1 returning 1';
"""
ROWS = "insert into public.plants values (1, 'a', 1)"
PLANTS, ONE = "/rest/v1/plants", "/rest/v1/plants?id=eq.1"
ALIKE = "All object keys must match"


@pytest.fixture(scope="module", autouse=True)
def schema(gateway: Gateway) -> None:
    with gateway.database.connect() as connection:
        connection.execute(SCHEMA.encode())


@pytest.fixture(autouse=True)
def rows(db: Connection, schema: None) -> None:
    db.execute("truncate public.plants, public.seeds")
    db.execute(ROWS)


def plants(db: Connection) -> list[Any]:
    return db.execute("select id, name, height from public.plants order by id").fetchall()


BEFORE = [(1, "a", 1)]


@pytest.mark.parametrize(
    "body",
    [
        [{"id": 2, "name": "b"}, {"id": 3}],
        [{"id": 2}, {"id": 3, "name": "c"}],
        [{"id": 2}, {}],
        [{"id": 2}, 3],
        [[]],
        [None],
    ],
    ids=str,
)
@pytest.mark.parametrize("missing", ["null", "default"])
def test_rows_of_different_keys_are_pgrst102(
    http: httpx.Client, db: Connection, missing: str, body: Any
) -> None:
    answer = http.post(PLANTS, json=body, headers={"prefer": f"missing={missing}"})
    assert (answer.status_code, answer.json()["code"], answer.json()["message"]) == (400, "PGRST102", ALIKE)
    answer = http.patch(ONE, json=body)
    assert (answer.status_code, answer.json()["code"], answer.json()["message"]) == (400, "PGRST102", ALIKE)
    assert plants(db) == BEFORE


def test_the_order_of_keys_is_free(http: httpx.Client, db: Connection) -> None:
    body = [{"id": 2, "name": "b"}, {"name": "c", "id": 3}]
    assert http.post(PLANTS, json=body).status_code == 201
    assert plants(db) == [*BEFORE, (2, "b", 1), (3, "c", 1)]


def test_named_columns_make_rows_of_different_keys_alike(http: httpx.Client, db: Connection) -> None:
    body = [{"id": 2, "name": "b", "wings": 1}, {"id": 3}]
    assert http.post(f"{PLANTS}?columns=id,name,id", json=body).status_code == 201
    defaults = {"prefer": "missing=default"}
    body = [{"id": 4, "name": None}, {"id": 5}]
    assert http.post(f"{PLANTS}?columns=id,name", json=body, headers=defaults).status_code == 201
    assert plants(db) == [*BEFORE, (2, "b", 1), (3, None, 1), (4, None, 1), (5, "nameless", 1)]


@pytest.mark.parametrize("missing", ["null", "default"])
@pytest.mark.parametrize(("body", "count"), [({}, 1), ([{}], 1), ([{}, {}], 2), ([], 0)], ids=str)
def test_rows_without_a_key_are_all_defaults(
    http: httpx.Client, db: Connection, body: Any, count: int, missing: str
) -> None:
    answer = http.post("/rest/v1/seeds", json=body, headers={"prefer": f"missing={missing}"})
    assert answer.status_code == 201
    assert db.execute("select name from public.seeds").fetchall() == [("nameless",)] * count


def test_an_upsert_of_no_columns_changes_nothing(http: httpx.Client, db: Connection) -> None:
    headers = {"prefer": "resolution=merge-duplicates"}
    assert http.post("/rest/v1/stones", json={}, headers=headers).status_code == 201
    assert http.post("/rest/v1/stones", json={}, headers=headers).is_success
    assert db.execute("select id from public.stones").fetchall() == [(1,)]


def test_numbers_keep_their_digits(http: httpx.Client, db: Connection) -> None:
    digits = "0.1234567890123456789012345678901"
    assert http.post(PLANTS, content=f'{{"id": 2, "height": {digits}}}').status_code == 201
    assert http.patch(ONE, content=f'{{"height": {digits}}}').status_code == 204
    assert [str(row[2]) for row in plants(db)] == [digits, digits]


@pytest.mark.parametrize(
    ("query", "missing", "body", "row"),
    [
        ("&columns=name", "null", {}, (1, None, 1)),
        ("&columns=name", "default", {}, (1, "nameless", 1)),
        ("&columns=name,height", "default", {"height": None, "id": 7}, (1, "nameless", None)),
        ("&columns=name", "null", [{"name": "z"}], (1, "z", 1)),
        ("&columns=name", "null", [], (1, "a", 1)),
        ("", "default", {"name": "z"}, (1, "z", 1)),
        ("", "null", [{"name": "z"}, {"name": "y"}], (1, "z", 1)),
        ("", "null", [{}], (1, "a", 1)),
    ],
    ids=str,
)
def test_an_update_sets_the_named_columns_from_the_first_row(
    http: httpx.Client, db: Connection, query: str, missing: str, body: Any, row: tuple[Any, ...]
) -> None:
    answer = http.patch(f"{ONE}{query}", json=body, headers={"prefer": f"missing={missing}"})
    assert (answer.status_code, plants(db)) == (204, [row])


def test_an_update_of_nothing_takes_the_right_to_read(gateway: Gateway) -> None:
    with gateway.http(gateway.keys.publishable) as anon:
        answer = anon.patch(ONE, json={})
    assert (answer.status_code, answer.json()["code"]) == (401, "42501")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"id": NaN}',
        b'{"id": 2}x',
        b'\xef\xbb\xbf{"id": 2}',
        '{"id": 2}'.encode("utf-16"),
        b'{"id": 2, "name": "\xff"}',
        b'{"id": 2, "name": "\\ud800"}',
        b'{"\\ud800": 2}',
    ],
    ids=repr,
)
def test_a_body_that_is_no_json_is_pgrst102(http: httpx.Client, db: Connection, content: bytes) -> None:
    for answer in (http.post(PLANTS, content=content), http.patch(ONE, content=content)):
        assert (answer.status_code, answer.json()["code"]) == (400, "PGRST102")
        assert answer.json()["message"] == "Empty or invalid json"
    assert plants(db) == BEFORE


@pytest.mark.parametrize("kind", ["text/plain", "application/vnd.api+json", "x/y; charset=utf-8"])
def test_another_content_type_is_pgrst102(http: httpx.Client, db: Connection, kind: str) -> None:
    headers, row = {"content-type": kind}, json.dumps({"id": 2})
    for answer in (
        http.post(PLANTS, content=row, headers=headers),
        http.patch(ONE, content=row, headers=headers),
        http.post("/rest/v1/rpc/grow", content="{}", headers=headers),
    ):
        assert (answer.status_code, answer.json()["code"]) == (400, "PGRST102")
        assert answer.json()["message"] == f"Content-Type not acceptable: {kind}"
    assert plants(db) == BEFORE


@pytest.mark.parametrize("kind", ["text/csv", "application/x-www-form-urlencoded"])
def test_tables_and_forms_are_refused(http: httpx.Client, db: Connection, kind: str) -> None:
    """PostgREST takes them; not supported here."""
    for path, content in ((PLANTS, "id\n2\n"), ("/rest/v1/rpc/grow", "{}")):
        answer = http.post(path, content=content, headers={"content-type": kind})
        assert (answer.status_code, answer.json()["code"]) == (400, "PGRST100")
    assert plants(db) == BEFORE


def test_the_case_and_parameters_of_a_content_type_are_free(http: httpx.Client, db: Connection) -> None:
    headers = {"content-type": "Application/JSON; charset=utf-8"}
    assert http.patch(ONE, content='{"name": "z"}', headers=headers).status_code == 204
    assert plants(db) == [(1, "z", 1)]
