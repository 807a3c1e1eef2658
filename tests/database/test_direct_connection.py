"""The command line's direct connection, whose session a transaction pooler hands to others."""

from __future__ import annotations

import psycopg
import pytest
from support.databases import MODEL

from cli.installer import connection
from cli.installer.connection import column, connect
from cli.models import vector_index
from shared.errors import DatabaseUnavailable

TIMEOUTS = "select current_setting('lock_timeout'), current_setting('statement_timeout')"


@pytest.mark.parametrize(
    "work",
    [
        lambda ours: column(ours, "select 1"),
        lambda ours: vector_index.ensure(ours, MODEL, 1280, "hnsw"),
        lambda ours: vector_index.drop_others(ours, MODEL),
    ],
    ids=["a statement", "an index made", "indexes dropped"],
)
def test_no_setting_of_ours_stays_in_the_session(database, work):
    with connect(f"{database.url()}&options=-clock_timeout%3D7s%20-cstatement_timeout%3D9s") as ours:
        work(ours)
        assert psycopg.Connection.execute(ours, TIMEOUTS).fetchall() == [("7s", "9s")]


def test_a_statement_by_itself_waits_for_no_lock_for_long(database, monkeypatch):
    monkeypatch.setattr(connection, "LOCK_TIMEOUT", "50ms")
    with database.connect("supabase_admin") as other, other.transaction():
        other.execute("lock table storage.objects")
        with pytest.raises(DatabaseUnavailable, match="busy"), connect(database.url()) as ours:
            ours.execute("select 1 from storage.objects")
