"""Things of the user's own that would go along with ours."""

from __future__ import annotations

import re

from cli.installer import kept_documents, migrations, releases
from cli.installer.connection import Database, column
from shared.errors import DatabaseError

# That release's policy, trigger and key on its table of documents, which was in public.
OF_0_1_0 = ("As the policies on storage.objects say", "documents_set_lsh", "documents_model_fkey")

# Named by Postgres, in all releases; beside those for primary keys and nulls, which are one each.
CONSTRAINTS = (
    "background_samples_model_fkey",
    "backgrounds_model_fkey",
    "backgrounds_sampled_check",
    "calibrations_check",
    "calibrations_model_query_kind_key",
    "calibrations_query_kind_check",
    "calibrations_related_check",
    "calibrations_same_check",
    "calibrations_unit_check",
    "documents_model_fkey",
    "documents_object_id_model_key",
    "documents_shown_check",
    "jobs_model_fkey",
    "jobs_priority_check",
    "jobs_state_check",
    "kicks_slot_check",
    "lsh_planes_model_fkey",
    "models_dimensions_check",
    "models_name_check",
    "models_search_strategy_check",
    "models_state_check",
    "text_search_id_check",
    "words_document_id_fkey",
    "words_source_check",
)

# Things in our schemas that no release made, of any kind, and such policies, triggers, columns and all else
# that hangs on our tables, as indexes, rules and constraints. A model's index is made with the model.
OTHERS = f"""
    with made (schema, names) as (
      values (to_regnamespace('neural_search'), %(names)s::text[]),
        (to_regnamespace(%(aside)s), array['documents'])
    ),
    going (oid) as (
      select c.oid from pg_class as c
      where c.relnamespace in (to_regnamespace('neural_search'), to_regnamespace(%(aside)s))
        and c.relkind = 'r' and (%(data)s or c.relname <> 'documents')
    )
    select pg_describe_object(d.classid, d.objid, 0)
    from made join pg_depend as d on d.refclassid = 'pg_namespace'::regclass and d.refobjid = made.schema
      cross join lateral pg_identify_object(d.classid, d.objid, 0) as one
      cross join lateral pg_identify_object_as_address(d.classid, d.objid, 0) as overloaded
    where coalesce(one.name, overloaded.object_names[2]) <> all (made.names) and not exists (
      select from pg_depend as o where o.classid = d.classid and o.objid = d.objid and o.deptype in ('a', 'i')
    )
    union all
    select pg_describe_object('pg_policy'::regclass, p.oid, 0)
    from pg_policy as p join pg_class as c on c.oid = p.polrelid
    where c.relnamespace = to_regnamespace('neural_search') and p.polname <> all (%(policies)s)
    union all
    select pg_describe_object('pg_trigger'::regclass, t.oid, 0)
    from pg_trigger as t join pg_class as c on c.oid = t.tgrelid join pg_proc as p on p.oid = t.tgfoid
    where (c.relnamespace = to_regnamespace('neural_search') or {releases.is_our_view()})
      and not t.tgisinternal and p.pronamespace is distinct from to_regnamespace('neural_search')
    union all
    select pg_describe_object('pg_class'::regclass, a.attrelid, a.attnum)
    from pg_attribute as a join going on going.oid = a.attrelid
    where a.attnum > 0 and not a.attisdropped and a.attname <> all (%(columns)s)
    union all
    select distinct pg_describe_object(d.classid, d.objid, 0)
    from pg_depend as d
    left join pg_index as i on d.classid = 'pg_class'::regclass and i.indexrelid = d.objid
    left join pg_class as c on d.classid = 'pg_class'::regclass and c.oid = d.objid
    left join pg_constraint as k on d.classid = 'pg_constraint'::regclass and k.oid = d.objid
    where d.refclassid = 'pg_class'::regclass and d.deptype = 'a'
      and (d.refobjid in (select oid from going)
        or exists (select from pg_class as c where c.oid = d.refobjid and {releases.is_our_view()}))
      and d.classid <> all (array['pg_attrdef', 'pg_policy', 'pg_trigger']::regclass[])
      and (c.relname = any (%(indexes)s) or pg_get_expr(i.indpred, i.indrelid) like '(model = %%'
        or k.conname = any (%(constraints)s) or k.contype in ('p', 'n')) is not true
    order by 1
"""
# What depends on ours, of any kind: without a policy more may be seen. Not on a table that is kept.
DEPENDENTS = f"""
    with going (schema, name) as (
      select s.oid, s.nspname::text from pg_namespace as s
      where s.nspname = 'neural_search' or %(data)s and s.nspname = %(aside)s
    ),
    ours (class, oid) as (
      select d.classid, d.objid from pg_depend as d join going on d.refobjid = going.schema
      where d.refclassid = 'pg_namespace'::regclass
        and (%(data)s or d.objid is distinct from to_regclass('neural_search.documents'))
      union all
      select 'pg_type'::regclass, t.oid from pg_type as t join going on t.typnamespace = going.schema
      union all
      select 'pg_proc'::regclass, p.oid from pg_proc as p
      where p.pronamespace = 'public'::regnamespace and p.proname = any (%(functions)s)
        and {releases.is_ours()}
      union all
      select 'pg_class'::regclass, c.oid from pg_class as c
      where {releases.is_our_view()}
    )
    select distinct pg_describe_object(d.classid, d.objid, 0) || ' on '
      || pg_describe_object(d.refclassid, d.refobjid, 0)
    from pg_depend as d join ours on (d.refclassid, d.refobjid) = (ours.class, ours.oid)
      cross join lateral pg_identify_object_as_address(d.classid, d.objid, 0) as dependent
    where d.deptype = 'n' and (d.classid, d.objid) not in (select class, oid from ours)
      and dependent.object_names[1] <> all (select name from going)
      and dependent.object_names <> all (
        select array['public', 'documents', name] from unnest(%(of_0_1_0)s::text[]) as name)
      and not exists (select from pg_trigger as t
        where d.classid = 'pg_trigger'::regclass and t.oid = d.objid
          and t.tgrelid = 'storage.objects'::regclass and t.tgfoid in (select oid from ours))
      and not exists (select from pg_rewrite as r
        where d.classid = 'pg_rewrite'::regclass and r.oid = d.objid and r.ev_class in (select oid from ours))
    order by 1
"""


