"""`doctor` compares a bucket's declared visibility with its policies, and names a possible one."""

from __future__ import annotations

import pytest
from psycopg.types.json import Jsonb

from cli.checks.visibility import visibility
from shared import settings
from shared.errors import DatabaseError

ME = "00000000-0000-4000-8000-000000000001"
OWN = "owner_id = (select auth.uid())::text"
OWN_FOLDER = "(storage.foldername(name))[1] = (select auth.uid()::text)"


@pytest.fixture
def target(database, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", database.url())
    return settings.load()


@pytest.fixture
def allow(db):
    db.execute('drop policy "Demo: everybody may use images" on storage.objects')
    db.execute('drop policy if exists "Demo: signed-in users see albums" on storage.objects')

    def replace(*conditions):
        for n in range(9):
            db.execute(f"drop policy if exists test_{n} on storage.objects")
        for n, condition in enumerate(conditions):
            db.execute(f"create policy test_{n} on storage.objects for select using ({condition})")

    for (name,) in db.execute(
        "select policyname from pg_policies where schemaname = 'storage' and tablename = 'objects'"
    ).fetchall():
        db.execute(f'drop policy "{name}" on storage.objects')
    return replace


def declare(db, **visible_by):
    db.execute("select public.index_bucket('images', visible_by => %s)", [Jsonb(visible_by)])


def test_a_declaration_as_the_policies_is_fine_and_one_that_hides_is_told_with_the_image(
    target, db, allow, make_document
):
    make_document("mine.png", 1, owner_id=ME)
    allow(OWN)
    declare(db, owner="auth.uid()")
    assert visibility(target) == "declared of images, as the policies say"
    allow("true")
    with pytest.raises(DatabaseError, match=r"the bucket images hides mine\.png from .*buckets index images"):
        visibility(target)


def test_a_declaration_that_came_to_fail_is_told(target, db, allow, make_document):
    make_document("mine.png", 1, owner_id=ME)
    allow(OWN)
    db.execute("create function public.me() returns text language sql as 'select auth.uid()::text'")
    declare(db, owner="public.me()")
    db.execute("drop function public.me")
    with pytest.raises(
        DatabaseError, match=r"the bucket images fails .*SQLSTATE 42883.*buckets index images"
    ):
        visibility(target)


def test_nothing_is_suggested_beside_a_policy_for_a_role_of_the_projects_own(target, database, db, allow):
    allow(OWN)
    with database.connect("supabase_admin") as platform:
        platform.execute("create role visibility_editor")
        platform.execute(
            "create policy all_of_it on storage.objects for select to visibility_editor using (true)"
        )
        try:
            assert "index images" not in visibility(target)
        finally:
            platform.execute("drop policy all_of_it on storage.objects; drop role visibility_editor")


@pytest.mark.parametrize(
    ("conditions", "suggested"),
    [
        ([OWN], "--visible-by owner"),
        (["owner_id = auth.uid()::text"], "--visible-by owner"),
        ([f"bucket_id = 'images' and {OWN}"], "--visible-by owner"),
        ([f"bucket_id = 'images' and {OWN_FOLDER}"], "--visible-by folder"),
        (
            ["bucket_id = 'images' and (storage.foldername(name))[1] = auth.uid()::text"],
            "--visible-by folder",
        ),
        ([OWN, OWN_FOLDER], "--visible-by folder --visible-by owner"),
        ([OWN, "bucket_id = 'albums'"], "--visible-by owner"),
        ([f"{OWN} or bucket_id = 'images'"], None),
        ([OWN, "true"], None),
        ([OWN, "bucket_id = 'albums' or bucket_id = 'images'"], None),
        ([OWN, f"(bucket_id = 'albums' and {OWN}) or (bucket_id = 'images' and public.is_member())"], None),
        ([OWN, "bucket_id = 'albums' or name = 'welcome.png'"], None),
        ([OWN, "not (bucket_id = 'albums' and name = 'a.png')"], None),
        ([OWN, "(bucket_id = 'albums') is not true"], None),
        ([OWN, "name = ') AND (bucket_id = ''albums''::text'"], None),
        ([OWN, "name = 'a.png' and (bucket_id = 'al''bums' and public.is_member())"], "--visible-by owner"),
        ([f"bucket_id = 'images' and ({OWN} or public.is_member())"], None),
        (["bucket_id = 'images'"], None),
        ([], None),
    ],
)
def test_what_follows_from_the_policies_text_is_suggested(target, db, allow, conditions, suggested):
    db.execute("create function public.is_member() returns boolean language sql stable as 'select true'")
    allow(*conditions)
    told = visibility(target)
    if suggested:
        assert f"`neural-search buckets index images {suggested}`" in told
    else:
        assert "index images" not in told
