"""Lists in REST's query string: one that isn't whole is refused, and nothing is done by a part of it."""

from __future__ import annotations

from urllib.parse import quote

import httpx
import pytest
from support.databases import Connection
from support.gateways import Gateway

SCHEMA = """
create table public.words (id int primary key, word text);
grant all on public.words to service_role;
"""
ROWS = """insert into public.words values (1, 'a'), (2, 'b'), (3, 'c,d'), (4, 'e"f'), (5, '"g'), (6, 'h)')"""


@pytest.fixture(scope="module", autouse=True)
def schema(gateway: Gateway) -> None:
    with gateway.database.connect() as connection:
        connection.execute(SCHEMA.encode())
        connection.execute(ROWS.encode())


def count(db: Connection) -> int:
    row = db.execute("select count(*) from public.words where word not in ('', 'z')").fetchone()
    assert row
    return int(row[0])


def refused(answer: httpx.Response) -> bool:
    return (answer.status_code, answer.json()["code"]) == (400, "PGRST100")


@pytest.mark.parametrize("listed", ["1", "(1", "1)", "", "(", ")", "1,2", "(1,2", '("1', "(1)(2)", "(1)2"])
@pytest.mark.parametrize("negation", ["", "not."])
def test_a_list_that_isnt_whole_is_pgrst100_and_nothing_is_done(
    http: httpx.Client, db: Connection, negation: str, listed: str
) -> None:
    """Stricter than PostgREST for words behind the list, which it leaves out, here and below."""
    path = f"/rest/v1/words?id={negation}in.{quote(listed)}"
    assert refused(http.get(path))
    assert refused(http.delete(path))
    assert refused(http.patch(path, json={"word": "z"}))
    assert count(db) == 6


@pytest.mark.parametrize(
    ("listed", "found"),
    [
        ("(a,b)", [1, 2]),
        ("(a, b)", [1]),
        (" ( a,b)", [1, 2]),
        ('("a","b")', [1, 2]),
        ('("c,d",b)', [2, 3]),
        ("(c,d)", []),
        (r'("e\"f")', [4]),
        ('(e"f)', [4]),
        ('("g)', [5]),
        ('("a"b)', []),
        ('("h)")', [6]),
        ("()", []),
        ("(,)", []),
    ],
    ids=str,
)
def test_values_are_read_as_postgrest_does(http: httpx.Client, listed: str, found: list[int]) -> None:
    answer = http.get("/rest/v1/words", params={"word": f"in.{listed}", "select": "id", "order": "id"})
    assert [row["id"] for row in answer.json()] == found


def test_an_empty_list_holds_no_value(http: httpx.Client) -> None:
    for column in ("id", "word"):
        answer = http.get("/rest/v1/words", params={column: "in.()"})
        assert (answer.status_code, answer.json()) == (200, [])
    assert len(http.get("/rest/v1/words?id=not.in.()").json()) == 6


@pytest.mark.parametrize("parameter", ["order", "columns", "on_conflict"])
@pytest.mark.parametrize("names", ["", "id,,word", ",id", "id,", '"id', "id,a.b.c"])
def test_names_that_cant_be_read_are_pgrst100_and_nothing_is_done(
    http: httpx.Client, db: Connection, parameter: str, names: str
) -> None:
    named = f"{parameter}={quote(names)}"
    assert refused(http.get(f"/rest/v1/words?{named}"))
    assert refused(http.delete(f"/rest/v1/words?id=gt.0&{named}"))
    assert refused(http.post(f"/rest/v1/words?{named}", json={"id": 7, "word": "x"}))
    assert count(db) == 6


@pytest.mark.parametrize("names", ["id,,word", ",id", "id,", '"id'])
def test_columns_that_cant_be_read_are_pgrst100(http: httpx.Client, names: str) -> None:
    assert refused(http.get("/rest/v1/words", params={"select": names}))


def test_of_a_parameter_told_twice_the_first_counts(http: httpx.Client) -> None:
    answer = http.get("/rest/v1/words?select=id&select=word&order=id.desc&order=id&limit=9&limit=1")
    assert answer.json() == [{"id": 6}]
    assert refused(http.get("/rest/v1/words?order=id&order="))
