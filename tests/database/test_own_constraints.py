"""Constraints of the project's own that refuse a change of one document stop nothing else."""

from __future__ import annotations

import psycopg
import pytest
from psycopg.types.json import Jsonb
from support.databases import MODEL, as_role, finish, vector

OWN = {
    "a foreign key": """
        create table public.favourites (document_id bigint references neural_search.documents (id));
        insert into public.favourites select id from neural_search.documents where content = 'kept.png'
    """,
    "a deferred foreign key": """
        create table public.favourites (
          document_id bigint references neural_search.documents (id) deferrable initially deferred
        );
        insert into public.favourites select id from neural_search.documents where content = 'kept.png'
    """,
    "a deferred foreign key to what would go with it": """
        create table public.favourites (
          id bigint generated always as identity primary key,
          document_id bigint references neural_search.documents (id) on delete cascade
        );
        create table public.notes (
          favourite_id bigint references public.favourites (id) deferrable initially deferred
        );
        insert into public.favourites (document_id) select id from neural_search.documents;
        insert into public.notes select f.id
          from public.favourites as f join neural_search.documents as d on d.id = f.document_id
          where d.content = 'kept.png'
    """,
    "a deferred foreign key of another's name": """
        create table public.favourites (
          document_id bigint,
          constraint favoured foreign key (document_id) references neural_search.documents (id)
            deferrable initially deferred
        );
        create table public.others (document_id bigint, constraint favoured check (document_id > 0));
        insert into public.favourites select id from neural_search.documents where content = 'kept.png'
    """,
    "a deferred trigger on what would go with it": """
        create table public.favourites (
          document_id bigint references neural_search.documents (id) on delete cascade, content text
        );
        insert into public.favourites select id, content from neural_search.documents;
        create function public.refuse() returns trigger language plpgsql as $$
        begin
          if old.content = 'kept.png' then raise exception 'never'; end if;
          return old;
        end $$;
        create constraint trigger refuse after delete on public.favourites deferrable initially deferred
          for each row execute function public.refuse()
    """,
    "a trigger": """
        create function public.refuse() returns trigger language plpgsql as $$
        begin
          if old.content = 'kept.png' then raise exception 'never'; end if;
          return coalesce(new, old);
        end $$;
        create trigger refuse before update or delete on neural_search.documents
          for each row execute function public.refuse()
    """,
    "an assertion": """
        create function public.refuse() returns trigger language plpgsql as $$
        begin
          assert old.content <> 'kept.png', 'never';
          return coalesce(new, old);
        end $$;
        create trigger refuse before update or delete on neural_search.documents
          for each row execute function public.refuse()
    """,
}
RECONCILE = "select missing, stale, orphaned from public.reconcile_documents()"


@pytest.fixture(params=list(OWN))
def refused(request, db, make_document):
    """A document that can't be removed; its object's id."""
    kept = make_document("kept.png")
    db.execute(OWN[request.param])
    return kept


@pytest.fixture
def unheard(database):
    """Statements on Storage's tables whose events are lost."""
    with database.connect("supabase_admin") as platform:
        platform.execute("set session_replication_role = 'replica'")
        yield platform


def state(db, name):
    ((found,),) = db.execute("select state from public.object_states('images', array[%s])", [name])
    return found


def contents(db):
    return {name for (name,) in db.execute("select content from neural_search.documents")}


def test_an_overwritten_image_gets_its_job_and_its_old_document_stays_hidden(db, refused, make_object):
    make_object("kept.png")
    assert state(db, "kept.png") == "pending"
    found = db.execute("select from public.match_documents(%s)", [vector(1.0)]).fetchall()
    assert contents(db) == {"kept.png"} and found == []
    ((claimed,),) = db.execute("select count(*) from public.claim_object(%s, null)", [refused])
    assert claimed == 1


def test_an_overwritten_image_takes_the_place_of_a_document_that_a_key_points_to(
    db, make_document, make_object
):
    make_document("kept.png")
    db.execute(OWN["a foreign key"])
    overwritten = make_object("kept.png")
    assert finish(db, overwritten, vector(0.0, 1.0)) == "embedded"
    assert state(db, "kept.png") == "searchable"


def test_a_removed_image_is_hidden_though_its_document_stays(db, refused, unheard):
    unheard.execute("delete from storage.objects where id = %s", [refused])
    assert db.execute(RECONCILE).fetchone() == (0, 0, 0)
    assert contents(db) == {"kept.png"}
    assert db.execute("select from public.match_documents(%s)", [vector(1.0)]).fetchall() == []


