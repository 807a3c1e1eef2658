"""The SELECT policies on storage.objects, asked about a sample of indexed objects."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

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


def policies(target: Settings) -> str:
    """How many of a sample anon and each object's owner see. DatabaseError names a policy that fails, or
    the policy that is missing where neither sees any."""
    with connect(str(target.database_url)) as database:
        objects = database.execute(
            """
            select o.id, o.bucket_id, o.name, o.owner_id,
              neural_search.is_public(o.id, coalesce(o.version, '')) as by_everybody
            from neural_search.documents d
            join storage.objects o on o.id = d.object_id order by random() limit %s
            """,
            [SAMPLE],
        ).fetchall()
        if not objects:
            return "nothing is indexed yet"
        by_anon = sum(sees(database, ANON, *one[:3]) for one in objects)
        by_owner = sum(sees(database, _owner(one[3]), *one[:3]) for one in objects)
        for object_id, bucket, name, _, by_everybody in objects:
            if not by_everybody:
                _check_document(database, object_id, bucket, name)
    if not by_anon and not by_owner:
        raise DatabaseError(
            f"Of {len(objects)} indexed images anon sees none, and no signed-in owner sees their own, so "
            f"searches find nothing. Allow it, for example: {missing_policy(objects[0][1], 'authenticated')}"
        )
    return f"of {len(objects)} images anon sees {by_anon}, their signed-in owners {by_owner}"


def _check_document(database: Database, object_id: Any, bucket: str, name: str) -> None:
    """DatabaseError where a stranger is shown the document of an object that is hidden from them."""
    for caller in (ANON, STRANGER):
        if _is_shown(database, caller, object_id) and not sees(database, caller, object_id, bucket, name):
            raise DatabaseError(
                f"neural_search.documents shows {caller.role} {bucket}/{name}, which the policies on "
                "storage.objects hide: a policy or a function of ours isn't as installed. See the check "
                "`rights`, and take back what was changed."
            )


def _is_shown(database: Database, caller: Caller, object_id: Any) -> bool:
    query = "select 1 from neural_search.documents where object_id = %s"
    try:
        with impersonated(database, caller):
            return bool(column(database, query, [object_id]))
    except psycopg.errors.InsufficientPrivilege:  # shut out altogether
        return False


def _owner(user: str | None) -> Caller:
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
        _become(database, caller)
        database.execute(sql.SQL("set local role {}").format(sql.Identifier(caller.role)))
        yield


def _become(database: Database, caller: Caller) -> None:
    for name, value in (
        ("request.jwt.claims", json.dumps(dict(caller.claims))),
        ("storage.operation", "storage.object.get_authenticated"),
        ("search_path", "storage, public, extensions"),
        ("transaction_read_only", "on"),  # as PostgREST has it for searches: a policy that writes fails there
        ("enable_seqscan", "off"),  # or a policy may be asked about all rows of a small table
    ):
        database.execute("select set_config(%s, %s, true)", [name, value])


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
                _become(database, caller)
                statement = (
                    f"select ({condition}) from storage.objects where id = %s"  # as the catalogue has it
                )
                database.execute(statement.encode(), [object_id])
        except psycopg.Error:
            return str(name)
    return None
