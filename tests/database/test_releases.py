"""The SQL's sources, the migration that is made of them, and the releases that never change."""

from __future__ import annotations

import hashlib
import re
from datetime import datetime

import pytest
from databases import Clone, Connection, finish, vector

from cli import former_record, migrations, releases
from cli.migration_file import unwrap, wrap_first
from shared.errors import DatabaseError, SettingsError

NEWEST = releases.migration(releases.next_version()).stem
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
    """What the first release's `install` did: run the statements and record them as the Supabase CLI does."""
    with database.connect() as connection:
        connection.execute("create schema supabase_migrations")
        connection.execute(
            "create table supabase_migrations.schema_migrations"
            " (version text not null primary key, statements text[], name text)"
        )
        for migration in [one for one in migrations.known() if one.in_place][:chapters]:
            connection.execute(migration.statements.encode())
            connection.execute(
                "insert into supabase_migrations.schema_migrations values (%s, %s, %s)",
                [migration.former or migration.version, [migration.statements], migration.name],
            )


@pytest.fixture
def older(bare_database: Clone) -> Clone:
    """A project with 0.1.0, one searchable image and one that waits."""
    install_0_1_0(bare_database)
    with bare_database.connect() as old:
        old.execute("insert into storage.buckets (id, name) values ('images', 'images')")
        old.execute("select public.index_bucket('images')")
        old.execute("insert into storage.objects (bucket_id, name, version) values ('images', 'a.png', 'v1')")
        ((done,),) = old.execute("select id from storage.objects").fetchall()
        assert finish(old, done, vector(1.0)) == "embedded"
        old.execute("insert into storage.objects (bucket_id, name, version) values ('images', 'b.png', 'v1')")
        assert old.execute(DATA).fetchone() == (1, 1)
    return bare_database


def test_the_newest_migration_is_what_its_sources_make():
    version = releases.next_version()
    path = releases.migration(version)
    assert path.exists(), "Run: neural-search migrations generate"
    assert path.read_text() == releases.text(version), "Run: neural-search migrations generate"


def test_a_released_migration_never_changes():
    for name, entry in releases.released().items():
        statements = unwrap((releases.SUPABASE / "migrations" / name).read_text())
        digest = hashlib.sha256(statements.encode()).hexdigest()
        assert digest == entry["sha256"], f"{name} is released: undo the change"


def test_the_first_release_is_wrapped_alike():
    for name, entry in releases.released().items():
        if "in_place" in entry:
            text = (releases.SUPABASE / "migrations" / name).read_text()
            assert text == wrap_first(unwrap(text), release="0.1.0", in_place=entry["in_place"])


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


def test_an_upgrade_keeps_the_data_and_ends_as_a_fresh_installation(older, db):
    assert migrations.apply(older.url()) == [NEWEST]
    with older.connect() as upgraded:
        assert upgraded.execute(DATA).fetchone() == (1, 1)
        assert catalogue(upgraded) == catalogue(db)
        record = "select name, sha256, release from neural_search.migrations order by name"
        assert upgraded.execute(record).fetchall() == db.execute(record).fetchall()
    assert migrations.apply(older.url()) == migrations.pending(older.url()) == []


def test_an_upgrade_needs_no_record_of_the_older_installation(older, db):
    """`supabase migration repair` may have removed it, on the advice of the Supabase CLI."""
    with older.connect() as repaired:
        repaired.execute("delete from supabase_migrations.schema_migrations")
    assert migrations.apply(older.url()) == [NEWEST]
    with older.connect() as upgraded:
        assert upgraded.execute(DATA).fetchone() == (1, 1)
        assert catalogue(upgraded) == catalogue(db)


@pytest.mark.parametrize("chapters", range(1, 13))
def test_half_an_older_installation_is_completed(bare_database, db, chapters):
    install_0_1_0(bare_database, chapters)
    names = [str(migration) for migration in migrations.known()]
    assert migrations.apply(bare_database.url()) == names[chapters:]
    with bare_database.connect() as completed:
        assert catalogue(completed) == catalogue(db)


def test_an_unreleased_installation_is_refused_with_the_remedy(older):
    change = "update supabase_migrations.schema_migrations set statements = '{other}' where name = 'jobs'"
    with older.connect() as connection:
        connection.execute(change)
        before = catalogue(connection)
        with pytest.raises(DatabaseError, match=r"unreleased.*20260101000100_jobs differ.*uninstall"):
            migrations.apply(older.url())
        assert catalogue(connection) == before


def test_every_migration_can_be_run_again(database, db):
    before = catalogue(db)
    record = db.execute("select * from neural_search.migrations order by name").fetchall()
    for migration in migrations.known():
        db.execute(migration.path.read_bytes())
    assert catalogue(db) == before
    assert db.execute("select * from neural_search.migrations order by name").fetchall() == record


def test_the_newest_migration_is_run_again_where_its_text_was_another(database, db):
    """So a developer's database follows the sources; what is released has one text for ever."""
    before = catalogue(db)
    db.execute("update neural_search.migrations set sha256 = 'other' where name = %s", [NEWEST])
    db.execute("drop function public.object_states")
    assert migrations.apply(database.url()) == [NEWEST] and migrations.pending(database.url()) == []
    assert catalogue(db) == before


def test_rows_of_an_older_installation_are_ours_by_version_name_and_text(older):
    known = migrations.known()
    with older.connect() as connection:
        ours = former_record.versions(connection, known)
        assert len(ours) == 13 and "20260101000380" in ours  # which is no time, and was renamed
        theirs = "update supabase_migrations.schema_migrations set {} where version = '20260101000000'"
        for change in ("name = 'mine'", "statements = '{select 1}'", "version = '20260101000001'"):
            with connection.transaction(force_rollback=True):
                connection.execute(theirs.format(change).encode())
                assert former_record.versions(connection, known) == ours[1:]
                assert former_record.release(connection, known) == 12
                rows = connection.execute("select count(*) from supabase_migrations.schema_migrations")
                assert rows.fetchone() == (1,)


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
    digest = hashlib.sha256(unwrap(frozen.read_text()).encode()).hexdigest()
    assert releases.released(project)[frozen.name]["sha256"] == digest
    with pytest.raises(SettingsError, match=r"is released.*0\.3\.0"):
        releases.generate(project)
    (project / "sql/incremental/0.10.0").mkdir()
    assert releases.next_version(project) == "0.10.0"
    assert releases.generate(project).name.endswith("_neural_search_0_10_0.sql")
