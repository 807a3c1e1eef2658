"""The SQL's sources, the migration that is made of them, and the releases that never change."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime

import psycopg
import pytest
from support.databases import MODEL, Clone, Clones, clone
from support.first_release import ACTIVE, DATA, catalogue, fill, install_0_1_0

from cli.installer import former_record, migrations, releases
from cli.installer.installation import install
from cli.installer.migration_file import unwrap, wrap_first
from cli.installer.removal import uninstall
from local.postgres import Cluster
from shared.errors import DatabaseError, SettingsError

NEWEST = releases.migration(releases.next_version()).stem


@pytest.fixture(scope="module")
def older_clones(cluster: Cluster, bare_template: str) -> Iterator[Clones]:
    with clone(cluster, bare_template) as source:
        install_0_1_0(source)
        fill(source)
        with closing(Clones(cluster, source.name)) as made:
            yield made


@pytest.fixture
def older(older_clones: Clones) -> Iterator[Clone]:
    """A project with 0.1.0, one searchable image and one that waits."""
    with older_clones.fresh() as own:
        yield own


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
    allowed = r"create or replace (function|view) |comment on |alter policy |grant |revoke |do$"
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
        assert upgraded.execute("select name from public.active_model()").fetchone() == (ACTIVE,)
        assert catalogue(upgraded) == catalogue(db)
        record = "select name, sha256, release from neural_search.migrations order by name"
        assert upgraded.execute(record).fetchall() == db.execute(record).fetchall()
    assert db.execute("select name from public.active_model()").fetchone() == (MODEL,)
    assert migrations.apply(older.url()) == migrations.pending(older.url()) == []


SURVIVING = {
    "view": "create view public.mine as select * from public.documents",
    "materialized view": "create materialized view public.mine as select id from public.documents",
    "foreign key": "create table public.mine (id bigint references public.documents (id) on delete cascade)",
    "policy": """
        create table public.mine (id bigint); alter table public.mine enable row level security;
        create policy mine on public.mine
          using (exists (select from public.documents as d where d.id = mine.id))
    """,
    "trigger": """
        create function public.mine() returns trigger language plpgsql as 'begin return new; end';
        create trigger mine before insert on public.documents for each row execute function public.mine()
    """,
    "function's rows": """
        create function public.mine() returns setof public.documents language sql
        as 'select * from public.documents'
    """,
    "view of a search": """
        create view public.mine as select m.content
        from public.documents as d cross join lateral public.match_documents(d.embedding) as m
    """,
}
IN_THE_WAY = {
    "create view public.mine as select * from public.recommend_documents('[]')":
        r"view public\.mine depends on function public\.recommend_documents\(.*Save the def.*run this again",
    "create view public.mine as select * from neural_search.backlog":
        r"view public\.mine depends on view neural_search.backlog.*Save the definition",
    "create table public.mine (document public.documents)":
        r'column "mine.document" uses its row type.*Give that column another type or drop it',
}  # fmt: skip


@pytest.mark.parametrize("built", SURVIVING)
def test_an_upgrade_keeps_what_a_project_built_on_documents(older, built):
    with older.connect() as project:
        project.execute(SURVIVING[built].encode())
        assert migrations.apply(older.url()) == [NEWEST]
        if "view" in built:
            assert project.execute("select count(*) from public.mine").fetchone() == (1,)
        elif built == "foreign key":
            with pytest.raises(psycopg.errors.ForeignKeyViolation):
                project.execute("insert into public.mine values (1000)")


@pytest.mark.parametrize("built", IN_THE_WAY)
def test_an_upgrade_names_what_is_in_its_way_and_the_remedy(older, built):
    with older.connect() as project:
        project.execute(built.encode())
        before = catalogue(project)
        with pytest.raises(DatabaseError, match=IN_THE_WAY[built]) as caught:
            migrations.apply(older.url())
        assert "CASCADE" not in str(caught.value)
        assert catalogue(project) == before


def test_moving_the_table_waits_for_ten_seconds_at_most(older):
    """As `supabase db push` does it, whose session has no time-out, while somebody reads the table."""
    text = migrations.known()[-1].path.read_text()
    assert text.index("'lock_timeout', '10s'") < text.index("alter table public.documents set schema")
    with older.connect() as reader, older.connect() as upgraded, reader.transaction():
        reader.execute("select from public.documents")
        before = catalogue(upgraded)
        with pytest.raises(psycopg.errors.LockNotAvailable):
            upgraded.execute(text.replace("'lock_timeout', '10s'", "'lock_timeout', '100ms'").encode())
        assert catalogue(upgraded) == before
        assert upgraded.execute("show lock_timeout").fetchone() == ("0",)


def test_an_upgrade_writes_words_after_its_transaction_and_some_documents_at_a_time(older):
    names = """
        select distinct d.content from neural_search.words w
        join neural_search.documents d on d.id = w.document_id
    """
    with older.connect() as upgraded:
        upgraded.execute("update public.documents set content = 'windmill.png'")
        upgraded.execute("""
            insert into public.documents (object_id, bucket_id, content, model, embedding, object_version)
            select gen_random_uuid(), bucket_id, 'giraffe.png', model, embedding, object_version
            from public.documents
        """)
        upgraded.execute(migrations.known()[-1].path.read_bytes())  # as `supabase db push` does
        assert upgraded.execute(names).fetchall() == []
        for expected, found in ((1, "windmill.png"), (1, "giraffe.png"), (0, None)):
            assert upgraded.execute("select neural_search.write_missing_words(1)").fetchone() == (expected,)
            assert found is None or (found,) in upgraded.execute(names).fetchall()


def test_install_and_the_schedule_write_the_words_that_an_upgrade_left(older):
    migrations.apply(older.url())
    with older.connect() as upgraded:
        for step in (
            lambda: migrations.apply(older.url()),
            lambda: upgraded.execute("select public.reconcile_documents()"),
        ):
            upgraded.execute("update neural_search.text_search set missing = '[0,100)'")
            step()
            ((missing,),) = upgraded.execute("select missing::text from neural_search.text_search")
            assert missing == "empty"


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


# As docs/security.md has it.
REACHED = """
    select count(*) filter (where has_function_privilege(%(role)s, p.oid, 'execute')),
      has_table_privilege(%(role)s, 'neural_search.documents', 'select')
    from pg_proc as p where p.pronamespace in ('public'::regnamespace, 'neural_search'::regnamespace)
      and p.proname in ('active_model', 'match_documents', 'search_documents', 'get_embeddings', 'can_see')