def test_reconciliation_repairs_all_but_the_refused(db, refused, unheard, make_document):
    others = [make_document(f"{n}.png") for n in range(5)]
    unheard.execute(
        "update storage.objects set version = 'new' where id = %s or id = %s", [refused, others[0]]
    )
    unheard.execute("delete from storage.objects where id = any (%s)", [others[1:3]])
    unheard.execute("update storage.objects set owner_id = 'somebody' where id = %s", [others[3]])
    unheard.execute(
        "insert into storage.objects (bucket_id, name, version) values ('images', 'lost.png', '1')"
    )
    warnings = []
    db.add_notice_handler(lambda notice: warnings.append(notice.message_primary))

    assert db.execute(RECONCILE).fetchone() == (3, 2, 2)
    assert contents(db) == {"kept.png", "3.png", "4.png"}
    assert [state(db, name) for name in ("kept.png", "0.png", "lost.png")] == ["pending"] * 3
    owner = "select owner_id from neural_search.documents where content = '3.png'"
    assert db.execute(owner).fetchone() == ("somebody",)
    assert len(warnings) == 1 and "could not remove 1 of 4 documents, as of document" in warnings[0]


def test_many_refused_ones_leave_room_for_others(db, make_document, unheard):
    ((definition,),) = db.execute("select pg_get_functiondef('public.reconcile_documents'::regproc)")
    assert definition.count(":= 10000") == 1
    db.execute(definition.replace(":= 10000", ":= 10"))
    ids = [make_document(f"{n}.png") for n in range(12)]
    db.execute("""
        create table public.favourites (document_id bigint references neural_search.documents (id));
        insert into public.favourites select id from neural_search.documents
    """)
    other = make_document("other.png")
    unheard.execute("delete from storage.objects where id = any (%s)", [ids])
    unheard.execute("update storage.objects set owner_id = 'somebody' where id = %s", [other])
    assert any(db.execute(RECONCILE).fetchone() == (0, 1, 0) for _ in range(50))


def test_reconciliation_copies_columns_to_all_but_the_refused(db, make_document, unheard):
    ids = [make_document(f"{n}.png") for n in range(5)]
    db.execute("alter table neural_search.documents add constraint own check (metadata <> '{\"n\": 3}')")
    for n, object_id in enumerate(ids):
        unheard.execute(
            "update storage.objects set user_metadata = %s where id = %s", [Jsonb({"n": n}), object_id]
        )
    assert db.execute(RECONCILE).fetchone() == (0, 4, 0)
    copied = "select metadata -> 'n' from neural_search.documents order by content"
    assert [n for (n,) in db.execute(copied)] == [0, 1, 2, None, 4]


def test_an_image_that_no_decoder_takes_any_more_ends_its_job(db, refused):
    with as_role(db, "service_role"):
        db.execute("select public.backfill_documents(decoder_before => 1)")
    db.execute(
        "insert into neural_search.jobs (object_id, model, version, lease_id)"
        " select object_id, model, object_version, gen_random_uuid() from neural_search.documents"
    )
    ended = db.execute(
        "select public.fail_embedding_job(j.object_id, j.model, j.lease_id, 'skipped', 'CorruptImage', '', 2)"
        " from neural_search.jobs as j"
    ).fetchone()
    assert ended == ("skipped",)


