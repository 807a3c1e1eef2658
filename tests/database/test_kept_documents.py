"""Documents that outlive an uninstall come back with their bucket, and not before."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from cli.installer import connection, installation, removal
from shared.errors import DatabaseError, DatabaseUnavailable

DOCUMENTS = "select bucket_id, content from neural_search.documents order by 1, 2"
RECONCILE = "select * from public.reconcile_documents()"


@pytest.fixture
def install(database):
    def install(*buckets):
        return installation.install(
            database.url(),
            embed_url="http://127.0.0.1/embed",
            webhook_secret="open-sesame-open-sesame",
            buckets=list(buckets),
        )

    return install


@pytest.fixture
def uninstall(database):
    return lambda data=False: removal.uninstall(database.url(), data=data)


@pytest.fixture
def two_buckets(db, install, make_document):
    db.execute("insert into storage.buckets (id, name) values ('attic', 'attic')")
    install("images", "attic")
    make_document("a.png"), make_document("b.png", bucket="attic")
    return [("attic", "b.png"), ("images", "a.png")]


def is_aside(db):
    return db.execute("select to_regnamespace('neural_search_kept') is not null").fetchone() == (True,)


def test_an_install_with_fewer_buckets_loses_no_documents(db, install, uninstall, two_buckets):
    uninstall()
    done = install("images")
    assert (done.brought_back, done.kept_aside, done.buckets) == (1, 1, {"images": 0})
    assert db.execute(RECONCILE).fetchone() == (0, 0, 0)
    assert db.execute(DOCUMENTS).fetchall() == [("images", "a.png")]
    done = install("attic")
    assert (done.brought_back, done.kept_aside, done.buckets) == (1, 0, {"attic": 0})
    assert db.execute(RECONCILE).fetchone() == (0, 0, 0)
    assert db.execute(DOCUMENTS).fetchall() == two_buckets
    assert not is_aside(db)


@pytest.mark.parametrize("data", [True, False])
def test_an_uninstall_names_whom_the_operator_had_shut_out_since_the_next_install_lets_them_in(
    db, install, uninstall, data
):
    install("images")
    db.execute("revoke execute on function public.active_model from anon")
    assert [line.split()[0] for line in uninstall(data) if "shut out" in line] == ["anon"]
    install("images")
    assert not any("shut out" in line for line in uninstall(data))


def test_documents_kept_aside_outlive_another_uninstall(db, install, uninstall, two_buckets):
    uninstall()
    install("images")
    uninstall()
    done = install("images", "attic")
    assert (done.brought_back, done.kept_aside) == (2, 0)
    assert db.execute(DOCUMENTS).fetchall() == two_buckets


def test_new_documents_take_no_identity_of_one_kept_aside(db, install, uninstall, two_buckets, make_document):
    uninstall()
    install("images")
    make_document("new.png")
    assert install("attic").brought_back == 1
    assert db.execute(DOCUMENTS).fetchall() == [*two_buckets, ("images", "new.png")]


def test_documents_kept_aside_are_forgotten_once_their_object_changed(
    db, install, uninstall, two_buckets, make_object
):
    uninstall()
    install("images")
    make_object("b.png", bucket="attic")
    done = install("attic")
    assert (done.brought_back, done.kept_aside, done.buckets) == (0, 0, {"attic": 1})
    assert not is_aside(db)


def test_uninstall_with_data_deletes_what_is_kept_aside_too(db, install, uninstall, two_buckets):
    uninstall()
    install("images")
    uninstall(data=True)
    assert not is_aside(db)
    assert db.execute("select to_regclass('neural_search.documents')").fetchone() == (None,)


OWN = {
    "a restrictive policy": """
        create table public.mine (id bigint);
        alter table public.mine enable row level security;
        create policy hide on public.mine as restrictive
          using ((select count(*) from public.active_model()) > 5)
        """,
    "a view of the documents": "create view public.mine as select id from public.documents",
    "a view of a function": "create view public.mine as select name from public.active_model()",
    "a function of a type": """
        create function public.mine(of neural_search.search) returns integer language sql return 1
        """,
    "a trigger on objects that asks ours": """
        create function public.mine() returns trigger language plpgsql as 'begin return new; end';
        create trigger mine after insert on storage.objects for each row
          when (neural_search.is_live(to_jsonb(new))) execute function public.mine()
        """,
    "a foreign key": """
        create table public.mine (id bigint references neural_search.documents (id) on delete cascade)
        """,
}


@pytest.mark.parametrize("own", OWN)
def test_uninstall_names_what_of_the_users_own_would_go_along_and_changes_nothing(
    db, uninstall, two_buckets, own
):
    db.execute(OWN[own])
    with pytest.raises(DatabaseError, match=r"mine.* on .*Save the definition of each"):
        uninstall(data=True)
    assert db.execute(DOCUMENTS).fetchall() == two_buckets
    triggers = "select count(*) from pg_trigger where tgname like 'neural_search%'"
    assert db.execute(triggers).fetchone() > (0,)


def test_installing_and_uninstalling_take_turns(database, db, install, uninstall, two_buckets, monkeypatch):
    with ThreadPoolExecutor() as threads:
        acts = [threads.submit(act) for act in (install, uninstall, install, install)]
    assert [act.exception() for act in acts] == [None] * 4
    monkeypatch.setattr(connection, "TURN_TIMEOUT", "100ms")
    with connection.alone(database.url()):
        for act in (install, uninstall):
            with pytest.raises(DatabaseUnavailable, match="Somebody else is installing"):
                act()


@pytest.mark.parametrize("data", [True, False])
def test_an_uninstall_that_others_readers_are_in_the_way_of_changes_nothing(
    database, db, uninstall, two_buckets, monkeypatch, make_object, data
):
    monkeypatch.setattr(connection, "LOCK_TIMEOUT", "100ms")
    with database.connect() as reader, reader.transaction():
        reader.execute("select count(*) from neural_search.documents")
        with pytest.raises(DatabaseUnavailable, match="Nothing was changed"):
            uninstall(data)
    make_object("new.png")
    assert db.execute("select count(*) from neural_search.jobs").fetchone() == (1,)
    assert uninstall(data)


def test_an_uninstall_that_is_broken_off_changes_nothing(
    db, uninstall, two_buckets, monkeypatch, make_object
):
    def broken_off(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(removal, "_keep_documents", broken_off)
    with pytest.raises(KeyboardInterrupt):
        uninstall()
    make_object("new.png")
    assert db.execute("select count(*) from neural_search.jobs").fetchone() == (1,)


def test_a_foreign_key_outlives_an_uninstall_that_keeps_the_documents_and_is_named_alone(
    db, uninstall, two_buckets
):
    db.execute(OWN["a foreign key"])
    [named] = [line for line in uninstall() if line.startswith("Of your own")]
    assert "constraint mine_id_fkey on table" in named
    keys = "select count(*) from pg_constraint where conrelid = 'public.mine'::regclass and contype = 'f'"
    assert db.execute(keys).fetchone() == (1,)


KEPT_POLICY = """
    create table public.mine (id bigint);
    alter table public.mine enable row level security;
    create policy open on public.mine using (true);
    create policy narrow on public.mine as restrictive
      using (exists (select from neural_search.documents as d where d.id = mine.id))
