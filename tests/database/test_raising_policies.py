"""The objects that callers may see are read at once though a policy raises for some objects, however many."""

from __future__ import annotations

import itertools
import json
import random
import re

import psycopg
import pytest
from support.databases import as_role, clone, make_crowd

ROWS = 600
ME = "00000000-0000-4000-8000-000000000001"
OTHER = "00000000-0000-4000-8000-000000000002"
QUERY = json.dumps([1.0] * 8)
RAISING = {
    "none": lambda n: False,
    "the first": lambda n: n == 0,
    "the last": lambda n: n == ROWS - 1,
    "some beside each other": lambda n: 200 <= n < 260,
    "every other": lambda n: n % 2 == 1,
    "all but every hundredth": lambda n: n % 100 > 0,
    "all": lambda n: True,
}


@pytest.fixture(scope="module")
def crowd(cluster, template):
    """Objects in the folders of two users, a tenth in mine."""
    numbers = random.Random(0)
    owners = [OTHER if n % 10 else ME for n in range(ROWS)]
    with clone(cluster, template) as database:
        make_crowd(
            database,
            [[numbers.gauss(0, 1) for _ in range(8)] for _ in range(ROWS)],
            names=[f"{owner}/{n}.png" for n, owner in enumerate(owners)],
            owners=owners,
        )
        yield database


@pytest.fixture
def connection(crowd):
    """As a superuser; a test's changes are gone after it."""
    with crowd.connect("supabase_admin") as connection, connection.transaction(force_rollback=True):
        connection.execute("set local session_replication_role = 'replica'")
        connection.execute('drop policy "Demo: everybody may use images" on storage.objects')
        connection.execute("""
            create policy own on storage.objects for select to authenticated
              using ((storage.foldername(name))[1]::uuid = auth.uid())
        """)
        yield connection


def make_raising(connection, chosen):
    """Moves these objects into a folder that is no uuid."""
    numbers = [n for n in range(ROWS) if chosen(n)]
    for table, name, number in (
        ("storage.objects", "name", "version::integer"), ("neural_search.documents", "content", "byte_size")
    ):  # fmt: skip
        connection.execute(
            f"update {table} set {name} = 'secret/' || {number} || '.png' where {number} = any (%s)",
            [numbers],
        )
    # An update has put them at the table's end; back into the order of their numbers.
    connection.execute("cluster storage.objects using objects_pkey")
    return set(range(ROWS)) - set(numbers)


def visible(connection):
    rows = connection.execute("select id from neural_search.visible_objects() as id").fetchall()
    return [one.int - 1 for (one,) in rows]


def search(connection, count=1000):
    return connection.execute(
        "select content, similarity from public.match_documents(%s, -1, %s)", [QUERY, count]
    ).fetchall()


@pytest.mark.parametrize("raising", RAISING)
def test_exactly_the_own_objects_are_visible_beside_those_that_a_policy_raises_for(connection, raising):
    kept = make_raising(connection, RAISING[raising])
    with as_role(connection, "authenticated", {"sub": ME}):
        assert sorted(visible(connection)) == sorted(n for n in kept if n % 10 == 0)
        connection.execute("reset role")


@pytest.mark.parametrize("raising", RAISING)
def test_a_search_finds_the_same_whether_others_objects_raise_or_not(connection, raising):
    with as_role(connection, "authenticated", {"sub": ME}):
        whole = search(connection)
        few = search(connection, 5)
        connection.execute("reset role")
    make_raising(connection, lambda n: n % 10 and RAISING[raising](n))
    with as_role(connection, "authenticated", {"sub": ME}):
        assert search(connection) == whole
        assert search(connection, 5) == few
        connection.execute("reset role")
    assert len(whole) == ROWS / 10


def test_objects_behind_a_gap_of_deleted_ones_are_visible(connection):
    make_raising(connection, lambda n: n % 7 == 0)
    connection.execute("delete from storage.objects where version::integer between 20 and 580")
    remaining = [n for n in (*range(20), *range(581, ROWS)) if n % 7]
    with as_role(connection, "authenticated", {"sub": ME}):
        assert sorted(visible(connection)) == [n for n in remaining if n % 10 == 0]
        connection.execute("reset role")


def test_what_is_archived_or_deleted_is_not_visible(connection):
    connection.execute("update storage.objects set archived_at = now() where version = '0'")
    connection.execute("update storage.objects set is_delete_marker = true where version = '10'")
    with as_role(connection, "authenticated", {"sub": ME}):
        assert {0, 10}.isdisjoint(visible(connection))
        connection.execute("reset role")


