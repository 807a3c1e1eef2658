"""The rights of callers on our tables and functions: all that the migrations grant, and no more."""

from __future__ import annotations

from cli.installer import grants, releases
from cli.installer.connection import Database, column, connect
from shared.errors import DatabaseError
from shared.settings import Settings

LISTED = 12  # a grant on all functions of a schema is one fault, not a hundred

# Privileges that a caller has as a member of another role count as well.
PRIVILEGES = """
with relations as (
  select c.*, format('%%s.%%s', c.relnamespace::regnamespace, c.relname) as name
  from pg_class as c where c.relnamespace = to_regnamespace('neural_search')
    or c.oid in (to_regclass('vault.secrets'), to_regclass('vault.decrypted_secrets'))
    or {is_our_view}
),
objects (schema, name, told, privileges) as (
  select oid, nspname::text, format('schema %%s', nspname), nspacl
  from pg_namespace where nspname = 'neural_search'
  union all
  select relnamespace, name, name, relacl from relations
  union all
  select r.relnamespace, r.name, format('%%s (column %%s)', r.name, a.attname), a.attacl
  from relations as r join pg_attribute as a on a.attrelid = r.oid and not a.attisdropped
  union all
  select p.pronamespace, format('%%s.%%s', p.pronamespace::regnamespace, p.proname),
    p.oid::regprocedure::text, coalesce(p.proacl, acldefault('f', p.proowner))
  from pg_proc as p where {is_our_function}
)
select format(
  '%%s may be used by %%s (%%s)', o.told, role, string_agg(distinct lower(g.privilege_type), ', ')
)
from objects as o cross join lateral aclexplode(o.privileges) as g
  cross join unnest(array['public', 'anon', 'authenticated']) as role
where case when role = 'public' then g.grantee = 0
    else pg_has_role(role::name, g.grantee, 'usage') and has_schema_privilege(role, o.schema, 'usage') end
  and not (role <> 'public' and g.privilege_type || ' ' || o.name = any (%(opened)s))
group by o.told, role order by 1
"""
DEFINERS = """
select format('%%s runs as its owner', p.oid::regprocedure)
from pg_proc as p cross join lateral format('%%s.%%s', p.pronamespace::regnamespace, p.proname) as name
where p.prosecdef and name <> all (%(definers)s) and {is_our_function} order by 1
"""
OUR_FUNCTION = """(
  p.pronamespace = to_regnamespace('neural_search')
  or p.pronamespace = to_regnamespace('public') and p.proname = any (%(names)s)
)"""
UNSECURED = """
select format('%s has no row level security', oid::regclass) from pg_class
where relnamespace = to_regnamespace('neural_search') and relkind in ('r', 'p') and not relrowsecurity
"""
# Ours are compared with those that the sources make on temporary tables, as this server prints both. A
# project's own show callers no more where they are restrictive or for other roles; nor do ours for fewer.
POLICIES = """
select format('%s has the policy %L%s', c.relname, p.polname,
  case when ours.oid is not null then ', which was changed' end)
from pg_class as c join pg_policy as p on p.polrelid = c.oid
left join pg_policy as ours on ours.polname = p.polname
  and ours.polrelid = to_regclass(format('pg_temp.%I', c.relname))
where c.relnamespace = to_regnamespace('neural_search') and case
  when ours.oid is null then p.polpermissive and exists (
    select from unnest(array['anon', 'authenticated']) as caller, unnest(p.polroles) as role
    where role = 0 or pg_has_role(caller::name, role, 'usage')
  )
  else (p.polcmd, p.polpermissive) <> (ours.polcmd, ours.polpermissive)
    or pg_get_expr(p.polqual, p.polrelid) is distinct from pg_get_expr(ours.polqual, ours.polrelid)
    or not p.polroles <@ ours.polroles
end
order by 1
"""
# PostgREST's, of the role that it connects as.
SETTINGS = r"""
select format('%s has %s', coalesce(r.rolname::text, 'the database'), entry)
from pg_db_role_setting as s cross join unnest(s.setconfig) as entry
left join pg_roles as r on r.oid = s.setrole
where s.setdatabase in (0, (select d.oid from pg_database as d where d.datname = current_database()))
  and (entry ~ '^pgrst\.db_schemas=.*\mneural_search\M' or entry like 'pgrst.db\_plan\_enabled=%' and (
    regexp_replace(lower(split_part(entry, '=', 2)), '[^a-z]', '', 'g') = 'true' -- as PostgREST reads it
    or entry ~ '=[^a-zA-Z]*[1-9]'
  ))
"""
# Anon is an operator's own to shut out, in parts as well; users by active_model, or not at all.
MISSING = """
with needed (role, granted) as (
  select 'authenticated', unnest(%(searching)s::text[])
  where has_function_privilege('authenticated', to_regprocedure('public.active_model()')::oid, 'execute')
  union all
  select 'service_role', unnest(%(working)s::text[])
)
select format('%%s may not use %%s (%%s)', role, name, string_agg(lower(privilege), ', ' order by privilege))
from needed cross join split_part(granted, ' ', 1) as privilege cross join split_part(granted, ' ', 2) as name
where case
  when privilege = 'EXECUTE' then exists (
    select from pg_proc as p where p.proname = split_part(name, '.', 2)
      and p.pronamespace = to_regnamespace(split_part(name, '.', 1))
      and not has_function_privilege(role, p.oid, 'execute')
  )
  when name not like '%%.%%' then not has_schema_privilege(role, to_regnamespace(name)::oid, privilege)
  when privilege = 'USAGE' then not has_sequence_privilege(role, to_regclass(name)::oid, privilege)
  else not has_table_privilege(role, to_regclass(name)::oid, privilege)
end
group by role, name order by 1
"""


