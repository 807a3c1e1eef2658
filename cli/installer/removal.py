"""Taking the project out of a database again. Storage and its objects stay as they are."""

from __future__ import annotations

import re

from psycopg import sql

from cli.installer import former_record, kept_documents, migrations, releases, vault
from cli.installer.connection import Database, column, connect
from cli.installer.installation import OWN_TRIGGER, require_project
from shared.errors import DatabaseError

# That release's policy, trigger and key on its table of documents, which was in public.
OF_0_1_0 = ("As the policies on storage.objects say", "documents_set_lsh", "documents_model_fkey")

# Things in our schemas that no release made, and such policies and triggers on our tables.
OTHERS = """
    with made (schema, names) as (
      values (to_regnamespace('neural_search'), %s::text[]), (to_regnamespace(%s), array['documents'])
    )
    select pg_describe_object('pg_class'::regclass, c.oid, 0)
    from made join pg_class as c on c.relnamespace = made.schema
    where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and c.relname <> all (made.names) and not exists (
      select from pg_depend as d where d.objid = c.oid and d.deptype in ('a', 'i') and c.relkind = 'S')
    union all
    select pg_describe_object('pg_proc'::regclass, p.oid, 0)
    from made join pg_proc as p on p.pronamespace = made.schema where p.proname <> all (made.names)
    union all
    select pg_describe_object('pg_policy'::regclass, p.oid, 0)
    from pg_policy as p join pg_class as c on c.oid = p.polrelid
    where c.relnamespace = to_regnamespace('neural_search') and p.polname <> all (%s)
    union all
    select pg_describe_object('pg_trigger'::regclass, t.oid, 0)
    from pg_trigger as t join pg_class as c on c.oid = t.tgrelid join pg_proc as p on p.oid = t.tgfoid
    where c.relnamespace = to_regnamespace('neural_search') and not t.tgisinternal
      and p.pronamespace <> c.relnamespace
    order by 1
"""


def uninstall(database_url: str, *, data: bool, release_record: bool = False) -> list[str]:
    """Takes everything out; the parts that went. Without `data` the documents stay, out of everybody's reach.

    Of the record of the user's own migrations nothing goes, but for our rows of an older version where
    `release_record` asks for it.

    The triggers go first and alone: on hosted Supabase dropping one locks many tables until commit.
    """
    with connect(database_url) as database:
        require_project(database)
        _require_no_others(database)
        _require_no_dependents(database, data)
        done = _drop_triggers(database)
        with database.transaction():
            done += _unschedule(database)
            done += [f"Vault: {name} deleted" for name in vault.empty(database)]
            done += _drop_documents(database) if data else _keep_documents(database)
            done += _drop_functions(database)
            done += _drop_schema(database, "neural_search")
            done += [] if data else _keep_documents(database, "public")  # where 0.1.0 had them
            done += _former_rows(database, release_record)
    return done or ["There was nothing of neural-search in this database"]


def _require_no_others(database: Database) -> None:
    """DatabaseError where things that no release made lie in our schemas, or on our tables."""
    ours = sorted(set(re.findall(r"\bneural_search\.(\w+)", migrations.text())))
    found = column(
        database,
        OTHERS,
        [ours, kept_documents.ASIDE, re.findall(r'create policy "([^"]+)"', migrations.text())],
    )
    if found:
        raise DatabaseError(
            f"These are of your own, in our schema or on our tables, and would go along: {'; '.join(found)}. "
            "Move each of them into a schema (alter … set schema …), or save its definition and drop it, "
            "and run this again."
        )


def _require_no_dependents(database: Database, data: bool) -> None:
    """DatabaseError where things of the user's would go along: without a policy more may be seen."""
    found = column(
        database,
        f"""
        with ours as (
          select 'pg_proc'::regclass as class, p.oid from pg_proc as p
          where p.pronamespace = to_regnamespace('neural_search')
            or p.pronamespace = 'public'::regnamespace and p.proname = any (%s) and {releases.is_ours()}
          union all
          select 'pg_class', c.oid from pg_class as c
          where c.oid = to_regclass('public.documents') and to_regclass('neural_search.documents') is not null
            or c.relnamespace = to_regnamespace('neural_search') and c.relkind <> 'i'
              and (%s or c.oid <> to_regclass('neural_search.documents')) -- else it is kept
          union all
          select 'pg_type', t.oid from pg_type as t where t.typnamespace = to_regnamespace('neural_search')
        )
        select pg_describe_object(d.classid, d.objid, 0) || ' on '
          || pg_describe_object(d.refclassid, d.refobjid, 0)
        from pg_depend as d join ours on (d.refclassid, d.refobjid) = (ours.class, ours.oid)
        where d.deptype = 'n' and (d.classid, d.objid) not in (select class, oid from ours)
          and (pg_identify_object_as_address(d.classid, d.objid, 0)).object_names[1] <> 'neural_search'
          and (pg_identify_object_as_address(d.classid, d.objid, 0)).object_names <> all (
            select array['public', 'documents', name] from unnest(%s::text[]) as name)
          and not exists (select from pg_trigger as t
            where d.classid = 'pg_trigger'::regclass and t.oid = d.objid
              and t.tgrelid = 'storage.objects'::regclass)
          and not exists (select from pg_rewrite as r
            where d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
              and r.ev_class in (select oid from ours))
        order by 1
        """,
        [releases.public_names(migrations.text()), data, list(OF_0_1_0)],
    )
    if found:
        raise DatabaseError(
            f"These of your own depend on ours, which would take them along: {'; '.join(found)}. "
            "Save the definition of each of them and drop it, then run this again."
        )


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


def _unschedule(database: Database) -> list[str]:
    if not column(database, "select 1 where to_regclass('cron.job') is not null"):
        return []
    names = column(
        database,
        "select jobname from cron.job where jobname = any (%s) and username = current_user order by jobid",
        [re.findall(r"'(neural-search-[a-z]+)'", migrations.text())],
    )
    for name in names:
        database.execute("select cron.unschedule(%s)", [name])
    return [f"Schedule {name} ended" for name in names]


def _drop_documents(database: Database) -> list[str]:
    _drop_schema(database, kept_documents.ASIDE)
    _drop_view(database)
    for home in ("neural_search", "public"):  # before 0.2.0 they were in public
        if kept_documents.is_ours(database, home):
            database.execute(f"drop table {home}.documents cascade".encode())
            return ["Documents deleted"]
    return []


def _keep_documents(database: Database, home: str = "neural_search") -> list[str]:
    _drop_view(database)
    if not kept_documents.is_ours(database, home):
        return []
    kept_documents.set_aside(database, home)
    return [f"Documents kept in schema {kept_documents.ASIDE}"]


def _drop_view(database: Database) -> None:
    """The view of an installation that is there; a namesake stays."""
    if kept_documents.is_ours(database, "neural_search"):
        database.execute("drop view if exists public.documents cascade")


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