def test_objects_are_visible_in_a_project_older_than_these_columns(connection):
    connection.execute("alter table storage.objects drop column archived_at, drop column is_delete_marker")
    with as_role(connection, "authenticated", {"sub": ME}):
        assert len(visible(connection)) == ROWS / 10
        connection.execute("reset role")


def test_whoever_may_see_nothing_sees_nothing(connection):
    make_raising(connection, RAISING["every other"])
    with as_role(connection, "anon"):
        assert visible(connection) == []
        connection.execute("reset role")


def test_no_message_names_what_a_policy_raises_for(connection):
    make_raising(connection, RAISING["every other"])
    notices = []
    connection.add_notice_handler(lambda notice: notices.append(notice.message_primary))
    connection.execute("set local client_min_messages = 'debug1'")
    with as_role(connection, "authenticated", {"sub": ME}):
        visible(connection)
        assert search(connection)
        connection.execute("reset role")
    assert not [message for message in notices if re.search(r"secret|\d+\.png", message)]


FAILING = {  # how a policy's function fails on one object
    "42501": "raise exception 'secret' using errcode = '42501'",
    "23514": "perform name::public.odd_name",
    "42P01": "perform 'no_such_table'::regclass",
    "28000": "raise exception 'secret' using errcode = '28000'",
    "54000": "raise exception 'secret' using errcode = '54000'",
    "0A000": "raise exception 'secret' using errcode = '0A000'",
    "XX000": "raise exception 'secret' using errcode = 'XX000'",
    "PT403": "raise exception 'secret' using errcode = 'PT403'",
    "22P02": "perform name::uuid",
    "P0004": "assert false, name",
}
BROKEN_OFF = ("08006", "40001", "53100", "57P03", "55P03", "57014")  # the database's own trouble


def make_failing(connection, failure):
    """A policy that shows my objects, and fails on objects in the folder secret."""
    connection.execute("create domain public.odd_name as text check (value = 'odd')")
    connection.execute(f"""
        create function public.is_mine(name text) returns boolean language plpgsql stable as $$
        begin
          if name ^@ 'secret/' then {failure}; end if;
          return name ^@ '{ME}/';
        end
        $$
    """)
    connection.execute("alter policy own on storage.objects using (public.is_mine(name))")
    make_raising(connection, lambda n: n in (11, 22, 33))


@pytest.mark.parametrize("code", FAILING)
def test_whatever_a_policy_fails_with_hides_that_object_alone(connection, code):
    make_failing(connection, FAILING[code])
    told = []
    connection.add_notice_handler(lambda notice: told.append(notice.message_primary or ""))
    connection.execute("set local client_min_messages = 'log'")
    with as_role(connection, "authenticated", {"sub": ME}):
        assert len(search(connection)) == ROWS / 10
        states = connection.execute(
            "select state from public.object_states('images', array['secret/11.png', 'secret/none.png'])"
        ).fetchall()
        assert states == [("unknown",), ("unknown",)]
        assert connection.execute(
            "select count(*) from public.get_embeddings(names => array['secret/11.png'])"
        ).fetchone() == (0,)
        connection.execute("reset role")
    assert [line for line in told if re.search(rf"hid objects .* times, the last with SQLSTATE {code}", line)]
    assert not any("secret" in line for line in told)


@pytest.mark.parametrize("code", BROKEN_OFF)
def test_trouble_of_the_database_ends_the_search_in_our_own_words(connection, code):
    make_failing(
        connection, f"raise exception '%', name using errcode = '{code}', detail = name, hint = name"
    )
    for call in ("match_documents(%s, -1, 1000)", "object_states('images', array['secret/11.png', %s])"):
        with (
            pytest.raises(psycopg.Error, match=f"broke off the search .SQLSTATE {code}") as caught,
            connection.transaction(),
            as_role(connection, "authenticated", {"sub": ME}),
        ):
            connection.execute(f"select from public.{call}", [QUERY])
        # Class 40 would have PostgREST try again for ever.
        assert caught.value.sqlstate == ("53000" if code.startswith("40") else code)
        assert "secret" not in str(caught.value) + str(caught.value.diag.message_detail)


