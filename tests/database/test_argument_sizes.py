"""Every argument that strangers may give is bounded by its size before anything is done with it."""

from __future__ import annotations

import re
from collections import defaultdict

import psutil
import psycopg
import pytest
from psycopg.types.json import Jsonb
from support.databases import DIMENSIONS, Connection, as_role, vector
from support.process_use import Use, measured

SIZE = 10_000_000  # bytes
MOST_TOLD = 300  # characters of an error, with its hint
MOST_BYTES = 100_000_000  # of memory, and
MOST_SECONDS = 0.25  # of CPU, beyond those for taking the value
TEXT = f"repeat(repeat('x', 1000), {SIZE // 1000})"  # in a twentieth of the time of repeating one letter
# Of each type, as SQL; of those of fixed length none, and of vectors the longest.
VALUES: dict[str, list[str]] = {
    "text": [TEXT],
    "text[]": [f"array[{TEXT}]", f"array_fill('x'::text, array[{SIZE // 10}])"],
    "bigint[]": [f"array_fill(1::bigint, array[{SIZE // 8}])"],
    "jsonb": [
        f"jsonb_build_array(jsonb_build_object('embedding', {TEXT}))",
        f"to_jsonb(array_fill(1, array[{SIZE // 15}]))",
        "(select jsonb_agg(jsonb_build_object('embedding', array_fill(0, '{7400}')))"
        " from generate_series(1, 99))",
    ],
    "vector": ["array_fill(1::real, array[16000])::extensions.vector"],
    "integer": [],
    "bigint": [],
    "double precision": [],
}
NEEDED = {
    "query_embedding": f"'{vector(1)}'::extensions.vector",
    "query_text": "'red'",
    "likes": f"""'[{{"embedding": {vector(1)}}}]'::jsonb""",
    "name": "'a.png'",
    "bucket": "'images'",
    "names": "'{a.png}'::text[]",
    "first_ids": "'{1}'::bigint[]",
    "second_ids": "'{1}'::bigint[]",
}
REFUSAL = r"(The JSON in )?{name}(\[0\]\S*)? (has|have|are) \d+.*, (expected at most|the model)"
FUNCTIONS = """
    select p.oid::regproc::text, p.proargnames[a.place], format_type(a.type, null),
      a.place > p.pronargs - p.pronargdefaults
    from pg_proc as p, unnest(p.proargtypes::oid[]) with ordinality as a (type, place)
    where p.pronamespace = 'public'::regnamespace and obj_description(p.oid, 'pg_proc') <> ''
      and has_function_privilege('anon', p.oid, 'execute')
    order by 1, a.place
"""


def call(connection: Connection, function: str, given: dict[str, str]) -> str:
    """All that the error tells; nothing where there is none."""
    values = ", ".join(f"{value} as {name}" for name, value in given.items())
    named = ", ".join(f"{name} => given.{name}" for name in given)
    statement = f"select count(f) from (select {values} offset 0) as given, {function}({named}) as f"
    try:
        with as_role(connection, "anon"):
            connection.execute(statement.encode())
    except psycopg.Error as error:
        return f"{error.diag.message_primary} {error.diag.message_detail} {error.diag.message_hint}"
    return ""


def test_no_argument_of_ten_megabytes_is_taken_or_costs_more_than_its_size(database, db, make_document):
    make_document("a.png", 1)
    known = defaultdict(list)
    for function, name, kind, has_default in db.execute(FUNCTIONS):
        known[function].append((name, VALUES[kind.removeprefix("extensions.")], has_default))
    assert len(known) == 8  # active_model has no arguments
    wrong, taking = [], {}
    for function, arguments in known.items():
        usual = {name: NEEDED[name] for name, _, has_default in arguments if not has_default}
        with database.connect() as connection:
            backend = psutil.Process(connection.info.backend_pid)
            assert call(connection, function, usual) == ""
            for name, value in [(name, value) for name, values, _ in arguments for value in values]:
                if value not in taking:
                    take = f"select pg_column_size(v) from (select {value} as v offset 0) as given"
                    with measured(backend, Use()) as taking[value]:
                        connection.execute(take.encode())
                with measured(backend, Use()) as calling:
                    told = call(connection, function, {**usual, name: value})
                memory = calling.bytes - taking[value].bytes
                seconds = calling.cpu_seconds - taking[value].cpu_seconds
                is_refused = re.match(REFUSAL.format(name=name), told)
                if not is_refused or len(told) > MOST_TOLD or memory > MOST_BYTES or seconds > MOST_SECONDS:
                    wrong.append((f"{function}({name} => {value[:70]})", told[:200], memory, seconds))
    assert wrong == []


@pytest.mark.parametrize("embedding", ["words" * 10_000, "[1, 2" + ", 3" * 20_000, [0.1] * 20_000])
def test_an_embedding_that_is_none_isnt_told_back(db, embedding):
    with pytest.raises(psycopg.errors.InvalidParameterValue) as raised:
        db.execute("select from public.recommend_documents(%s)", [Jsonb([{"embedding": embedding}])])
    assert len(raised.value.diag.message_primary) < MOST_TOLD


ZEROS = "(select jsonb_agg(jsonb '0.0') from generate_series(1, 7000))"
NESTED = f"(select jsonb_agg(jsonb_build_array(0, 0, 0, 0)) from generate_series(1, {DIMENSIONS}))"


@pytest.mark.parametrize(
    "example",
    [
        f"jsonb_build_object('id', 1, 'x', {ZEROS})",
        f"jsonb_build_object('id', {ZEROS})",
        f"jsonb_build_object('embedding', {NESTED})",
        f"jsonb_build_object('embedding', 'words', 'weight', {ZEROS})",
        f"jsonb_build_array('embedding', {ZEROS})",
        ZEROS,
    ],
)
def test_the_first_wrong_example_ends_the_work_on_all(database, example):
    likes = f"(select jsonb_agg({example}) from generate_series(1, 100))"
    with database.connect() as connection:
        backend = psutil.Process(connection.info.backend_pid)
        call(connection, "public.recommend_documents", {"likes": NEEDED["likes"]})
        with measured(backend, Use()) as taking:
            connection.execute(
                f"select pg_column_size(v) from (select {likes} as v offset 0) as given".encode()
            )
        with measured(backend, Use()) as calling:
            told = call(connection, "public.recommend_documents", {"likes": likes})
    assert re.match(r"(The JSON in )?likes\[0\]", told) and len(told) < MOST_TOLD, told
    assert calling.cpu_seconds - taking.cpu_seconds < MOST_SECONDS
