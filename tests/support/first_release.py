"""Projects that have 0.1.0, and the catalogue in which an upgraded one mustn't differ from a fresh one."""

from __future__ import annotations

import json

from cli.installer import migrations
from support.databases import Clone, Connection

ACTIVE = "efficientnet-lite0"  # the model of 0.1.0
FIRST = [migration for migration in migrations.known() if migration.in_place]
DATA = "select (select count(*) from public.documents), (select count(*) from neural_search.jobs)"

# Everything of ours that a migration can change, one line each.
CATALOGUE = """
with ours as (
  select 'neural_search'::regnamespace as schema union all select 'public'::regnamespace
)
select format('function %s owner %s acl %s comment %s %s', p.oid::regprocedure, proowner::regrole,
    (select array_agg(a order by a::text) from unnest(proacl) as a), obj_description(p.oid, 'pg_proc'),
    pg_get_functiondef(p.oid))
  from pg_proc as p join ours on pronamespace = schema where prokind = 'f'
union all
select format('relation %s %s rls %s acl %s options %s comment %s', relkind, c.oid::regclass, relrowsecurity,
    (select array_agg(a order by a::text) from unnest(relacl) as a), reloptions,
    obj_description(c.oid, 'pg_class'))
  from pg_class as c join ours on relnamespace = schema
union all
select format('column %s.%s %s not null %s default %s acl %s comment %s', attrelid::regclass, attname,
    format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid), attacl,
    col_description(attrelid, attnum))
  from pg_attribute as a join pg_class as c on c.oid = attrelid join ours on relnamespace = schema
  left join pg_attrdef on (adrelid, adnum) = (attrelid, attnum) where attnum > 0 and not attisdropped
union all
select 'view ' || c.oid::regclass || pg_get_viewdef(c.oid) from pg_class as c
  join ours on relnamespace = schema where relkind = 'v'
union all
select 'index ' || pg_get_indexdef(indexrelid) from pg_index join pg_class as c on c.oid = indexrelid
  join ours on relnamespace = schema
union all
select format('constraint %s %s %s', conrelid::regclass, conname, pg_get_constraintdef(k.oid))
  from pg_constraint as k join ours on connamespace = schema
union all
select 'trigger ' || pg_get_triggerdef(t.oid) from pg_trigger as t join pg_proc as p on p.oid = tgfoid
  join ours on pronamespace = schema
union all
select format('policy %s %s %s %s', polname, polrelid::regclass, polroles::regrole[],
    pg_get_expr(polqual, polrelid)) || obj_description(p.oid, 'pg_policy')
  from pg_policy as p join pg_class as c on c.oid = polrelid join ours on relnamespace = schema
union all
select format('type %s %s', t.oid::regtype, obj_description(t.oid, 'pg_type')) from pg_type as t
  join ours on typnamespace = schema
order by 1
"""


def catalogue(connection: Connection) -> list[str]:
    return [line for (line,) in connection.execute(CATALOGUE).fetchall()]


def install_0_1_0(database: Clone, chapters: int = 13) -> None:
    """The first release's `install`: run the statements and record them as the Supabase CLI does."""
    with database.connect() as connection:
        for migration in FIRST[:chapters]:
            connection.execute(migration.statements.encode())
        record_0_1_0(connection, chapters)


def record_0_1_0(connection: Connection, chapters: int = 13) -> None:
    connection.execute("create schema if not exists supabase_migrations")
    connection.execute(
        "create table if not exists supabase_migrations.schema_migrations"
        " (version text not null primary key, statements text[], name text)"
    )
    connection.cursor().executemany(
        "insert into supabase_migrations.schema_migrations (version, statements, name) values (%s, %s, %s)",
        [(one.former or one.version, [one.statements], one.name) for one in FIRST[:chapters]],
    )


def fill(database: Clone) -> None:
    """One searchable image, and one that waits."""
    with database.connect() as old:
        old.execute("insert into storage.buckets (id, name) values ('images', 'images')")
        old.execute("select public.index_bucket('images')")
        old.execute("insert into storage.objects (bucket_id, name, version) values ('images', 'a.png', 'v1')")
        ((done,),) = old.execute("select id from storage.objects").fetchall()
        old.execute(
            "select public.finish_embedding_job(%s, %s, 'v1', %s, 'hash', 2, 3, 'image/png')",
            [done, ACTIVE, json.dumps([1.0, *[0.0] * 1279])],
        )
        old.execute("insert into storage.objects (bucket_id, name, version) values ('images', 'b.png', 'v1')")
        assert old.execute(DATA).fetchone() == (1, 1)