"""


def test_what_depends_on_kept_documents_is_named_and_stays(db, install, uninstall, two_buckets):
    db.execute(KEPT_POLICY)
    uninstall()
    for act in (lambda: install("images", "attic"), lambda: uninstall(data=True)):
        with pytest.raises(
            DatabaseError, match=r"policy narrow on table (public\.)?mine .*(S|s)ave the definition"
        ):
            act()
    policies = "select polname from pg_policy where polrelid = 'public.mine'::regclass order by 1"
    assert db.execute(policies).fetchall() == [("narrow",), ("open",)]
    assert is_aside(db)
    db.execute("drop policy narrow on public.mine")
    assert install("images", "attic").brought_back == 2
    assert db.execute(DOCUMENTS).fetchall() == two_buckets


MINE = "create table public.mine (id bigint)"
KEY = "create table public.mine (id bigint references neural_search_kept.documents (id) on delete {})"
DROP_KEY = "alter table public.mine drop constraint mine_id_fkey"
CONCERNED = {  # by which rows of the user's own would be deleted or changed -> how they drop it
    "constraint mine_id_fkey": (KEY.format("cascade"), DROP_KEY),
    "constraint mine_id_fkey on": (KEY.format("set null"), DROP_KEY),
    "constraint mine_id_fkey on table": (KEY.format("restrict"), DROP_KEY),
    "trigger lose on": (
        MINE
        + """;
        create function public.lose() returns trigger language plpgsql as
          'begin delete from public.mine where id = old.id; return old; end';
        create trigger lose after delete on neural_search_kept.documents
          for each row execute function public.lose()
        """,
        "drop trigger lose on neural_search_kept.documents",
    ),
    "rule lose on": (
        MINE
        + """;
        create rule lose as on delete to neural_search_kept.documents
          do also delete from public.mine where id = old.id
        """,
        "drop rule lose on neural_search_kept.documents",
    ),
}


@pytest.mark.parametrize("concerned", CONCERNED)
def test_no_row_of_the_users_own_is_deleted_or_changed_as_documents_come_back(
    db, install, uninstall, two_buckets, silent, concerned
):
    make, drop = CONCERNED[concerned]
    uninstall()
    db.execute(make)
    db.execute("insert into public.mine select id from neural_search_kept.documents")
    rows = "select id from public.mine order by 1"
    mine = db.execute(rows).fetchall()
    silent.execute(
        "update storage.objects set version = 'other' where name = 'b.png'"
    )  # it will be forgotten
    for buckets in ["images"], []:
        with pytest.raises(DatabaseError, match=f"rows of yours .*{concerned}.* make it anew"):
            install(*buckets)
    assert db.execute(rows).fetchall() == mine
    db.execute(drop)
    assert install("images").brought_back == 1
    assert db.execute(rows).fetchall() == mine


def test_a_foreign_key_on_documents_that_wait_keeps_all_from_another_uninstall(
    db, install, uninstall, two_buckets
):
    uninstall()
    install("images")
    db.execute(KEY.format("cascade"))
    with pytest.raises(DatabaseError, match=r"rows of yours .*mine_id_fkey"):
        uninstall()
    triggers = "select count(*) from pg_trigger where tgname = 'neural_search_objects'"
    assert db.execute(triggers).fetchone() == (1,)


HUNG = {  # on the kept table -> as the refusal names it
    "column caption of table documents": """
        alter table neural_search.documents add column caption text;
        update neural_search.documents set caption = 'by hand'
    """,
    "constraint narrow on table documents": """
        alter table neural_search.documents add constraint narrow check (width < 5000)
    """,
    "publication of table documents in publication mine": """
        create publication mine for table neural_search.documents
    """,
}


@pytest.mark.parametrize("hung", HUNG)
def test_what_hangs_on_kept_documents_is_named_and_stays(db, install, uninstall, two_buckets, hung):
    db.execute(HUNG[hung])
    uninstall()
    with pytest.raises(DatabaseError, match=f"along with its table: {hung}. Make each"):
        install("images", "attic")
    assert is_aside(db) and db.execute(DOCUMENTS).fetchall() == []
    with pytest.raises(DatabaseError, match=f"along with its table: {hung}. Make each"):
        uninstall()
    triggers = "select count(*) from pg_trigger where tgname = 'neural_search_objects'"
    assert db.execute(triggers).fetchone() == (1,)


def test_indexes_and_statistics_keep_no_documents_from_coming_back(db, install, uninstall, two_buckets):
    db.execute("create index mine on neural_search.documents (width)")
    db.execute("create statistics public.mine_too on bucket_id, model from neural_search.documents")
    uninstall()
    assert install("images", "attic").brought_back == 2


def test_a_column_of_the_users_own_comes_back_with_its_values(db, install, uninstall, two_buckets):
    db.execute(HUNG["column caption of table documents"])
    uninstall()
    with pytest.raises(DatabaseError, match="column caption"):
        install("images", "attic")
    with pytest.raises(DatabaseError, match=r"column caption of table neural_search_kept\.documents"):
        uninstall(data=True)
    db.execute("alter table neural_search.documents add column caption text")
    assert install("images", "attic").brought_back == 2
    captions = db.execute("select caption from neural_search.documents").fetchall()
    assert captions == [("by hand",)] * 2 and not is_aside(db)


def test_documents_of_a_model_that_is_not_here_wait_for_it(db, install, uninstall, two_buckets):
    """As those of the first release's default model, in a project that has gone on with it."""
    own = "insert into neural_search.models (name, dimensions, state) values ('own', 1408, 'standby')"
    db.execute(own)
    db.execute("update neural_search.documents set model = 'own' where bucket_id = 'images'")
    for _ in range(2):
        uninstall()
        done = install("images", "attic")
        assert (done.brought_back, done.kept_aside, done.models_aside) == (1, 1, ["own"])
    db.execute(own)
    db.execute("select public.backfill_documents('images')")
    done = install("images", "attic")
    assert (done.brought_back, done.kept_aside, done.models_aside) == (1, 0, [])
    assert db.execute(DOCUMENTS).fetchall() == two_buckets
    assert db.execute("select count(*) from neural_search.jobs where model = 'own'").fetchone() == (1,)


