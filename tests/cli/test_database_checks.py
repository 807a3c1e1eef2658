"""What `doctor` finds in the database, each check by itself."""

from __future__ import annotations

import pytest

from cli.checks import database as checks
from shared import settings
from shared.errors import DatabaseError


@pytest.fixture
def target(database, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", database.url())
    return settings.load()


def test_a_bucket_made_anew_is_told(target, database):
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