def require_none(database: Database, data: bool) -> None:
    """DatabaseError where an uninstall, of the documents too with `data`, would take such things along."""
    if not data:
        kept_documents.require_no_others(database)
    _require_no_others(database, data)
    _require_no_dependents(database, data)


def _require_no_others(database: Database, data: bool) -> None:
    """DatabaseError where things that no release made lie in our schemas, or on our tables."""
    text = migrations.text()
    found = column(
        database,
        OTHERS,
        {
            "data": data,
            "aside": kept_documents.ASIDE,
            "names": sorted(set(re.findall(r"\bneural_search\.(\w+)", text))),
            "policies": re.findall(r'create policy "([^"]+)"', text),
            "indexes": re.findall(r"create (?:unique )?index (?:if not exists )?(\w+)", text),
            "constraints": list(CONSTRAINTS),
            "columns": sorted(set(re.findall(r"comment on column \w+\.\w+\.(\w+)", text))),
        },
    )
    if found:
        raise DatabaseError(
            f"These are of your own, in our schema or on our tables, and would go along: {'; '.join(found)}. "
            "Move each of them into a schema (alter … set schema …), or save its definition and drop it, "
            "and run this again."
        )


def _require_no_dependents(database: Database, data: bool) -> None:
    """DatabaseError where things of the user's would go along."""
    found = column(
        database,
        DEPENDENTS,
        {
            "data": data,
            "aside": kept_documents.ASIDE,
            "functions": releases.public_names(migrations.text()),
            "of_0_1_0": list(OF_0_1_0),
        },
    )
    if found:
        raise DatabaseError(
            f"These of your own depend on ours, which would take them along: {'; '.join(found)}. "
            "Save the definition of each of them and drop it, then run this again."
        )