"""


@pytest.mark.parametrize("shut", [["anon"], ["authenticated"], ["anon", "authenticated"]])
@pytest.mark.parametrize("release", ["0.1.0", "0.2.0"])
def test_an_upgrade_lets_nobody_in_that_the_operator_has_shut_out(older, database, release, shut):
    project = older if release == "0.1.0" else database
    with project.connect() as connection:
        connection.execute(f"revoke execute on function public.active_model from {', '.join(shut)}".encode())
        if release != "0.1.0":
            connection.execute("update neural_search.migrations set sha256 = 'of another text'")
        assert migrations.apply(project.url())
        for role in ("anon", "authenticated"):
            reached = (0, False) if role in shut else (5, True)
            assert connection.execute(REACHED, {"role": role}).fetchone() == reached


def test_every_migration_can_be_run_again(database, db):
    before = catalogue(db)
    record = db.execute("select * from neural_search.migrations order by name").fetchall()
    for migration in migrations.known():
        db.execute(migration.path.read_bytes())
    assert catalogue(db) == before
    assert db.execute("select * from neural_search.migrations order by name").fetchall() == record


def test_the_newest_migration_is_run_again_where_its_text_was_another(database, db):
    """So a developer's database follows the sources; a release has one text for ever."""
    before = catalogue(db)
    db.execute("update neural_search.migrations set sha256 = 'other' where name = %s", [NEWEST])
    db.execute("drop function public.object_states")
    assert migrations.apply(database.url()) == [NEWEST] and migrations.pending(database.url()) == []
    assert catalogue(db) == before


