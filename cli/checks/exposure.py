"""Views and functions by which the planner tells of hidden documents."""

from __future__ import annotations

from cli.installer.connection import connect
from shared.errors import DatabaseError
from shared.settings import Settings

# Views over our tables, also through other views, that a caller may read; and functions that a caller may
# execute and whose body the planner puts in place of their call. A body that is a string tells what it reads.
EXPOSED = r"""
with recursive shown (oid) as (
  values ('neural_search.documents'::regclass::oid), ('neural_search.words'::regclass)
  union
  select r.ev_class from shown as s
  join pg_depend as d on d.refclassid = 'pg_class'::regclass and d.refobjid = s.oid
  join pg_rewrite as r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
),
readers (role) as (values ('anon'), ('authenticated')),
exposed (name, role) as (
  select c.oid::regclass::text, r.role
  from shown as s join pg_class as c on c.oid = s.oid cross join readers as r
  where c.relnamespace <> 'neural_search'::regnamespace
    and has_any_column_privilege(r.role, c.oid, 'select')
    and has_schema_privilege(r.role, c.relnamespace, 'usage')
  union all
  select p.oid::regprocedure::text, r.role
  from pg_proc as p join pg_language as l on l.oid = p.prolang cross join readers as r
  where l.lanname = 'sql' and p.proretset and p.provolatile <> 'v' and not p.prosecdef and p.proconfig is null
    and p.pronamespace <> 'neural_search'::regnamespace
    and has_function_privilege(r.role, p.oid, 'execute')
    and has_schema_privilege(r.role, p.pronamespace, 'usage')
    and exists (
      select from shown as s join pg_class as c on c.oid = s.oid
      where c.relnamespace = 'neural_search'::regnamespace
        and p.prosrc ~* concat('\mneural_search"?\s*\.\s*"?', c.relname, '\M') or exists (
        select from pg_depend as d where d.classid = 'pg_proc'::regclass and d.objid = p.oid
          and d.refclassid = 'pg_class'::regclass and d.refobjid = s.oid
      )
    )
)
select name, string_agg(role, ' and ' order by role) from exposed group by name order by name
"""


def exposure(target: Settings) -> str:
    """DatabaseError names what callers may read and an exposed schema's planned counts explain."""
    with connect(str(target.database_url)) as database:
        found = [f"{name} by {roles}" for name, roles in database.execute(EXPOSED).fetchall()]
    if found:
        raise DatabaseError(
            f"These views and functions of documents may be read: {', '.join(found)}. In a schema that "
            "PostgREST exposes, `Prefer: count=planned` tells by them what policies hide. Revoke select on a "
            "view, give a function a `set search_path`, or have callers use our functions."
        )
    return "no view of documents is open to callers"
