"""Taking the project out of a database again. Storage and its objects stay as they are."""

from __future__ import annotations

import psycopg
from psycopg import sql

from cli.installer import cron_jobs, dependents, former_record, kept_documents, migrations, releases, vault
from cli.installer.connection import Database, alone, column, connect
from cli.installer.installation import OWN_TRIGGER, require_project
from shared.errors import DatabaseError


def uninstall(database_url: str, *, data: bool, release_record: bool = False) -> list[str]:
    """Takes everything out; the parts that went. Without `data` the documents stay, out of everybody's reach.

    Of the record of the user's own migrations nothing goes, but for our rows of an older version where
    `release_record` asks for it.

    The triggers go first and alone: on hosted Supabase dropping one locks many tables until commit.
    """
    with alone(database_url), connect(database_url) as database:
        require_project(database)
        dependents.require_none(database, data)
        is_older = not kept_documents.is_ours(database, "neural_search")  # than 0.2.0: they are in public
        done = _drop_triggers(database)
        try:
            with database.transaction():
                done += [f"Schedule {name} ended" for name in cron_jobs.end(database)]
                done += [f"Vault: {name} deleted" for name in vault.empty(database)]
                done += _shut_out(database)
                done += _drop_documents(database) if data else _keep_documents(database)
                done += _drop_functions(database)
                done += _drop_schema(database, "neural_search")
                done += _keep_documents(database, "public") if is_older and not data else []
                done += _concerned(database)  # ours are gone by here
                done += _former_rows(database, release_record)
        except BaseException:  # Ctrl-C, too
            _make_triggers(database)
            raise
    return done or ["There was nothing of neural-search in this database"]


def _drop_triggers(database: Database) -> list[str]:
    names = column(
        database,
        f"""
        select t.tgname::text from pg_trigger t join pg_proc p on p.oid = t.tgfoid
        where t.tgrelid = 'storage.objects'::regclass and {OWN_TRIGGER}
        """,
    )
    for name in names:
        database.execute(sql.SQL("drop trigger {} on storage.objects").format(sql.Identifier(name)))
    return [f"Trigger {name} dropped" for name in names]


def _make_triggers(database: Database) -> None:
    """Again, since the rest is as it was. DatabaseError where they can't be made."""
    try:
        database.execute("select neural_search.attach()")
    except psycopg.Error as error:
        raise DatabaseError(
            f"Only the triggers on storage.objects are gone, and uploads wait for the schedule: {error}. Run "
            "this again, or `neural-search install`, which makes them anew."
        ) from error


def _shut_out(database: Database) -> list[str]:
    """The functions' rights alone tell it, so that no later installation knows."""
    roles = column(
        database,
        """
        select role from unnest(array['anon', 'authenticated']) as role
        where not has_function_privilege(role, to_regprocedure('public.active_model()')::oid, 'execute')
        """,
    )
    return [
        f"{role} was shut out of searches. The next install lets it in: make the revokes anew after it"
        for role in roles
    ]


def _drop_documents(database: Database) -> list[str]:
    done = _drop_schema(database, kept_documents.ASIDE)
    _drop_view(database)
    for home in ("neural_search", "public"):  # before 0.2.0 they were in public
        if kept_documents.is_ours(database, home):
            database.execute(f"drop table {home}.documents cascade".encode())
            return [*done, "Documents deleted"]
    return done


def _keep_documents(database: Database, home: str = "neural_search") -> list[str]:
    _drop_view(database)
    if not kept_documents.is_ours(database, home):
        return []
    kept_documents.set_aside(database, home)
    return [f"Documents kept in schema {kept_documents.ASIDE}"]


def _concerned(database: Database) -> list[str]:
    return [
        f"Of your own, on them now: {one}. Drop it before the next install, and make it anew after"
        for one in kept_documents.concerned(database)
    ]


def _drop_view(database: Database) -> None:
    """Ours; a namesake stays."""
    if column(database, f"select 1 from pg_class as c where {releases.is_our_view()}"):
        database.execute("drop view public.documents")


def _drop_functions(database: Database) -> list[str]:
    """Those in public that the migrations make; a namesake stays."""
    functions = column(
        database,
        f"""
        select p.oid::regprocedure::text from pg_proc as p
        where p.pronamespace = 'public'::regnamespace and p.proname = any(%s) and {releases.is_ours()}
        """,
        [releases.public_names(migrations.text())],
    )
    for function in functions:
        database.execute(f"drop function {function} cascade".encode())  # regprocedure has quoted it
    return [f"{len(functions)} functions dropped"] if functions else []


def _former_rows(database: Database, release: bool) -> list[str]:
    known = migrations.known()
    if release and (released := former_record.release(database, known)):
        return [f"{released} rows deleted from supabase_migrations.schema_migrations"]
    left = len(former_record.versions(database, known))
    return [former_record.explanation(left, "uninstall")] if left else []


def _drop_schema(database: Database, name: str) -> list[str]:
    if not column(database, "select 1 where to_regnamespace(%s) is not null", [name]):
        return []
    database.execute(sql.SQL("drop schema {} cascade").format(sql.Identifier(name)))
    return [f"Schema {name} dropped"]
