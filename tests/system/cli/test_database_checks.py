"""`doctor`'s findings in the database, each check by itself."""

from __future__ import annotations

import re

import psycopg
import pytest
from support.databases import as_role
from support.waiting import eventually

from cli.checks import schema as checks
from cli.checks import session_settings
from cli.checks.schedules import schedules
from cli.installer import cron_jobs, grants, migrations, releases
from cli.installer.connection import connect
from cli.installer.vault import EMBED_URL, WEBHOOK_SECRET
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


ME, OTHER = (f"00000000-0000-4000-8000-{number:012}" for number in (1, 2))


def test_where_nobody_sees_an_image_a_slip_is_looked_for_and_the_remedy_opens_each_owners_own_alone(
    target, database, make_document
):
    with database.connect() as connection:
        connection.execute("select public.index_bucket('albums')")
        for (name,) in connection.execute(
            "select policyname from pg_policies where schemaname = 'storage' and tablename = 'objects'"
        ).fetchall():
            connection.execute(f'drop policy "{name}" on storage.objects')
        make_document("mine.png", bucket="albums", owner_id=ME)
        with pytest.raises(DatabaseError, match=r"find nothing\. To show signed-in users their own: create"):
            checks.policies(target)
        connection.execute("create policy slip on storage.objects for select using (owner_id = auth.email())")
        with pytest.raises(DatabaseError, match=r"policies that are there: slip\. To show") as told:
            checks.policies(target)
        connection.execute(re.search("create policy .*;", str(told.value))[0])
        seen = "select name from storage.objects where bucket_id = 'albums'"
        for user, names in ((ME, [("mine.png",)]), (OTHER, [])):
            with as_role(connection, "authenticated", {"sub": user}):
                assert connection.execute(seen).fetchall() == names


def trips(monkeypatch, check):
    """The number of round trips to the database."""
    with monkeypatch.context() as counting:
        waits = []
        wait = psycopg.Connection.wait
        counting.setattr(
            psycopg.Connection,
            "wait",
            lambda self, *given, **named: waits.append(1) or wait(self, *given, **named),
        )
        check()
    return len(waits)


def test_the_policies_are_asked_once_for_each_caller_not_for_each_image(
    target, database, make_document, monkeypatch
):
    with database.connect() as connection:
        connection.execute("select public.index_bucket('albums')")

    def add(numbers, owner):
        for number in numbers:
            make_document(f"{number}.png")
            make_document(f"{number}.png", bucket="albums", owner_id=f"00000000-0000-4000-8000-{owner:012}")
        return trips(monkeypatch, lambda: checks.policies(target))

    few = add(range(1), owner=1)
    assert add(range(1, 9), owner=1) == few
    assert (
        add(range(9, 10), owner=2) <= few + 5
    )  # a transaction: its beginning, two settings, the question, its end
    assert checks.policies(target) == "of 20 images anon sees 10, their signed-in owners 20"


def test_a_policy_that_fails_on_one_image_of_many_is_named_with_it(target, database, make_document):
    for number in range(4):
        make_document(f"{number}.png")
    make_document("odd.png")
    with database.connect() as connection:
        connection.execute("""
            create policy broken on storage.objects for select to anon
              using (split_part(name, '.', 1)::integer > 9)
        """)
    with pytest.raises(DatabaseError, match=r"\('broken'\) fails for images/odd.png as anon \(22P02"):
        checks.policies(target)


@pytest.mark.parametrize(
    ("code", "told"),
    [("53100", "disk is full.* Make room"), ("53200", "refused.*53200"), ("57P01", "57P01")],
    ids=["disk full", "out of memory", "shutting down"],
)
def test_no_policy_is_blamed_for_the_databases_own_trouble(target, database, make_document, code, told):
    make_document("a.png")
    with database.connect("supabase_admin") as platform:
        platform.execute(f"""
            create function public.troubled() returns boolean language plpgsql as
              'begin raise exception ''no'' using errcode = ''{code}''; end';
            create policy mine on storage.objects as restrictive for select using (public.troubled())
        """)
    with pytest.raises(DatabaseError, match=told) as caught:
        checks.policies(target)
    assert "policy" not in str(caught.value)


