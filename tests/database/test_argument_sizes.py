"""Every argument that strangers may give is bounded by its size before anything is done with it."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg.types.json import Jsonb
from support.databases import Connection, as_role, vector

SIZE = 10_000_000  # bytes
MOST_TOLD = 300  # characters of an error, with its hint
MOST_BYTES = 100_000_000  # of memory, and
MOST_SECONDS = 0.25  # of CPU, beyond those for taking the value
TICKS = os.sysconf("SC_CLK_TCK")
TEXT = f"repeat('x', {SIZE})"
# Of each type, as SQL; of those of fixed length none, and of vectors the longest.
VALUES: dict[str, list[str]] = {
    "text": [TEXT],
    "text[]": [f"array[{TEXT}]", f"array_fill('x'::text, array[{SIZE // 10}])"],
    "bigint[]": [f"array_fill(1::bigint, array[{SIZE // 8}])"],
    "jsonb": [f"jsonb_build_array(jsonb_build_object('embedding', {TEXT}))"],
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
REFUSAL = r"(The JSON in )?{name} (has|have|are) \d+.*, (expected at most|the model)"
FUNCTIONS = """
    select p.oid::regproc::text, p.proargnames[a.place], format_type(a.type, null),
      a.place > p.pronargs - p.pronargdefaults
    from pg_proc as p, unnest(p.proargtypes::oid[]) with ordinality as a (type, place)
    where p.pronamespace = 'public'::regnamespace and obj_description(p.oid, 'pg_proc') <> ''
      and has_function_privilege('anon', p.oid, 'execute')
    order by 1, a.place
"""


@dataclass(frozen=True)
class Use:
    """Of a process so far: its most memory, in bytes, and its CPU seconds."""

    memory: int
    seconds: float

    @classmethod
    def of(cls, connection: Connection) -> Use:
        folder = Path(f"/proc/{connection.info.backend_pid}")
        lines = (folder / "status").read_text().splitlines()
        [peak] = [line.split()[1] for line in lines if line.startswith("VmHWM")]
        times = (folder / "stat").read_text().rsplit(")", 1)[1].split()[11:13]
        return cls(int(peak) * 1024, sum(map(int, times)) / TICKS)


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
    wrong = []
    for function, arguments in known.items():
        usual = {name: NEEDED[name] for name, _, has_default in arguments if not has_default}
        with database.connect() as connection:
            assert call(connection, function, usual) == ""
            for name, value in [(name, value) for name, values, _ in arguments for value in values]:
                begun = Use.of(connection)
                take = f"select pg_column_size(v) from (select {value} as v offset 0) as given"
                connection.execute(take.encode())
                taken = Use.of(connection)
                told = call(connection, function, {**usual, name: value})
                ended = Use.of(connection)
                memory = ended.memory - taken.memory
                seconds = ended.seconds - taken.seconds - (taken.seconds - begun.seconds)
                is_refused = re.match(REFUSAL.format(name=name), told)
                if not is_refused or len(told) > MOST_TOLD or memory > MOST_BYTES or seconds > MOST_SECONDS:
                    wrong.append((f"{function}({name} => {value[:70]})", told[:200], memory, seconds))
    assert wrong == []


@pytest.mark.parametrize("embedding", ["words" * 10_000, "[1, 2" + ", 3" * 20_000, [0.1] * 20_000])
def test_an_embedding_that_is_none_isnt_told_back(db, embedding):
    with pytest.raises(psycopg.errors.InvalidParameterValue) as raised:
        db.execute("select from public.recommend_documents(%s)", [Jsonb([{"embedding": embedding}])])
    assert len(raised.value.diag.message_primary) < MOST_TOLD
