"""The SQL's sources, the migration that is made of them, and the releases that never change."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from datetime import datetime

import pytest
from databases import MODEL, Clone, Connection

from cli import migrations, releases
from shared.errors import SettingsError

RELEASED_MODEL = "efficientnet-lite0"  # active after 0.1.0

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


def active_model(connection: Connection) -> str:
    ((name,),) = connection.execute("select name from public.active_model()").fetchall()
    return name


def apply_released(database: Clone, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    """What somebody has who installed the last release and no more."""
    for path in releases.SUPABASE.joinpath("migrations").glob("*.sql"):
        if path.name in releases.released():
            shutil.copy(path, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "FOLDER", tmp_path)
        migrations.apply(database.url())


def test_the_newest_migration_is_what_its_sources_make():
    version = releases.next_version()
    path = releases.migration(version)
    assert path.exists(), "Run: neural-search migrations generate"
    assert path.read_text() == releases.text(version), "Run: neural-search migrations generate"


def test_a_released_migration_never_changes():
    for name, entry in releases.released().items():
        content = (releases.SUPABASE / "migrations" / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry["sha256"], f"{name} is released: undo the change"


def test_every_migration_is_released_or_the_newest():
    newest = releases.migration(releases.next_version()).name
    assert {migration.path.name for migration in migrations.known()} == {*releases.released(), newest}


def test_versions_are_times():
    for migration in migrations.known():
        datetime.strptime(migration.version, "%Y%m%d%H%M%S")


def test_every_source_is_in_the_order_once():
    listed = [path.name for path in releases.sources()]
    assert sorted(listed) == sorted(path.name for path in (releases.SUPABASE / "sql").glob("*.sql"))
    assert listed[-1] == "privileges.sql"


def test_sources_hold_nothing_that_cant_be_run_again():
    allowed = r"create or replace (function|view) |comment on |alter policy |grant |revoke "
    for path in releases.sources():
        bare = re.sub(r"--[^\n]*|\$\$.*?\$\$|'(?:[^']|'')*'", "", path.read_text(), flags=re.DOTALL)
        statements = [statement.strip() for statement in bare.split(";")]
        assert [s for s in statements if s and not re.match(allowed, s)] == [], path.name


def test_what_is_in_the_database_has_a_source(db):
    """A function or a view that no source makes any more has to be dropped by an incremental file."""
    made = {
        name
        for path in releases.sources()
        for name in re.findall(r"create or replace (?:function|view) (\w+\.\w+)", path.read_text())
    }
    rows = db.execute("""
        select format('%s.%s', pronamespace::regnamespace, proname) from pg_proc
        where pronamespace in ('public'::regnamespace, 'neural_search'::regnamespace)
        union all
        select format('%s.%s', relnamespace::regnamespace, relname) from pg_class
        where relnamespace in ('public'::regnamespace, 'neural_search'::regnamespace) and relkind = 'v'
    """).fetchall()
    assert sorted(name for (name,) in rows) == sorted(made)


def test_an_upgrade_keeps_the_data_and_ends_as_a_fresh_installation(
    cluster, bare_template, bare_database, db, monkeypatch, tmp_path
):
    apply_released(bare_database, monkeypatch, tmp_path)
    with bare_database.connect() as old:
        old.execute("insert into storage.buckets (id, name) values ('images', 'images')")
        old.execute("select public.index_bucket('images')")
        old.execute("insert into storage.objects (bucket_id, name, version) values ('images', 'a.png', 'v1')")
        ((done,),) = old.execute("select id from storage.objects").fetchall()
        old.execute(
            "select public.finish_embedding_job(%s, %s, 'v1', %s, 'hash', 2, 3, 'image/png')",
            [done, RELEASED_MODEL, json.dumps([1.0, *[0.0] * 1279])],
        )
        old.execute("insert into storage.objects (bucket_id, name, version) values ('images', 'b.png', 'v1')")
        data = "select (select count(*) from public.documents), (select count(*) from neural_search.jobs)"
        assert old.execute(data).fetchone() == (1, 1)

    newest = releases.migration(releases.next_version()).stem
    assert migrations.apply(bare_database.url()) == [newest]
    with bare_database.connect() as upgraded:
        assert upgraded.execute(data).fetchone() == (1, 1)
        assert active_model(upgraded) == RELEASED_MODEL and active_model(db) == MODEL
        assert catalogue(upgraded) == catalogue(db)


def test_the_newest_migration_can_be_run_again(database, db):
    before = catalogue(db)
    statements = releases.migration(releases.next_version()).read_text()
    with db.transaction():
        db.execute(statements.encode())
    assert catalogue(db) == before


def test_a_version_that_was_no_time_is_recognised_by_its_new_one(database, db):
    renamed = {
        entry["formerly"]: name[:14] for name, entry in releases.released().items() if "formerly" in entry
    }
    assert renamed == {"20260101000380": "20260101000355"}
    for former, version in renamed.items():
        db.execute(
            "update supabase_migrations.schema_migrations set version = %s where version = %s",
            [former, version],
        )
    assert migrations.apply(database.url()) == migrations.pending(database.url()) == []
    migrations.forget(db)
    assert db.execute("select count(*) from supabase_migrations.schema_migrations").fetchone() == (0,)


@pytest.fixture
def project(tmp_path):
    """A small project with one release that is out and one that is being worked on."""
    for folder in ("migrations", "sql/incremental/0.2.0"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "sql/order.txt").write_text("b\na\n")
    (tmp_path / "sql/a.sql").write_text("create or replace function public.one() …\n")
    (tmp_path / "sql/b.sql").write_text("comment on …\n")
    (tmp_path / "sql/incremental/0.2.0/20_second.sql").write_text("second\n")
    (tmp_path / "sql/incremental/0.2.0/10_first.sql").write_text("first\n")
    (tmp_path / "sql/released.json").write_text(
        '{"0.1.0": [{"file": "20260101000000_all.sql", "sha256": ""}]}'
    )
    return tmp_path


def test_incremental_files_come_first_and_sources_in_their_order(project):
    text = releases.generate(project).read_text()
    found = re.findall(r"^-- From (\S+)", text, re.MULTILINE)
    assert found == [
        "sql/incremental/0.2.0/10_first.sql",
        "sql/incremental/0.2.0/20_second.sql",
        "sql/b.sql",
        "sql/a.sql",
    ]
    assert "p.proname in (\n    'one'\n  )" in text


def test_generating_again_keeps_the_version(project):
    first = releases.generate(project)
    (project / "sql/a.sql").write_text("changed\n")
    assert releases.generate(project) == first and "changed" in first.read_text()


def test_a_frozen_release_is_followed_by_the_next_version(project):
    frozen = releases.freeze(project)
    digest = hashlib.sha256(frozen.read_bytes()).hexdigest()
    assert releases.released(project)[frozen.name]["sha256"] == digest
    with pytest.raises(SettingsError, match=r"is released.*0\.3\.0"):
        releases.generate(project)
    (project / "sql/incremental/0.10.0").mkdir()
    assert releases.next_version(project) == "0.10.0"
    assert releases.generate(project).name.endswith("_neural_search_0_10_0.sql")