# Of earlier texts of the newest migration, which developers may have installed.
FORMER = (
    "public.search_documents(extensions.vector, text, double precision, double precision, integer, integer,"
    " jsonb, jsonb, text, text, text, text)",
    "neural_search.best_score_candidates(neural_search.example[], neural_search.example[], integer, jsonb,"
    " neural_search.search_options)",
    "neural_search.average_candidates(neural_search.example[], neural_search.example[], integer, boolean,"
    " jsonb, neural_search.search_options)",
    "neural_search.is_blank(text, extensions.vector)",
    "neural_search.search_parameters()",
    "neural_search.search_settings()",
)


def test_functions_that_no_release_made_are_named_with_the_ways_out(database, db):
    """A namesake of the project's own, and one of ours that was another before the release."""
    db.execute("create function public.list_models(all_of_them boolean) returns integer return 1")
    db.execute("drop function public.list_fingerprints")
    db.execute("create function public.list_fingerprints() returns integer language sql as 'select 1'")
    db.execute("comment on function public.list_fingerprints is 'An earlier comment.'")
    db.execute("update neural_search.migrations set sha256 = 'other' where name = %s", [NEWEST])
    with pytest.raises(DatabaseError) as refused:
        migrations.apply(database.url())
    for told in ("list_models(boolean)", "list_fingerprints(", "Rename each of your own", "Drop those of an"):
        assert told in str(refused.value)
    db.execute(
        "alter function public.list_models(boolean) rename to ours; drop function public.list_fingerprints"
    )
    assert migrations.apply(database.url()) == [NEWEST]


def test_functions_of_an_earlier_text_of_the_newest_migration_are_dropped(database, db):
    before = catalogue(db)
    comment = "select quote_literal(obj_description('public.search_documents'::regproc))"
    ((ours,),) = db.execute(comment).fetchall()
    for function in FORMER:
        db.execute(f"""
            create function {function} returns integer language sql set search_path = ''
              as 'select neural_search.max_attempts()';
            comment on function {function} is {ours};
        """)
    db.execute("update neural_search.migrations set sha256 = 'other' where name = %s", [NEWEST])
    assert migrations.apply(database.url()) == [NEWEST]
    assert catalogue(db) == before


@pytest.mark.parametrize("data", [False, True])
def test_the_first_release_is_uninstalled_and_its_documents_are_kept_out_of_reach(older, data):
    """Its own policy and triggers on documents are ours; the table is in a schema that PostgREST exposes."""
    assert "25 functions dropped" in uninstall(older.url(), data=data)
    with older.connect() as connection:
        assert connection.execute("select to_regclass('public.documents')").fetchone() == (None,)
        kept = connection.execute("select to_regclass('neural_search_kept.documents') is not null").fetchone()
    assert kept == (not data,)
    url = "http://x.example"
    assert install(
        older.url(), embed_url=url, webhook_secret="open-sesame-open-sesame", buckets=[]
    ).migrations


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
    (tmp_path / "migrations/20260101000000_all.sql").write_text(
        wrap_first(
            "comment on function public.former is 'It''s '\n  'ours.';\n", release="0.1.0", in_place="1"
        )
    )
    (tmp_path / "sql/order.txt").write_text("b\na\n")
    (tmp_path / "sql/a.sql").write_text("create or replace function public.one() …\n")
    (tmp_path / "sql/b.sql").write_text("comment on …\n")
    (tmp_path / "sql/incremental/0.2.0/20_second.sql").write_text("second\n")
    (tmp_path / "sql/incremental/0.2.0/10_first.sql").write_text("first\n")
    (tmp_path / "sql/released.json").write_text(
        '{"0.1.0": [{"file": "20260101000000_all.sql", "sha256": "", "in_place": "1"}]}'
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
    comment = hashlib.md5(b"It's ours.").hexdigest()
    assert f"'former {comment}'" in text


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
