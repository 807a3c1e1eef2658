"""Settings of the server, the database and the platform's roles, beyond the operator's own session."""

from __future__ import annotations

from typing import NamedTuple

from cli.installer.connection import Database

CALLERS = ("authenticator", "anon", "authenticated", "service_role")
STORAGE, SCHEDULES = "supabase_storage_admin", "postgres"
SERVER, ALL_ROLES = "system", "role all"
# Of each role the value that counts, as Postgres ranks them; roles that can't log in, as those that PostgREST
# takes on, have their own or none. The server's is known where nothing gives this session another.
GIVEN = """
with entries as (
  select s.setrole, s.setdatabase, lower(substr(entry, length(%(name)s) + 2)) as value
  from pg_db_role_setting as s cross join unnest(s.setconfig) as entry
  where s.setdatabase in (0, (select d.oid from pg_database as d where d.datname = current_database()))
    and entry ilike %(name)s || '=%%'
),
counting as (
  select distinct on (r.rolname) r.rolname, r.rolcanlogin, e.setrole, e.setdatabase, e.value
  from pg_roles as r left join entries as e on e.setrole = r.oid or e.setrole = 0 and r.rolcanlogin
  where r.rolname = any (%(roles)s) or r.rolname = session_user
  order by r.rolname, e.setrole <> 0 desc, e.setdatabase <> 0 desc
)
select distinct
  case when c.value is null then %(server)s
    when c.setrole <> 0 then format('role %%I', c.rolname)
      || case when c.setdatabase <> 0 then format(' in database %%I', current_database()) else '' end
    when c.setdatabase <> 0 then format('database %%I', current_database())
    else %(all_roles)s end,
  coalesce(c.value, s.reset_val)
from counting as c cross join pg_settings as s
where s.name = %(name)s and c.rolname = any (%(roles)s) and (
  c.value is not null or c.rolcanlogin and not %(is_own)s
    and (select o.value is null from counting as o where o.rolname = session_user)
)
order by 1
"""


class Given(NamedTuple):
    whose: str  # as `alter` names it
    value: str

    @property
    def told(self) -> str:
        return {SERVER: "server", ALL_ROLES: "project's roles"}.get(self.whose, self.whose)

    def remedy(self, name: str) -> str:
        """The way to take the setting of this name back."""
        command = f"Run `alter {self.whose} reset {name}`"
        if self.whose == SERVER:
            return f"{command} as a superuser, take it out of postgresql.conf, and reload the server."
        return f"{command}."


def given(database: Database, name: str, *roles: str) -> list[Given]:
    """The setting's values that count for these roles."""
    values = {
        "name": name,
        "roles": list(roles),
        "server": SERVER,
        "all_roles": ALL_ROLES,
        "is_own": name in database.info.options.replace("-", "_"),  # PGOPTIONS among them
    }
    return [Given(*row) for row in database.execute(GIVEN, values)]
