"""Views by which the planner tells of hidden documents."""

from __future__ import annotations

from cli.installer.connection import connect
from shared.errors import DatabaseError
from shared.settings import Settings

# Over our tables, also through other views, that a caller may read.
VIEWS = """
with recursive shown (oid) as (
  values ('neural_search.documents'::regclass::oid), ('neural_search.words'::regclass)
  union
  select r.ev_class from shown as s
  join pg_depend as d on d.refclassid = 'pg_class'::regclass and d.refobjid = s.oid
  join pg_rewrite as r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
)
select c.oid::regclass::text, string_agg(role, ' and ' order by role)
from shown as s join pg_class as c on c.oid = s.oid cross join unnest(array['anon', 'authenticated']) as role
where c.relnamespace <> 'neural_search'::regnamespace
  and has_any_column_privilege(role, c.oid, 'select') and has_schema_privilege(role, c.relnamespace, 'usage')
group by c.oid order by 1
"""


def exposure(target: Settings) -> str:
    """DatabaseError names views that callers may read: an exposed schema's planned counts explain them."""
    with connect(str(target.database_url)) as database:
        found = [f"{view} by {roles}" for view, roles in database.execute(VIEWS).fetchall()]
    if found:
        raise DatabaseError(
            f"These views of documents may be read: {', '.join(found)}. In a schema that PostgREST exposes, "
            "`Prefer: count=planned` tells by them what policies hide. Revoke select on them, and have "
            "callers use our functions."
        )
    return "no view of documents is open to callers"