def test_a_caller_who_lacks_a_privilege_that_a_policy_needs_sees_nothing_and_is_told_nothing(connection):
    connection.execute("create table public.members (id text)")
    connection.execute("""
        create policy members on storage.objects for select to authenticated
          using (owner_id in (select m.id from public.members as m))
    """)
    with as_role(connection, "authenticated", {"sub": OTHER}):
        assert (visible(connection), search(connection)) == ([], [])
        for call in (
            "get_embeddings(array[1])", "list_fingerprints()", "confirm_duplicates(array[1], array[1])",
            "recommend_documents('[{\"embedding\": [1,1,1,1,1,1,1,1]}]')",
            "match_documents('[1,1,1,1,1,1,1,1]', filter => '{\"bucket\": \"images\"}')",
            "search_documents('[1,1,1,1,1,1,1,1]', 'secret')",
            "search_documents('[1,1,1,1,1,1,1,1]', null, collapse => 'duplicates')",
            "search_documents('[1,1,1,1,1,1,1,1]', null, diversity => 0.5)",
        ):  # fmt: skip
            assert connection.execute(f"select count(*) from public.{call}").fetchone() == (0,)
        connection.execute("reset role")


def test_a_policy_that_fails_for_the_caller_before_any_object_hides_all_and_is_not_told(connection):
    """The planner calls a stable function, and a session keeps plans that it made for others."""
    connection.execute("alter policy own on storage.objects using (owner_id = auth.uid()::text)")
    calls = (
        f"get_embeddings(names => array['{ME}/0.png'])", "list_fingerprints()",
        "recommend_documents('[{\"embedding\": [1,1,1,1,1,1,1,1]}]', collapse => 'duplicates')",
        "match_documents('[1,1,1,1,1,1,1,1]')",
        "search_documents('[1,1,1,1,1,1,1,1]', 'secret', diversity => 0.5)",
    )  # fmt: skip
    counts = {}
    for sub in (ME, "no-uuid"):
        with as_role(connection, "authenticated", {"sub": sub}):
            for call in calls:
                (counts[sub, call],) = connection.execute(f"select count(*) from public.{call}").fetchone()
            connection.execute("reset role")
    assert all(counts[ME, call] > 0 for call in calls)
    assert not any(counts["no-uuid", call] for call in calls)


@pytest.mark.parametrize("operation", ["", "storage.object.list"])
def test_policies_are_asked_as_by_a_download_and_the_operation_is_restored(connection, operation):
    connection.execute("drop policy own on storage.objects")
    connection.execute("""
        create policy download on storage.objects for select to authenticated using (
          storage.operation() = 'storage.object.get_authenticated'
          and (storage.foldername(name))[1]::uuid = auth.uid()
        )
    """)
    make_raising(connection, lambda n: n == 1)
    with as_role(connection, "authenticated", {"sub": ME}):
        connection.execute("select set_config('storage.operation', %s, true)", [operation])
        assert len(visible(connection)) == ROWS / 10
        assert connection.execute("select storage.operation()").fetchone() == (operation,)
        connection.execute("reset role")


def test_what_everybody_may_find_is_found_beside_it(connection):
    """A policy raises for objects of public_search too, which are found all the same, once."""
    make_raising(connection, RAISING["every other"])
    connection.execute("update storage.buckets set public = true, created_at = '2000-01-01'")
    connection.execute("update neural_search.buckets set public_search = true")
    with as_role(connection, "authenticated", {"sub": ME}):
        assert len(search(connection)) == ROWS
        connection.execute("reset role")


@pytest.mark.parametrize("prepared", ["", "off", "on"])
@pytest.mark.parametrize("operation", ["", "storage.object.list", "storage.object.get_authenticated"])
def test_settings_made_by_hand_show_nothing_that_may_be_listed_alone(connection, operation, prepared):
    connection.execute("drop policy own on storage.objects")
    connection.execute("""
        create policy listing on storage.objects for select to authenticated
          using (storage.operation() = 'storage.object.list'
            or current_setting('request.method', true) = 'POST')
    """)
    with as_role(connection, "authenticated", {"sub": ME}):
        for name, setting in {
            "storage.operation": operation, "neural_search.prepared": prepared, "request.method": "POST"
        }.items():  # fmt: skip
            connection.execute("select set_config(%s, %s, true)", [name, setting])
        assert connection.execute("select count(*) from neural_search.documents").fetchone() == (0,)
        connection.execute("reset role")