def test_a_project_whose_policies_show_nothing_to_anybody_is_told_the_missing_one(
    target, database, make_document
):
    make_document("a.png")
    with database.connect() as connection:
        connection.execute('drop policy "Demo: everybody may use images" on storage.objects')
    with pytest.raises(DatabaseError, match=r"anon sees none.* If everybody should .* to anon using \(b"):
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


def test_a_policys_function_cant_act_as_the_operator(target, database, make_document):
    make_document("open.png")
    with database.connect("supabase_admin") as platform:
        platform.execute("""
            create function public.climb() returns boolean language sql as $$
              select set_config('role', 'none', true) is not null
            $$;
            create policy climbing on storage.objects as restrictive for select using (public.climb());
        """)
    with pytest.raises(DatabaseError, match=r"'climbing'\) fails for images/open\.png .*42501.*\"role\""):
        checks.policies(target)


@pytest.mark.parametrize(
    ("statements", "view", "roles"),
    [
        ("grant select on public.documents to anon", "public.documents", "anon"),
        ("grant select (id) on public.documents to authenticated", "public.documents", "authenticated"),
        (
            "create view public.gallery with (security_invoker) as select id from neural_search.documents;"
            " create view public.titles as select id from public.gallery;"
            " revoke all on public.gallery, public.titles from anon, authenticated;"
            " grant select on public.titles to anon, authenticated",
            "public.titles", "anon and authenticated",
        ),
        (
            "create function public.my_images() returns setof bigint language sql stable"
            " as 'select id from neural_search.documents'",
            r"public\.my_images\(\)", "anon and authenticated",
        ),
        (
            "create function public.my_images() returns table (id bigint) stable"
            " begin atomic select d.id from neural_search.documents as d; end",
            r"public\.my_images\(\)", "anon and authenticated",
        ),
        (
            "create schema inner_app; create view inner_app.gallery with (security_invoker) as"
            " select id from neural_search.documents; grant select on inner_app.gallery to anon;"
            "create function public.my_images() returns table (id bigint) stable"
            " begin atomic select g.id from inner_app.gallery as g; end",
            r"public\.my_images\(\)", "anon and authenticated",
        ),
        (
            "create schema inner_app; create function inner_app.docs() returns table (id bigint)"
            " language sql stable as 'select id from neural_search.documents';"
            "create view public.gallery with (security_invoker) as select id from inner_app.docs();"
            "revoke all on public.gallery from authenticated; grant select on public.gallery to anon",
            "public.gallery", "anon",
        ),
        (
            'create schema "inner(app"; create function "inner(app".docs() returns table (id bigint)'
            " language sql stable as 'select id from neural_search.documents';"
            "create function public.my_images() returns table (id bigint) language sql stable"
            """ as 'select d.id from "inner(app".docs() as d'""",
            r"public\.my_images\(\)", "anon and authenticated",
        ),
    ],
)  # fmt: skip
def test_what_tells_of_hidden_documents_by_planned_counts_is_named(target, database, statements, view, roles):
    assert checks.exposure(target) == "no view of documents is open to callers"
    with database.connect() as connection:
        connection.execute(statements)
    with pytest.raises(DatabaseError, match=rf"may be read: {view} by {roles}\. .*count=planned"):
        checks.exposure(target)


def test_a_function_over_a_table_of_such_a_name_is_not_named(target, database):
    with database.connect() as connection:
        connection.execute("create schema app")
        connection.execute("create table app.words (id bigint, documents text)")
        connection.execute(
            "create function public.list_words() returns setof app.words language sql stable"
            " as 'select * from app.words where documents > '''''"
        )
        connection.execute(
            "create function public.count_images() returns table (n bigint) language sql stable"
            " as 'select count(*) from public.documents'"  # which is the service's alone
        )
    assert checks.exposure(target) == "no view of documents is open to callers"


