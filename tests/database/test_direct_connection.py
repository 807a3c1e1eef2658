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


@pytest.mark.parametrize(
    ("strategy", "lifted"), [("hnsw", []), ("exact", ["drop index"]), ("lsh", ["create index", "drop index"])]
)
def test_limits_of_the_session_are_lifted_for_statements_alone_that_no_transaction_may_hold(
    database, make_document, monkeypatch, strategy, lifted
):
    make_document("a.png", 1.0), make_document("b.png", 0.0, 1.0)
    with connect(database.url()) as ours:
        statements = []
        run = psycopg.Connection.execute

        def noted(self, query, *given, **named):
            text = query if isinstance(query, str) else query.as_string(self)
            statements.append(" ".join(text.split()[:2]))
            return run(self, query, *given, **named)

        monkeypatch.setattr(psycopg.Connection, "execute", noted)
        vector_index.ensure(ours, MODEL, 1408, strategy)
        vector_index.drop_others(ours, MODEL, strategy)
    sets = [number for number, begin in enumerate(statements) if begin == "set lock_timeout"]
    assert [statements[number + 1] for number in sets] == lifted
    assert [statements[number + 2] for number in sets] == ["reset lock_timeout;"] * len(lifted)


def test_no_statement_changes_the_path_by_which_a_poolers_other_clients_find_their_tables(
    database, monkeypatch
):
    paths = []
    run = psycopg.Connection.execute

    def noted(self, query, *given, **named):
        if "concurrently" in (query if isinstance(query, str) else query.as_string(self)):
            paths.extend(run(self, "show search_path").fetchone())
        return run(self, query, *given, **named)

    with connect(f"{database.url()}&options=-csearch_path%3Dpublic") as ours:
        monkeypatch.setattr(psycopg.Connection, "execute", noted)
        vector_index.ensure(ours, MODEL, 1280, "hnsw")
        vector_index.drop_others(ours, MODEL)
    assert paths and set(paths) == {"public"}


def test_a_statement_by_itself_waits_for_no_lock_for_long(database, monkeypatch):
    monkeypatch.setattr(connection, "LOCK_TIMEOUT", "50ms")
    with database.connect("supabase_admin") as other, other.transaction():
        other.execute("lock table storage.objects")
        with pytest.raises(DatabaseUnavailable, match="busy"), connect(database.url()) as ours:
            ours.execute("select 1 from storage.objects")