def test_documents_of_another_length_than_their_model_now_has_stay_aside(db, install, uninstall, two_buckets):
    """A single one among the model's documents would end every search."""
    db.execute("insert into neural_search.models (name, dimensions, state) values ('own', 3, 'standby')")
    db.execute("""
        update neural_search.documents set model = 'own', embedding = '[1,2,3]' where bucket_id = 'images'
    """)
    uninstall()
    install("images", "attic")
    db.execute("insert into neural_search.models (name, dimensions, state) values ('own', 4, 'standby')")
    done = install("images", "attic")
    assert (done.brought_back, done.kept_aside, done.models_aside) == (0, 1, ["own"])
    assert db.execute("select from public.match_documents('[1,2,3,4]', -1, model => 'own')").rowcount == 0
    db.execute("update neural_search.models set dimensions = 3 where name = 'own'")
    done = install("images", "attic")
    assert (done.brought_back, done.kept_aside, done.models_aside) == (1, 0, [])


def test_an_install_again_keeps_what_was_said_of_a_bucket_until_it_is_made_anew(db, silent, install):
    db.execute("""select public.index_bucket('images', true, '{"owner": "auth.uid()"}')""")
    said = "select public_search, visible_by ->> 'owner' from neural_search.indexed_buckets"
    install("images")
    assert db.execute(said).fetchall() == [(True, "auth.uid()")]
    silent.execute("delete from storage.buckets where id = 'images'")
    silent.execute("insert into storage.buckets (id, name) values ('images', 'images')")
    install("images")
    assert db.execute(said).fetchall() == [(False, None)]