def rights(target: Settings) -> str:
    """DatabaseError names grants and changes since the installation, by which searches may show more, and
    grants that are gone, without which they fail."""
    with connect(str(target.database_url)) as database:
        if column(database, "select pg_is_in_recovery()") == [True]:
            raise DatabaseError(
                "DATABASE_URL names a replica, where no policies can be made for comparison. Connect to the "
                "primary."
            )
        found, missing = _changed(database), _missing(database)
    if found:
        raise DatabaseError(
            f"Not as installed: {listed(found)}. Callers may see or do more by it than the policies on "
            "storage.objects say. Take it back."
        )
    if missing:
        raise DatabaseError(
            f"Granted no more: {listed(missing)}. Searches or work fail by it. Grant it again, or run "
            "supabase/sql/privileges.sql in this database as `postgres`."
        )
    return "callers have what the migrations grant, and no more"


def listed(found: list[str]) -> str:
    """The first of them, and how many more there are."""
    more = f" and {len(found) - LISTED} more" if len(found) > LISTED else ""
    return f"{'; '.join(found[:LISTED])}{more}"


def _changed(database: Database) -> list[str]:
    return [
        *column(database, UNSECURED),
        *_policies(database),
        *_ours(database, DEFINERS),
        *column(database, SETTINGS),
        *_ours(database, PRIVILEGES),
    ]


def _missing(database: Database) -> list[str]:
    values = {"searching": grants.for_searching(), "working": grants.for_working()}
    return [told for (told,) in database.execute(MISSING, values)]


def _ours(database: Database, query: str) -> list[str]:
    filled = query.format(is_our_view=releases.is_our_view(), is_our_function=OUR_FUNCTION)
    values = {
        "names": releases.public_names(releases.source_text()),
        "definers": grants.definers(),
        "opened": grants.opened(),
    }
    return [told for (told,) in database.execute(filled.encode(), values)]


def _policies(database: Database) -> list[str]:
    with database.transaction(force_rollback=True):
        # Also where that is the default, as nothing stays.
        database.execute("set local transaction_read_only = off")
        for policy in grants.policies():
            statement = f"""
                create temporary table if not exists {policy.table} (like neural_search.{policy.table});
                create policy "{policy.name}" on pg_temp.{policy.table} for select {policy.rule}
            """
            database.execute(statement.encode())
        return column(database, POLICIES)
