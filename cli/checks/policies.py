"""The SELECT policies on storage.objects, asked about a sample of indexed objects."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from cli.client.missing_policy import missing_policy
from cli.installer.connection import Database, column, connect
from shared.errors import DatabaseError
from shared.settings import Settings

SAMPLE = 200


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
        example = missing_policy(objects[0].bucket, "authenticated")
        raise DatabaseError(
            f"Of {len(objects)} indexed images anon sees none, and no signed-in owner sees their own, so "
            f"searches find nothing. Allow it, for example: {example}"
        )
    return f"of {len(objects)} images anon sees {by_anon}, their signed-in owners {by_owner}"


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
        with impersonated(database, caller):
            query = "select id from storage.objects where id = any(%s)"
            return set(column(database, query, [[one.id for one in objects]]))
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
    query = "select object_id from neural_search.documents where object_id = any(%s)"
    try:
        with impersonated(database, caller):
            ids = set(column(database, query, [[one.id for one in objects]]))
    except psycopg.errors.InsufficientPrivilege:  # shut out altogether
        return []
    return [one for one in objects if one.id in ids]


def _owner(user: str) -> Caller:
    return Caller({"role": "authenticated", **({"sub": user} if user else {})})


def sees(database: Database, caller: Caller, object_id: Any, bucket: str, name: str) -> bool:
    """Whether the policies show this object; DatabaseError names one that fails on it."""
    try:
        with impersonated(database, caller):
            return bool(column(database, "select 1 from storage.objects where id = %s", [object_id]))
    except psycopg.Error as error:
        policy = _failing(database, caller, object_id)
        raise DatabaseError(
            f"A SELECT policy on storage.objects{f' ({policy!r})' if policy else ''} fails for "
            f"{bucket}/{name} as {caller.role} ({error.sqlstate}: {error.diag.message_primary}). "
            "Searches hide the object; Storage's own requests fail. Have the policy answer false instead."
        ) from error


@contextmanager
def impersonated(database: Database, caller: Caller) -> Iterator[None]:
    """A transaction as PostgREST makes it for `caller`, of which nothing stays."""
    with database.transaction(force_rollback=True):
        _configure(database, _settings(caller) | {"role": caller.role})
        yield


def _settings(caller: Caller) -> dict[str, str]:
    return {
        "request.jwt.claims": json.dumps(dict(caller.claims)),
        "storage.operation": "storage.object.get_authenticated",
        "search_path": "storage, public, extensions",
        "transaction_read_only": "on",  # as PostgREST has it for searches: a policy that writes fails there
        "enable_seqscan": "off",  # or a policy may be asked about all rows of a small table
    }


def _configure(database: Database, values: dict[str, str]) -> None:
    """In their order, for this transaction."""
    query = "select set_config(name, value, true) from unnest(%s::text[], %s::text[]) as s (name, value)"
    database.execute(query, [[*values], [*values.values()]])


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
    for name, condition in conditions:
        try:
            with database.transaction(force_rollback=True):
                _configure(database, _settings(caller))
                statement = (
                    f"select ({condition}) from storage.objects where id = %s"  # as the catalogue has it
                )
                database.execute(statement.encode(), [object_id])
        except psycopg.Error:
            return str(name)
    return None
