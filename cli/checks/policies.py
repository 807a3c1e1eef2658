"""The SELECT policies on storage.objects, asked about a sample of indexed objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from cli.client.missing_policy import missing_policy, to_show
from cli.installer.connection import Database, column, connect, is_outage
from shared.errors import DatabaseError
from shared.settings import Settings

SAMPLE = 200
SETTINGS = {
    "storage.operation": "storage.object.get_authenticated",
    "request.method": "GET",
    "enable_seqscan": "off",  # or a policy may be asked about all rows of a small table
}


@dataclass(frozen=True)
class Caller:
    """Whose policies are asked: the claims of a token, unverified."""

    claims: Mapping[str, Any]

    @property
    def role(self) -> str:
        return str(self.claims["role"])


ANON = Caller({"role": "anon"})
STRANGER = Caller({"role": "authenticated", "sub": str(UUID(int=0))})


class Sampled(NamedTuple):
    """An indexed object."""

    id: UUID
    bucket: str
    name: str
    owner: str
    by_everybody: bool  # found by everybody, against all policies


OWNER = attrgetter("owner")


def policies(target: Settings) -> str:
    """How many of a sample anon and each object's owner see. DatabaseError names a policy that fails, or
    the policy that is missing where neither sees any."""
    with connect(str(target.database_url)) as database:
        objects = _sample(database)
        if not objects:
            return "nothing is indexed yet"
        by_anon = len(_seen(database, ANON, objects))
        by_owner = sum(
            len(_seen(database, _owner(user), [*own]))
            for user, own in groupby(sorted(objects, key=OWNER), key=OWNER)
        )
        hidden = [one for one in objects if not one.by_everybody]
        for caller in (ANON, STRANGER):
            _check_documents(database, caller, hidden)
        if not by_anon and not by_owner:
            raise DatabaseError(
                f"Of {len(objects)} indexed images anon sees none, and no signed-in owner sees their own, so "
                f"searches find nothing. {_remedy(database, objects)}"
            )
    return f"of {len(objects)} images anon sees {by_anon}, their signed-in owners {by_owner}"


def _remedy(database: Database, objects: list[Sampled]) -> str:
    """The policies to look at, and an example that opens no more than is to be expected."""
    there = column(
        database,
        """
        select policyname::text from pg_policies
        where schemaname = 'storage' and tablename = 'objects' and cmd in ('SELECT', 'ALL')
          and roles && array['public', 'anon', 'authenticated']::name[] order by 1
        """,
    )
    look = f"Look for a slip in the policies that are there: {', '.join(there)}. " if there else ""
    owned = next((one for one in objects if one.owner), None)
    if owned:
        return f"{look}{to_show(owned.bucket, 'authenticated')}"
    return f"{look}If everybody should find all of them: {missing_policy(objects[0].bucket, 'anon')}"


def _sample(database: Database) -> list[Sampled]:
    rows = database.execute(
        """
        select o.id, o.bucket_id, o.name, coalesce(o.owner_id, ''),
          neural_search.is_public(o.id, coalesce(o.version, ''))
        from neural_search.documents d
        join storage.objects o on o.id = d.object_id order by random() limit %s
        """,
        [SAMPLE],
    )
    return [Sampled(*row) for row in rows]


def _seen(database: Database, caller: Caller, objects: list[Sampled]) -> set[UUID]:
    """Those that the policies show, by one statement; one by one where it fails, to name the object."""
    try:
        query = sql.SQL("select id from storage.objects where id = any({})")
        rows = ask(database, caller, query.format([one.id for one in objects]))
        return {UUID(row["id"]) for row in rows}
    except psycopg.Error:
        return {one.id for one in objects if sees(database, caller, one.id, one.bucket, one.name)}


def _check_documents(database: Database, caller: Caller, objects: list[Sampled]) -> None:
    """DatabaseError where a stranger is shown the document of an object that is hidden from them."""
    shown = _shown(database, caller, objects)
    seen = _seen(database, caller, shown) if shown else set()
    for one in shown:
        if one.id not in seen:
            raise DatabaseError(
                f"neural_search.documents shows {caller.role} {one.bucket}/{one.name}, which the policies on "
                "storage.objects hide: a policy or a function of ours isn't as installed. See the check "
                "`rights`, and take the change back."
            )


def _shown(database: Database, caller: Caller, objects: list[Sampled]) -> list[Sampled]:
    query = sql.SQL("select object_id from neural_search.documents where object_id = any({})")
    try:
        rows = ask(database, caller, query.format([one.id for one in objects]))
    except psycopg.errors.InsufficientPrivilege:  # shut out altogether
        return []
    ids = {UUID(row["object_id"]) for row in rows}
    return [one for one in objects if one.id in ids]


def _owner(user: str) -> Caller:
    return Caller({"role": "authenticated", **({"sub": user} if user else {})})


def sees(database: Database, caller: Caller, object_id: Any, bucket: str, name: str) -> bool:
    """Whether the policies show this object; DatabaseError names one that fails on it."""
    try:
        query = sql.SQL("select id from storage.objects where id = {}")
        return bool(ask(database, caller, query.format(object_id)))
    except psycopg.Error as error:
        if is_outage(error):
            raise
        policy = _failing(database, caller, object_id)
        if isinstance(error, psycopg.errors.QueryCanceled) and not policy:
            raise
        raise DatabaseError(
            f"A SELECT policy on storage.objects{f' ({policy!r})' if policy else ''} fails for "
            f"{bucket}/{name} as {caller.role} ({error.sqlstate}: {error.diag.message_primary}). "
            "Searches hide the object; Storage's own requests fail. Have the policy answer false instead."
        ) from error


def ask(
    database: Database, caller: Caller, query: sql.Composable, settings: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """The rows that `query` answers to `caller`. Nothing of it stays, and no code in it can act as us."""
    values = SETTINGS | dict(settings or {})
    with database.transaction(force_rollback=True):
        # Also where that is the default: a function is made for the question.
        prepare = sql.SQL(
            "set local transaction_read_only = off;"
            "select set_config(name, value, true) from unnest({}::text[], {}::text[]) as s (name, value)"
        )
        database.execute(prepare.format([*values], [*values.values()]))
        [rows] = column(
            database,
            "select neural_search.ask_as(%s, %s)",
            [Jsonb(dict(caller.claims)), query.as_string(database)],
        )
    return list(rows)


def _failing(database: Database, caller: Caller, object_id: Any) -> str | None:
    """The first policy whose condition fails by itself; None where only all of them together do."""
    conditions = database.execute(
        """
        select policyname::text, qual from pg_policies
        where schemaname = 'storage' and tablename = 'objects' and cmd in ('SELECT', 'ALL')
          and qual is not null and roles && array['public', %s]::name[]
        """,
        [caller.role],
    ).fetchall()
    rows = column(database, "select to_jsonb(o) from storage.objects as o where id = %s", [object_id])
    asked = sql.SQL("select ({}) as shown from jsonb_populate_record(null::storage.objects, {}) as objects")
    for name, condition in conditions if rows else []:
        try:
            ask(database, caller, asked.format(sql.SQL(condition), Jsonb(rows[0])))
        except psycopg.Error as error:
            if is_outage(error):
                raise
            return str(name)
    return None
