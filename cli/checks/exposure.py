"""Views and functions by which the planner tells of hidden documents."""

from __future__ import annotations

from cli.installer.connection import connect
from shared.errors import DatabaseError
from shared.settings import Settings

# Views over our tables that a caller may read, and functions that a caller may execute and whose body the
# planner puts in place of their call; over other such views and functions, too. A body that is a string tells
# the relations by its text.
EXPOSED = r"""
with recursive opened (oid, home_oid, text) as (
  select p.oid, p.pronamespace, p.prosrc from pg_proc as p join pg_language as l on l.oid = p.prolang
  where l.lanname = 'sql' and p.proretset and p.provolatile <> 'v' and not p.prosecdef and p.proconfig is null
),
shown (class, oid) as (
  values ('pg_class'::regclass, 'neural_search.documents'::regclass::oid),
    ('pg_class'::regclass, 'neural_search.words'::regclass::oid)
  union
  select over.class, over.oid
  from shown as s cross join lateral (
    select regexp_replace(coalesce(c.relname, p.proname), '(\W)', '\\\1', 'g') as name,
      regexp_replace(n.nspname, '(\W)', '\\\1', 'g') as home
    from (values (1)) as one
    left join pg_class as c on s.class = 'pg_class'::regclass and c.oid = s.oid
    left join pg_proc as p on s.class = 'pg_proc'::regclass and p.oid = s.oid
    join pg_namespace as n on n.oid = coalesce(c.relnamespace, p.pronamespace)
  ) as named
  cross join lateral (
    select 'pg_class'::regclass as class, r.ev_class as oid
    from pg_depend as d join pg_rewrite as r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
    where d.refclassid = s.class and d.refobjid = s.oid
    union all
    select 'pg_proc'::regclass, o.oid from opened as o
    where (s.class = 'pg_proc'::regclass or has_any_column_privilege('anon', s.oid, 'select')
        or has_any_column_privilege('authenticated', s.oid, 'select')) -- it reads as its caller
      and (o.text ~* concat('\m', named.home, '"?\s*\.\s*"?', named.name, '\M') or exists (
        select from pg_depend as d where d.classid = 'pg_proc'::regclass and d.objid = o.oid
          and d.refclassid = s.class and d.refobjid = s.oid
      ))
  ) as over
),
readers (role) as (values ('anon'), ('authenticated')),
exposed (name, role) as (
  select c.oid::regclass::text, r.role
  from shown as s join pg_class as c on s.class = 'pg_class'::regclass and c.oid = s.oid
  cross join readers as r
  where c.relnamespace <> 'neural_search'::regnamespace
    and has_any_column_privilege(r.role, c.oid, 'select')
    and has_schema_privilege(r.role, c.relnamespace, 'usage')
  union all
  select o.oid::regprocedure::text, r.role
  from shown as s join opened as o on s.class = 'pg_proc'::regclass and o.oid = s.oid
  cross join readers as r
  where o.home_oid <> 'neural_search'::regnamespace
    and has_function_privilege(r.role, o.oid, 'execute')
    and has_schema_privilege(r.role, o.home_oid, 'usage')
)
select name, string_agg(role, ' and ' order by role) from exposed group by name order by name
"""


def exposure(target: Settings) -> str:
    """DatabaseError names views and functions that an exposed schema's planned counts explain to callers."""
    with connect(str(target.database_url)) as database:
        found = [f"{name} by {roles}" for name, roles in database.execute(EXPOSED).fetchall()]
    if found:
        raise DatabaseError(
            f"These views and functions of documents may be read: {', '.join(found)}. In a schema that "
            "PostgREST exposes, `Prefer: count=planned` tells by them what policies hide. Revoke select on a "
            "view, give a function a `set search_path`, or have callers use our functions."
        )
    return "no view of documents is open to callers"
