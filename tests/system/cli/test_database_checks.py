"""`doctor`'s findings in the database, each check by itself."""

from __future__ import annotations

import pytest

from cli.checks import schema as checks
from shared import settings
from shared.errors import DatabaseError


@pytest.fixture
def target(database, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", database.url())
    return settings.load()


def test_a_bucket_made_anew_is_told(target, database):
    with database.connect() as connection:
        connection.execute("select public.index_bucket('albums')")
    assert checks.buckets(target) == "albums, images"
    with database.connect("supabase_admin") as platform:
        platform.execute("set session_replication_role = 'replica'")
        platform.execute("delete from storage.buckets where id = 'images'")
        assert checks.buckets(target) == "albums (indexed once and gone: images)"
        platform.execute("select public.reconcile_documents()")
        platform.execute("insert into storage.buckets (id, name) values ('images', 'images')")
    with pytest.raises(DatabaseError, match=r"Made anew.*: images"):
        checks.buckets(target)
    with database.connect() as connection:
        connection.execute("select public.index_bucket('images')")
    assert checks.buckets(target) == "albums, images"


INDEX = "reindex index concurrently neural_search.documents_efficientnet_lite0_concepts_idx"


def test_the_version_of_pgvector_is_named(target, database):
    with database.connect() as connection:
        ((version,),) = connection.execute("select extversion from pg_extension where extname = 'vector'")
    assert checks.pgvector(target) == version


@pytest.mark.parametrize(
    ("version", "numbers"), [("0.8.4", (0, 8, 4)), ("0.9", (0, 9)), ("0.9.0-dev", (0, 9, 0))]
)
def test_versions_are_compared_as_numbers(version, numbers):
    assert checks._numbers(version) == numbers


def test_an_older_pgvector_whose_newer_library_is_there_is_to_be_updated_and_its_indexes_rebuilt(
    target, database
):
    with database.connect("supabase_admin") as platform:
        platform.execute("update pg_extension set extversion = '0.8.0' where extname = 'vector'")
    with pytest.raises(DatabaseError, match=r"pgvector is 0\.8\.0.*alter extension vector update") as raised:
        checks.pgvector(target)
    assert INDEX in str(raised.value)


def test_an_older_pgvector_without_a_newer_one_is_told_with_what_to_do_later(target, database, monkeypatch):
    monkeypatch.setattr(checks, "REPAIRED", (99,))
    found = checks.pgvector(target)
    assert "Upgrade the project as soon as" in found and "HNSW" in found and INDEX in found


def test_what_doctor_advises_can_be_run(target, database):
    with database.connect() as connection:
        for command in checks._reindex(target).split("; "):
            connection.execute(command)


def test_the_policies_are_counted_by_anon_and_owners_and_one_that_fails_is_named(
    target, database, make_document
):
    assert checks.policies(target) == "nothing is indexed yet"
    with database.connect() as connection:
        connection.execute("select public.index_bucket('albums')")
    make_document("open.png")
    make_document("own.png", bucket="albums", owner_id="00000000-0000-4000-8000-000000000001")
    assert checks.policies(target) == "of 2 images anon sees 1, their signed-in owners 2"
    with database.connect() as connection:
        connection.execute("""
            create policy broken on storage.objects for select to anon using ((name)::integer > 0)
        """)
    with pytest.raises(
        DatabaseError, match=r"\('broken'\) fails for (images/open|albums/own).png as anon \(22P02"
    ):
        checks.policies(target)


def test_a_project_whose_policies_show_nothing_to_anybody_is_told_the_missing_one(
    target, database, make_document
):
    make_document("a.png")
    with database.connect() as connection:
        connection.execute('drop policy "Demo: everybody may use images" on storage.objects')
    with pytest.raises(DatabaseError, match=r"anon sees none.*: create policy .* to authenticated"):
        checks.policies(target)


def test_a_policy_that_writes_is_named_since_searches_may_not_write(target, database, make_document):
    make_document("open.png")
    with database.connect("supabase_admin") as platform:
        platform.execute("""
            create table public.looks (name text);
            grant insert on public.looks to anon, authenticated;
            create function public.noted(name text) returns boolean language sql as $$
              insert into public.looks values (name) returning true
            $$;
            create policy audited on storage.objects as restrictive for select using (public.noted(name))
        """)
    with pytest.raises(DatabaseError, match=r"'audited'\) fails for images/open\.png .*25006.*read-only"):
        checks.policies(target)


@pytest.mark.parametrize(
    ("statements", "view", "roles"),
    [
        ("grant select on public.documents to anon", "documents", "anon"),
        ("grant select (id) on public.documents to authenticated", "documents", "authenticated"),
        (
            "create view public.gallery with (security_invoker) as select id from neural_search.documents;"
            " create view public.titles as select id from public.gallery;"
            " revoke all on public.gallery, public.titles from anon, authenticated;"
            " grant select on public.titles to anon, authenticated",
            "titles", "anon and authenticated",
        ),
    ],
)  # fmt: skip
def test_a_view_by_which_planned_counts_would_tell_of_hidden_documents_is_named(
    target, database, statements, view, roles
):
    assert checks.exposure(target) == "no view of documents is open to callers"
    with database.connect() as connection:
        connection.execute(statements)
    with pytest.raises(DatabaseError, match=rf"may be read: {view} by {roles}\. .*count=planned"):
        checks.exposure(target)