def test_trouble_of_the_database_is_no_refusal(database, db, make_document):
    make_document("a.png")
    with database.connect() as blocker, blocker.transaction():
        blocker.execute("select from neural_search.documents for update")
        db.execute("set lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            db.execute("select neural_search.remove_documents(array_agg(id)) from neural_search.documents")


# Events of another role's own. Before PostgreSQL 18 `set constraints … immediate` runs them as who says it.
BAIT = {
    "a trigger": """
        create table public.bait (id bigint);
        create constraint trigger favoured after insert on public.bait deferrable initially deferred
          for each row execute function public.note();
        insert into public.bait values (1)
    """,
    "an expression": """
        create table public.bait (
          id bigint, constraint favoured exclude (public.noted(id) with =) deferrable initially deferred
        );
        insert into public.bait values (1), (1)
    """,
    "an expression behind documents": """
        create table public.bait (
          id bigint, document_id bigint references public.favourites on delete cascade,
          constraint mine exclude (public.noted(id) with =) deferrable initially deferred
        );
        insert into public.bait values (1), (1)
    """,
}


@pytest.mark.parametrize("bait", BAIT.values(), ids=BAIT)
def test_nothing_of_another_role_runs_as_the_owner_by_its_name_or_place(database, db, make_document, bait):
    """A constraint is addressed by name, with all others of its name in its schema."""
    make_document("kept.png")
    db.execute("""
        create table public.favourites (
          document_id bigint primary key,
          constraint favoured foreign key (document_id) references neural_search.documents (id)
            on delete cascade deferrable initially deferred
        );
        create table public.loot (as_whom text);
        grant insert on public.loot to public;
        grant references on public.favourites to authenticated;
    """)
    with database.connect("supabase_admin") as admin:
        admin.execute("grant create on schema public to authenticated")
    with database.connect("supabase_storage_admin") as storage, storage.transaction():
        storage.execute("""
            set local role authenticated;
            create function public.take() returns void language sql as
            $$ insert into public.loot values (current_user) $$;
            create function public.noted(id bigint) returns bigint language plpgsql immutable as
            $$ begin perform public.take(); return id; end $$;
            create function public.note() returns trigger language plpgsql as
            $$ begin perform public.take(); return null; end $$;
        """)
        storage.execute(bait)
        storage.execute("""
            set local role supabase_storage_admin;
            update storage.objects set version = 'new' where name = 'kept.png';
            set local role authenticated;
            delete from public.bait;
            set constraints all immediate;
        """)
    assert {role for (role,) in db.execute("select as_whom from public.loot")} == {"authenticated"}
    assert contents(db) == set()


def test_a_bucket_is_taken_out_of_the_search_but_for_the_refused(db, refused, make_document):
    make_document("a.png")
    assert db.execute("select public.unindex_bucket('images')").fetchone() == (1,)
    assert contents(db) == {"kept.png"}
    assert db.execute("select count(*) from neural_search.indexed_buckets").fetchone() == (0,)


def test_a_retired_model_loses_all_but_the_refused_and_what_holds_it_is_told(db, make_document):
    make_document("kept.png")
    make_document("a.png")
    db.execute(OWN["a foreign key"])
    db.execute("update neural_search.models set state = 'standby'")
    assert db.execute("select * from public.remove_model(%s)", [MODEL]).fetchone() == (1, False)
    assert contents(db) == {"kept.png"}
    with pytest.raises(psycopg.errors.ForeignKeyViolation, match="favourites"):
        db.execute("select public.remove_model(%s)", [MODEL])


@pytest.mark.parametrize("deferral", ["", "deferrable initially deferred"])
def test_a_moved_image_is_hidden_until_its_document_may_follow(db, make_document, make_object, deferral):
    make_document("kept.png")
    db.execute(f"""
        create table public.photos (bucket text, name text, primary key (bucket, name));
        insert into public.photos values ('images', 'kept.png');
        alter table neural_search.documents add constraint of_photo
          foreign key (bucket_id, content) references public.photos {deferral};
    """)
    db.execute("update storage.objects set name = 'moved.png', version = 'moved'")
    assert db.execute("select name from storage.objects").fetchall() == [("moved.png",)]
    assert db.execute("select from public.match_documents(%s)", [vector(1.0)]).fetchall() == []
    assert state(db, "moved.png") == "pending"


def test_a_moved_image_is_hidden_until_rows_that_its_document_changes_may_follow(db, make_document):
    make_document("kept.png")
    db.execute("""
        create table public.photos (name text primary key);
        insert into public.photos values ('kept.png');
        alter table neural_search.documents add constraint one_name unique (content);
        create table public.favourites (
          name text references neural_search.documents (content) on update cascade,
          foreign key (name) references public.photos deferrable initially deferred
        );
        insert into public.favourites values ('kept.png');
    """)
    db.execute("update storage.objects set name = 'moved.png', version = 'moved'")
    assert db.execute("select name from storage.objects").fetchall() == [("moved.png",)]
    assert db.execute("select name from public.favourites").fetchall() == [("kept.png",)]


def test_many_refusals_take_few_steps(db, make_document):
    ids = [make_document(f"{n}.png") for n in range(8)]
    db.execute(OWN["a foreign key"].replace("= 'kept.png'", "<> '7.png'"))
    removal = db.execute(
        "select cardinality(c.changed), c.refused from neural_search.change_documents("
        "  'with removed as (delete from neural_search.documents as d where d.id = any ($1) returning d.id)"
        "  select array_agg(r.id) from removed as r',"
        "  array(select id from neural_search.documents order by id), most_refused => 3) as c"
    )
    assert removal.fetchone() == (0, 3)
    assert len(contents(db)) == len(ids)