@pytest.mark.parametrize("operation", ["", "storage.object.list", "storage.object.get_authenticated"])
@pytest.mark.parametrize("raises", [False, True])
def test_settings_made_by_hand_show_nobody_more(connection, operation, raises):
    """The faster way of the policy asks Storage's policies too; with one that fails, it fails or hides."""
    if raises:
        make_raising(connection, lambda n: n == 1)
    with as_role(connection, "authenticated", {"sub": ME}):
        connection.execute("select set_config('storage.operation', %s, true)", [operation])
        connection.execute("select set_config('neural_search.prepared', 'on', true)")
        try:
            with connection.transaction():
                owners = connection.execute(
                    "select distinct owner_id from neural_search.documents"
                ).fetchall()
        except psycopg.errors.InvalidTextRepresentation:
            assert raises
        else:
            assert owners == [(ME,)]
        found = {content.split("/")[0] for content, _ in search(connection)}
        assert found == {ME}
        connection.execute("reset role")


UNSTEADY = {  # calls, and the rows that they have where nothing fails
    "match_documents('[1,1,1,1,1,1,1,1]', -1)": 5,
    "match_documents('[1,1,1,1,1,1,1,1]', -1, filter => '{\"max_bytes\": 250}')": 2,
    "search_documents('[1,1,1,1,1,1,1,1]', 'png', 0.5, -1, diversity => 0.5)": 5,
    "recommend_documents('[{\"id\": 101}, {\"id\": 201}]', '[]', 'best_score')": 2,
    "recommend_documents('[{\"id\": 101}]', similarity_threshold => -1, collapse => 'duplicates')": 4,
    "get_embeddings(array[101, 201])": 2,
    "list_fingerprints()": 5,
    "confirm_duplicates(array[101], array[201])": 0,
    f"object_states('images', array['{ME}/100.png']) where state = 'searchable'": 1,
}


@pytest.mark.parametrize("call", UNSTEADY)
def test_a_policy_that_fails_now_and_then_tells_its_message_to_nobody(connection, call):
    """The planner calls a function that is said to be stable, in any of a search's statements."""
    connection.execute("""
        create sequence public.calls;
        create function public.unsteady() returns text language plpgsql stable as $$
        begin
          if nextval('public.calls') = current_setting('test.failing')::bigint then
            raise exception 'secret' using errcode = 'HV000';
          end if;
          return 'images';
        end $$;
        grant usage on sequence public.calls to authenticated;
        drop policy own on storage.objects;
        create policy unsteady on storage.objects for select to authenticated
          using (version like '%00' and bucket_id = public.unsteady())
    """)
    told = set()
    for failing in itertools.count(1):
        with as_role(connection, "authenticated", {"sub": ME}):
            connection.execute("select set_config('test.failing', %s, true)", [str(failing)])
            try:
                with connection.transaction():
                    rows = connection.execute(f"select from public.{call}").rowcount
            except psycopg.Error as error:
                told.add((error.sqlstate, "secret" in str(error)))
                rows = None
            connection.execute("reset role")
        (used,) = connection.execute("select last_value from public.calls").fetchone()
        connection.execute("select setval('public.calls', 1, false)")
        if used < failing:
            break
    assert rows == UNSTEADY[call]
    assert failing > 1
    assert told <= {("53000", False), ("PT404", False)}  # or an example was hidden


@pytest.mark.parametrize("rows", [10, 60])
@pytest.mark.parametrize(
    "condition", ["name::jsonb is not null", "name ~ owner_id", "name::public.whole is not null"]
)
def test_a_policy_that_looks_cheap_fails_for_no_other_object_of_a_small_table(database, rows, condition):
    """The planner would read all of it, and ask such a policy about each row before our own condition."""
    names = [str(n) for n in range(rows)]
    names[rows // 2] = "(["  # neither JSON nor a regular expression
    make_crowd(database, [[1.0] * 8] * rows, names, owners=["([" if name == "([" else "" for name in names])
    listed = f"'{{{','.join(map(str, range(rows)))}}}'"
    with database.connect("supabase_admin") as connection:
        connection.execute('drop policy "Demo: everybody may use images" on storage.objects')
        connection.execute("create domain public.whole as text check (value <> '([')")
        connection.execute("create policy everything on storage.objects for select to anon using (true)")
        connection.execute(f"create policy strict on storage.objects as restrictive using ({condition})")
        with as_role(connection, "anon"):
            assert len(visible(connection)) == rows - 1
            assert len(search(connection)) == rows - 1
            for call in (
                f"object_states('images', {listed}) where state = 'searchable'",
                f"get_embeddings(names => {listed})",
                "list_fingerprints()",
            ):
                assert connection.execute(f"select count(*) from public.{call}").fetchone() == (rows - 1,)
