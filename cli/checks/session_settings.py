"""Settings that a project gives its database or the platform's roles, beyond the operator's own session."""

from __future__ import annotations

from typing import NamedTuple

from cli.installer.connection import Database

CALLERS = ("authenticator", "anon", "authenticated", "service_role")
STORAGE, SCHEDULES = "supabase_storage_admin", "postgres"
GIVEN = """
select case when r.oid is null then format('database %%I', current_database())
    else format('role %%I', r.rolname)
      || case when s.setdatabase <> 0 then format(' in database %%I', current_database()) else '' end end,
  lower(substr(entry, length(%(name)s) + 2))
from pg_db_role_setting as s cross join unnest(s.setconfig) as entry
left join pg_roles as r on r.oid = s.setrole
where s.setdatabase in (0, (select d.oid from pg_database as d where d.datname = current_database()))
  and (s.setrole = 0 or r.rolname = any (%(roles)s)) and entry ilike %(name)s || '=%%'
order by 1
"""


class Given(NamedTuple):
    whose: str  # as `alter` names it
    value: str


def given(database: Database, name: str, *roles: str) -> list[Given]:
    """The setting's values for the database and for these roles."""
    rows = database.execute(GIVEN, {"name": name, "roles": list(roles)})
    return [Given(*row) for row in rows]
