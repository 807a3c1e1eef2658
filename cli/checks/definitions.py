"""The definitions of our functions: they are those that the migrations make."""

from __future__ import annotations

import re

from cli.checks.rights import listed
from cli.installer import migrations, releases
from cli.installer.connection import Database, column, connect
from shared.errors import DatabaseError
from shared.settings import Settings

# Another role's function of such a name, which may be called in its place or makes calls ambiguous.
OTHERS = """
select format('%%s isn''t ours', p.oid::regprocedure) from pg_proc as p
where p.pronamespace = to_regnamespace('public') and p.proname = any (%(public)s)
  and not exists (
    select from pg_proc as m
    where m.pronamespace = pg_my_temp_schema() and (m.proname, m.proargtypes) = (p.proname, p.proargtypes)
  )
order by 1
"""
MADE = re.compile(r"create or replace function (\w+)\.(\w+)(\((?:(?!\$\$).)*\$\$.*?\$\$;)", re.DOTALL)

# Each is made anew as a temporary one, since this server's catalogue is compared. Costs, expected rows and
# settings of planning are the operator's to change.
CHANGED = r"""
with made as (
  select m.schema, p.*
  from unnest(%(schemas)s::text[], %(names)s::text[]) as m (schema, name)
  join pg_proc as p on p.pronamespace = pg_my_temp_schema() and p.proname = m.name
)
select coalesce(p.oid::regprocedure || ' was changed', format('%%I.%%I is missing', m.schema, m.proname))
from made as m
left join pg_proc as p on p.pronamespace = to_regnamespace(m.schema) and p.proname = m.proname
  and p.proargtypes = m.proargtypes
where p.oid is null
  or (p.prosrc, p.prolang, p.prosecdef, p.provolatile, p.proisstrict, p.proleakproof, p.proretset)
    <> (m.prosrc, m.prolang, m.prosecdef, m.provolatile, m.proisstrict, m.proleakproof, m.proretset)
  or (p.prorettype, p.proallargtypes, p.proargmodes, p.proargnames)
    is distinct from (m.prorettype, m.proallargtypes, m.proargmodes, m.proargnames)
  or pg_get_expr(p.proargdefaults, 0) is distinct from pg_get_expr(m.proargdefaults, 0)
  or p.prosqlbody is not null
  or p.proowner <> (select nspowner from pg_namespace where nspname = 'neural_search')
  or coalesce(p.proconfig, '{}') <> array(
    select case when setting not like 'search_path=%%' or setting like '%%pg_temp' then setting
      else 'search_path=' || concat_ws(', ', nullif(substr(setting, 13), '""'), 'pg_temp') end
    from unnest(m.proconfig) as setting
  )
order by 1
"""


def definitions(target: Settings) -> str:
    """DatabaseError names our functions that were changed since the installation, or dropped, and others of
    their names."""
    url = str(target.database_url)
    if migrations.pending(url):
        raise DatabaseError("Not compared: migrations are pending. Run `neural-search install`.")
    made = MADE.findall(releases.source_text())
    with connect(url) as database:
        found = _changed(database, made)
    if found:
        raise DatabaseError(
            f"Not as installed: {listed(found)}. Searches may show more by it, miss images or fail. Rename "
            "or drop what isn't ours; take the rest back, or run `neural-search uninstall`, which keeps the "
            "documents, and `install`."
        )
    return f"{len(made)} functions are as installed"


def _changed(database: Database, made: list[tuple[str, str, str]]) -> list[str]:
    """`made`: schema, name and the rest of the definition of each."""
    with database.transaction(force_rollback=True):
        # Also where that is the default; and bodies name what isn't temporary.
        prepare = "set local transaction_read_only = off; set local check_function_bodies = off;"
        statements = [f"create function pg_temp.{name}{rest}" for _, name, rest in made]
        database.execute("\n".join([prepare, *statements]).encode())
        names = {
            "schemas": [schema for schema, *_ in made],
            "names": [name for _, name, _ in made],
            "public": [name for schema, name, _ in made if schema == "public"],
        }
        return [*column(database, CHANGED, names), *column(database, OTHERS, names)]