def test_a_function_that_the_planner_does_not_open_is_not_named(target, database):
    with database.connect() as connection:
        connection.execute(
            "create function public.my_images() returns setof bigint language sql stable set search_path = ''"
            " as 'select id from neural_search.documents'"
        )
    assert checks.exposure(target) == "no view of documents is open to callers"


CHANGES = {
    "a policy": "create policy open on neural_search.documents for select using (true)",
    "a policy for users": (
        "create policy open on neural_search.documents for select to authenticated using (true)"
    ),
    "a definer": "alter function neural_search.can_see(uuid, text) security definer",
    "no row security": "alter table neural_search.documents disable row level security",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_documents_that_strangers_are_shown_against_the_policies_are_named(
    target, database, make_document, change
):
    with database.connect() as connection:
        connection.execute("select public.index_bucket('albums')")
    make_document("own.png", bucket="albums", owner_id="00000000-0000-4000-8000-000000000001")
    assert checks.policies(target) == "of 1 images anon sees 0, their signed-in owners 1"
    with database.connect() as connection:
        connection.execute(change)
    with pytest.raises(
        DatabaseError, match=r"shows (anon|authenticated) albums/own\.png, which the policies"
    ):
        checks.policies(target)


def test_images_that_everybody_may_find_are_shown_to_strangers_rightly(target, database, make_document):
    with database.connect() as connection:
        connection.execute("update storage.buckets set public = true where id = 'albums'")
        connection.execute("select public.index_bucket('albums', public_search => true)")
    make_document("own.png", bucket="albums", owner_id="00000000-0000-4000-8000-000000000001")
    assert checks.policies(target) == "of 1 images anon sees 0, their signed-in owners 1"


GRANTS = {
    CHANGES["a policy"]: "documents has the policy 'open'",
    CHANGES["a definer"]: r"neural_search\.can_see\(uuid,text\) runs as its owner",
    CHANGES["no row security"]: r"neural_search\.documents has no row level security",
    "alter function public.list_fingerprints security definer": r"list_fingerprints\(.*\) runs as its owner",
    "grant insert, delete on neural_search.documents to anon": r"documents may .* by anon \(delete, insert\)",
    "grant select on neural_search.jobs to authenticated": r"jobs may be used by authenticated \(select\)",
    "grant select on neural_search.jobs to public": r"jobs may be used by public \(select\)",
    "grant insert (content) on neural_search.documents to anon": (
        r"documents \(column content\) may be used by anon \(insert\)"
    ),
    "grant select (name) on neural_search.models to anon": r"models \(column name\) .* by anon \(select\)",
    "grant delete on public.documents to anon": r"public\.documents may be used by anon \(delete\)",
    "grant usage on all sequences in schema neural_search to anon": r"documents_id_seq .* by anon \(usage\)",
    "grant all on schema neural_search to anon": r"schema neural_search may be used by anon \(create\)",
    "grant execute on all functions in schema public to anon": (
        r"add_model\([\w, ]*\) may be used by anon \(execute\)"
    ),
    "grant execute on all functions in schema neural_search to authenticated": (
        r"neural_search\.attach\(\) may be used by authenticated \(execute\).* more\. "
    ),
    "grant execute on function neural_search.can_see to public": r"can_see\(uuid,text\) .* by public",
    'alter policy "As the policy on documents says" on neural_search.words using (true)': (
        "words has the policy 'As the policy on documents says', which was changed"
    ),
    'alter policy "As the policies on storage.objects say" on neural_search.documents using (true)': (
        "documents has the policy 'As the policies on storage.objects say', which was changed"
    ),
    'alter policy "As the policy on documents says" on neural_search.words to public': "words has .* changed",
    'create policy "As the policy on documents says" on neural_search.jobs using (true)': "jobs has",
}
NARROWER = {
    "a restrictive policy": (
        "create policy mine on neural_search.documents as restrictive for select to anon using (id > 9)"
    ),
    "a policy for the owner": (
        "create policy mine on neural_search.documents for select to postgres using (true)"
    ),
    "anon shut out": "revoke execute on function public.active_model from anon",
    "anon kept from documents": "revoke select on neural_search.documents from anon",
    "anon kept out by the policy": (
        'alter policy "As the policy on documents says" on neural_search.words to authenticated'
    ),
    "anon kept out of the schema": "revoke usage on schema neural_search from anon",
    "the service's": "create policy mine on neural_search.jobs to service_role using (true)",
}


@pytest.mark.parametrize(("change", "named"), GRANTS.items())
def test_rights_beyond_the_installed_are_named(target, database, change, named):
    assert "no more" in checks.rights(target)
    with database.connect() as connection:
        connection.execute(change)
    with pytest.raises(DatabaseError, match=f"Not as installed: .*{named}"):
        checks.rights(target)


REDEFINED = {
    """
    create or replace function neural_search.is_public(target_object_id uuid, target_version text)
    returns boolean language plpgsql stable security definer set search_path = '' as 'begin return true; end'
    """: r"neural_search\.is_public\(uuid,text\) was changed",
    """
    create or replace function neural_search.on_object_change() returns trigger
    language plpgsql security definer set search_path = '' set lock_timeout = '200ms'
    as 'begin return null; end'
    """: r"neural_search\.on_object_change\(\) was changed",
    "alter function neural_search.can_see security definer": r"can_see\(uuid,text\) was changed",
    "alter function neural_search.can_see set search_path = public": r"can_see\(uuid,text\) was changed",
    "alter function neural_search.is_public reset search_path": r"is_public\(uuid,text\) was changed",
    "alter function neural_search.tidy volatile strict": r"tidy\(\) was changed",
    "alter function public.reconcile_documents owner to service_role": r"reconcile_documents\(\) was changed",
    "drop function neural_search.tidy": r"neural_search\.tidy is missing",
    """
    create function public.reconcile_documents(n integer default 0) returns void language sql as '';
    revoke execute on function public.reconcile_documents(integer) from public
    """: r"reconcile_documents\(integer\) isn't ours\. .* Rename or drop what",
}


LOST = {
    "revoke usage on schema neural_search from authenticated": "authenticated may not use neural_search",
    "revoke select on neural_search.words from authenticated": "may not use neural_search.words",
    "revoke execute on function neural_search.can_see from authenticated": "authenticated .*can_see",
    "revoke usage on schema neural_search from service_role": "service_role may not use neural_search",
    "revoke execute on function public.claim_embedding_jobs from service_role": (
        "service_role may not use public.claim_embedding_jobs"
    ),
    "revoke execute on function neural_search.act_as_storage from service_role": (
        r"service_role may not use neural_search\.act_as_storage \(execute\)"
    ),
    "revoke insert, delete on neural_search.documents from service_role": (
        r"service_role may not use neural_search\.documents \(delete, insert\)"
    ),
    "revoke select on neural_search.jobs from service_role": r"service_role .*\.jobs \(select\)",
    "revoke select on neural_search.backlog from service_role": r"service_role .*\.backlog \(select\)",
    "revoke usage on sequence neural_search.documents_id_seq from service_role": r"_id_seq \(usage\)",
    "revoke execute on all functions in schema public from service_role": "service_role .* and .* more",
}


@pytest.mark.parametrize(("change", "named"), LOST.items())
def test_rights_without_which_searches_or_work_fail_are_named_and_come_back(target, database, change, named):
    with database.connect() as connection:
        connection.execute(change)
        with pytest.raises(DatabaseError, match=f"Granted no more: .*{named}.*privileges.sql"):
            checks.rights(target)
        connection.execute((releases.SUPABASE / "sql" / "privileges.sql").read_bytes())
    assert "no more" in checks.rights(target)


def test_users_whom_the_operator_has_shut_out_lack_nothing(target, database):
    with database.connect() as connection:
        connection.execute("revoke execute on function public.active_model from authenticated")
        connection.execute("revoke usage on schema neural_search from authenticated")
    assert "no more" in checks.rights(target)


@pytest.mark.parametrize(("change", "named"), REDEFINED.items())
def test_functions_that_arent_as_installed_are_named(target, database, change, named):
    assert checks.definitions(target).endswith("functions are as installed")
    with database.connect("supabase_admin") as connection:
        connection.execute(change)
    with pytest.raises(DatabaseError, match=f"Not as installed: .*{named}"):
        checks.definitions(target)


def test_what_a_functions_cost_is_said_to_be_is_the_operators_own(target, database):
    with database.connect() as connection:
        connection.execute("alter function neural_search.can_see cost 5")
    assert "as installed" in checks.definitions(target)


def test_rights_are_compared_where_transactions_are_read_only_by_default(target, database):
    with database.connect() as connection:
        connection.execute(f'alter database "{database.name}" set default_transaction_read_only = on')
        assert "no more" in checks.rights(target)
        connection.execute(CHANGES["a policy"])
    with pytest.raises(DatabaseError, match="documents has the policy 'open'"):
        checks.rights(target)


def test_a_check_that_writes_says_that_the_database_is_read_only(target, database):
    with database.connect() as connection:
        for name in (EMBED_URL, WEBHOOK_SECRET):
            connection.execute("select vault.create_secret('http://127.0.0.1:9', %s)", [name])
        connection.execute(f'alter database "{database.name}" set default_transaction_read_only = on')
    with pytest.raises(DatabaseError, match=r"is read-only: .*Connect to the primary"):
        checks.kicks(target)


def test_a_trigger_on_pg_nets_queue_is_named_and_never_runs(target, database):
    with database.connect() as connection:
        for name in (EMBED_URL, WEBHOOK_SECRET):
            connection.execute("select vault.create_secret('http://127.0.0.1:9', %s)", [name])
        connection.execute("""
            create function public.take() returns trigger language plpgsql as
            $$ begin raise exception 'it ran'; end $$;
            create trigger taking before insert on net.http_request_queue
              for each row execute function public.take()
        """)
    with pytest.raises(DatabaseError, match=r"has a trigger.*: taking runs (public\.)?take\. .*cascade"):
        checks.kicks(target)


@pytest.fixture
def platform(database):
    """A superuser's connection, after which the server and all roles have the settings that they had."""
    with database.connect("supabase_admin") as connection:
        yield connection
        for name in ("default_transaction_isolation", "standard_conforming_strings"):
            connection.execute(f"alter role all reset {name}")
            usual = "read committed" if name.startswith("default") else "on"
            _alter(connection, f"alter system reset {name}", name, usual)


def _alter(connection, statement, name, value):
    """Waits for the server, whose own settings need a reload."""
    connection.execute(statement)
    if statement.startswith("alter system"):
        connection.execute("select pg_reload_conf()")
        eventually(lambda: connection.execute(f"show {name}").fetchone() == (value,))


def _remedy_in(message):
    [statement] = re.findall("`(alter .*)`", str(message))
    return statement


WHOSE = {
    'database "{}"': "the database",
    'role supabase_storage_admin in database "{}"': "the role supabase_storage_admin in database",
    "role all": "the project's roles",
    "system": "the server",
}


@pytest.mark.parametrize(("whose", "told"), WHOSE.items())
def test_transactions_in_which_nothing_is_called_are_named_with_their_remedy(
    target, database, platform, whose, told
):
    for secret in (EMBED_URL, WEBHOOK_SECRET):
        platform.execute("select vault.create_secret('http://127.0.0.1:9', %s)", [secret])
    name = "default_transaction_isolation"
    change = f"alter {whose.format(database.name)} set {name} = serializable"
    _alter(platform, change, name, "serializable")
    with pytest.raises(DatabaseError, match=rf"of {told}.* are serializable, .* nothing is called") as raised:
        checks.kicks(target)
    _alter(platform, _remedy_in(raised.value), name, "read committed")
    platform.execute("drop table net.http_request_queue")
    with pytest.raises(DatabaseError, match="pg_net isn't enabled"):
        checks.kicks(target)


def test_of_each_role_the_setting_that_counts_is_judged(database, monkeypatch):
    name = "default_transaction_isolation"

    def found(*roles):
        with connect(database.url()) as connection:
            return [tuple(one) for one in session_settings.given(connection, name, *roles)]

    with database.connect("supabase_admin") as connection:
        own = f'role authenticator in database "{database.name}"'
        connection.execute(f'alter database "{database.name}" set {name} = serializable')
        assert found("authenticator", "anon") == [(f"database {database.name}", "serializable")]
        connection.execute(f"alter {own} set {name} = 'read committed'")
        assert found("authenticator", "anon") == [(own.replace('"', ""), "read committed")]
        connection.execute(f'alter database "{database.name}" reset {name}')
    assert found("supabase_storage_admin") == [("system", "read committed")]
    monkeypatch.setenv("PGOPTIONS", f"-c {name}=serializable")
    assert found("supabase_storage_admin") == []


@pytest.mark.parametrize(
    "whose", ['database "{}"', 'role authenticated in database "{}"', "role all", "system"]
)
def test_strings_in_which_a_backslash_is_an_escape_are_named_with_their_remedy(
    target, database, platform, whose
):
    name = "standard_conforming_strings"
    _alter(platform, f"alter {whose.format(database.name)} set {name} = off", name, "off")
    with pytest.raises(DatabaseError, match=r"standard_conforming_strings is off for the") as told:
        checks.server(target)
    _alter(platform, _remedy_in(told.value), name, "on")
    assert checks.server(target).startswith("PostgreSQL")


@pytest.mark.parametrize("change", NARROWER.values(), ids=NARROWER)
def test_rights_narrower_than_the_installed_are_the_operators_own(target, database, change):
    with database.connect() as connection:
        connection.execute(change)
    assert "no more" in checks.rights(target)


@pytest.mark.parametrize(
    "value",
    [
        "db_schemas = 'public, neural_search'",
        *("db_plan_enabled = 'true'", "db_plan_enabled = '\"True\"'", "db_plan_enabled = '2'"),
    ],
)
def test_settings_by_which_plans_tell_of_hidden_images_are_named(target, database, value):
    role = f'alter role authenticator in database "{database.name}" set pgrst.'
    with database.connect("supabase_admin") as platform:
        platform.execute(f"{role}db_schemas = 'public, graphql_public'")
        platform.execute(f"{role}db_plan_enabled = 'none'")
        assert "no more" in checks.rights(target)
        platform.execute(f"{role}{value}")
    with pytest.raises(DatabaseError, match=rf"authenticator has pgrst\.{value.split(' ')[0]}="):
        checks.rights(target)


def test_secrets_in_vault_that_callers_may_read_are_named(target, database):
    with database.connect("supabase_admin") as platform:
        platform.execute(
            "grant usage on schema vault to anon; grant select on vault.decrypted_secrets to anon"
        )
    with pytest.raises(DatabaseError, match=r"vault\.decrypted_secrets may be used by anon"):
        checks.rights(target)


def test_the_rights_are_those_of_the_catalogues_test():
    from database.test_catalogue import CALLERS, DEFINERS, HELPERS

    assert set(grants.definers()) == DEFINERS
    functions = {f"EXECUTE {name}" for name in CALLERS | HELPERS}
    tables = {"SELECT neural_search.documents", "SELECT neural_search.words"}
    assert set(grants.opened()) == {"USAGE neural_search"} | tables | functions
    assert {policy.table for policy in grants.policies()} == {"documents", "words"}


TRIGGER = """
drop trigger neural_search_objects on storage.objects;
create trigger neural_search_objects after insert or update or delete on storage.objects
  for each {} execute function neural_search.on_object_change()
"""


TRIGGERS = {
    "disabled": ("alter table storage.objects disable trigger neural_search_objects", "Disabled"),
    "on a replica": ("alter table storage.objects enable replica trigger neural_search_objects", "Disabled"),
    "under a condition": (TRIGGER.format("row when (pg_trigger_depth() > 99)"), "under a condition"),
    "for statements": (TRIGGER.format("statement"), "not for each row"),
    "before": (TRIGGER.format("row").replace("after", "before"), "not for each row"),
    "of a column": (TRIGGER.format("row").replace("update", "update of name"), "under a condition"),
    "for some events": (TRIGGER.format("row").replace(" or update or delete", ""), "DELETE, UPDATE"),
    "dropped": ("drop trigger neural_search_objects on storage.objects", "INSERT, DELETE, UPDATE"),
    "under another name": (
        TRIGGER.format("row when (false)").replace("create trigger neural", "create trigger my"),
        "under a condition.*my_search_objects",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "named"), TRIGGERS.values(), ids=TRIGGERS)
def test_install_heals_each_fault_of_the_trigger_that_doctor_names(
    target, database, make_object, change, named
):
    assert checks.triggers(target) == "neural_search_objects"
    with database.connect("supabase_admin") as platform:
        platform.execute(change)
    with pytest.raises(DatabaseError, match=rf"{named}.*Run `neural-search install`\."):
        checks.triggers(target)
    migrations.apply(database.url())
    assert checks.triggers(target) == "neural_search_objects"
    make_object()
    with database.connect() as connection:
        assert connection.execute("select count(*) from neural_search.jobs").fetchone() == (1,)


def test_a_trigger_of_ours_under_another_name_is_as_good(target, database):
    with database.connect("supabase_admin") as platform:
        platform.execute("alter trigger neural_search_objects on storage.objects rename to mine")
    migrations.apply(database.url())
    assert checks.triggers(target) == "mine"


JOBS = [job.name for job in cron_jobs.current()]


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("change", ["schedule = '0 0 1 1 *'", "active = false"])
def test_install_heals_each_fault_of_a_schedule_that_doctor_names(target, database, job, change):
    assert schedules(target) == ", ".join(JOBS)
    with database.connect("supabase_admin") as platform:
        platform.execute(f"update cron.job set {change} where jobname = '{job}'")
    with pytest.raises(DatabaseError, match=rf"{job}.*Run `neural-search install`\."):
        schedules(target)
    migrations.apply(database.url())
    assert schedules(target) == ", ".join(JOBS)


@pytest.mark.parametrize("job", JOBS)
def test_a_job_of_the_projects_own_under_a_name_of_ours_is_named_with_its_remedy(target, database, job):
    with database.connect() as connection:
        connection.execute("select cron.schedule(%s, '0 0 * * *', 'select 7')", [job])
        with pytest.raises(DatabaseError, match=rf"a job {job} of your own, which runs 'select 7'") as raised:
            schedules(target)
        connection.execute(re.findall(r"select cron[^)]*\)", str(raised.value))[0])
    migrations.apply(database.url())
    assert schedules(target) == ", ".join(JOBS)


def test_a_schedules_last_run_that_failed_is_told_and_nobody_elses(target, database):
    with database.connect("supabase_admin") as platform:
        platform.execute("select cron.schedule('neural-search-mine', '* * * * *', 'select 1')")
        run = """
            insert into cron.job_run_details (jobid, status, return_message)
            select jobid, %s, 'Why.' from cron.job where jobname = %s
        """
        platform.execute(run, ["failed", "neural-search-mine"])
        assert "neural-search-kick" in schedules(target)
        platform.execute(run, ["failed", "neural-search-kick"])
        with pytest.raises(DatabaseError, match=r"The last run failed\. neural-search-kick: Why\."):
            schedules(target)
        platform.execute(run, ["succeeded", "neural-search-kick"])
    assert "neural-search-kick" in schedules(target)
