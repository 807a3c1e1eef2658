"""Everything that the migrations make: closed by default, opened on purpose, and commented."""

from __future__ import annotations

import re

import pytest
from support.databases import clone

from cli.installer import migrations, releases
from shared.settings import CHECKOUT

OLD_DEFAULTS = """
    alter default privileges for role postgres in schema public
      grant all on tables to anon, authenticated, service_role;
    alter default privileges for role postgres in schema public
      grant all on functions to anon, authenticated, service_role;
    alter default privileges for role postgres in schema public
      grant all on sequences to anon, authenticated, service_role;
"""
OURS = "('public'::regnamespace, 'neural_search'::regnamespace)"

# Run as their owner, each with a comment above it that says why.
DEFINERS = {
    "neural_search.confidence_levels",
    "neural_search.declarations",
    "neural_search.find_public",
    "neural_search.ids_with_metadata",
    "neural_search.is_public",
    "neural_search.last_document_id",
    "neural_search.lsh_bits",
    "neural_search.on_object_change",
    "neural_search.public_buckets",
    "neural_search.searchable_model",
    "neural_search.state_of",
    "neural_search.text_configuration",
    "public.active_model",
}
CALLERS = {
    "public.active_model",
    "public.confirm_duplicates",
    "public.get_embeddings",
    "public.list_fingerprints",
    "public.match_documents",
    "public.object_states",
    "public.recommend_documents",
    "public.search_documents",
    "public.similar_documents",
}
# Functions that those call as the caller. PostgREST doesn't expose their schema.
HELPERS = {
    "neural_search.act_as_storage",
    "neural_search.are_duplicates",
    "neural_search.ask",
    "neural_search.ask_documents",
    "neural_search.ask_objects",
    "neural_search.average_pool",
    "neural_search.average_vector",
    "neural_search.best_by_lists",
    "neural_search.best_scored",
    "neural_search.can_see",
    "neural_search.check_confidence",
    "neural_search.check_count",
    "neural_search.check_example",
    "neural_search.check_failure",
    "neural_search.check_filter",
    "neural_search.check_json",
    "neural_search.check_keys",
    "neural_search.are_few",
    "neural_search.narrows_to_few",
    "neural_search.check_list",
    "neural_search.check_names",
    "neural_search.check_page",
    "neural_search.check_range",
    "neural_search.check_recommendation",
    "neural_search.check_sizes",
    "neural_search.check_that",
    "neural_search.check_vector",
    "neural_search.composed",
    "neural_search.confidence_levels",
    "neural_search.confidence_of",
    "neural_search.declarations",
    "neural_search.declared_condition",
    "neural_search.declared_conditions",
    "neural_search.declared_keys",
    "neural_search.declared_values",
    "neural_search.diversified",
    "neural_search.end_search",
    "neural_search.exact_way",
    "neural_search.expected_matches",
    "neural_search.expected_objects",
    "neural_search.expected_rows",
    "neural_search.filter_conditions",
    "neural_search.filter_keys",
    "neural_search.find_by_average",
    "neural_search.find_by_best_score",
    "neural_search.find_matches",
    "neural_search.find_page",
    "neural_search.arranged",
    "neural_search.find_public",
    "neural_search.find_seen",
    "neural_search.find_similar",
    "neural_search.following",
    "neural_search.found_documents",
    "neural_search.has_common_numbers",
    "neural_search.ids_with_metadata",
    "neural_search.index_name",
    "neural_search.is_confident",
    "neural_search.is_kind",
    "neural_search.is_outage",
    "neural_search.is_public",
    "neural_search.is_shown",
    "neural_search.is_time",
    "neural_search.last_document_id",
    "neural_search.last_one",
    "neural_search.leaders",
    "neural_search.level_of",
    "neural_search.lexemes",
    "neural_search.liked_kind",
    "neural_search.list_around",
    "neural_search.listed_ids",
    "neural_search.live_objects",
    "neural_search.log_failures",
    "neural_search.lsh_bits",
    "neural_search.lsh_length",
    "neural_search.most_listed",
    "neural_search.nearest",
    "neural_search.nearest_with_words",
    "neural_search.note_failure",
    "neural_search.objects_between",
    "neural_search.policies_work",
    "neural_search.public_buckets",
    "neural_search.rarest_first",
    "neural_search.read_examples",
    "neural_search.read_search",
    "neural_search.read_vector",
    "neural_search.scaled",
    "neural_search.scored_statement",
    "neural_search.search_directions",
    "neural_search.search_statement",
    "neural_search.searchable_model",
    "neural_search.seen_among",
    "neural_search.seen_documents",
    "neural_search.set_for_search",
    "neural_search.set_parameters",
    "neural_search.state_of",
    "neural_search.storage_parameters",
    "neural_search.storage_settings",
    "neural_search.stored_ids",
    "neural_search.text_configuration",
    "neural_search.visible_objects",
    "neural_search.visible_vectors",
    "neural_search.walked",
    "neural_search.weighted_mean",
    "neural_search.zeros_are_short",
}
# Not even the service: only their owner and its triggers and schedules.
NOBODY = {
    "neural_search.attach",
    "neural_search.enable",
    "neural_search.is_move",
    "neural_search.on_object_change",
    "neural_search.record_change",
    "neural_search.schedule_jobs",
    "neural_search.set_lsh",
    "neural_search.tidy",
    "neural_search.use_text_search",
}
TABLES = {
    "blanks",
    "buckets",
    "calibrations",
    "documents",
    "jobs",
    "kicks",
    "lsh_planes",
    "migrations",
    "models",
    "reconciliations",
    "text_search",
    "words",
}
VIEWS = {"backlog", "failures", "freshness", "indexed_buckets", "outdated", "progress"}


@pytest.fixture(scope="module", params=["new", "old"])
def catalogue(request, cluster, bare_template):
    """A project made after the change of 2026, and one made before it."""
    with clone(cluster, bare_template) as database, database.connect() as connection:
        if request.param == "old":
            connection.execute(OLD_DEFAULTS)
        migrations.apply(database.url())
        yield connection


def functions(connection, condition="true"):
    rows = connection.execute(f"""
        select format('%s.%s', pronamespace::regnamespace, proname) from pg_proc as p
        where pronamespace in {OURS} and {condition}
    """)
    return {name for (name,) in rows}


def executable_by(connection, role):
    return functions(connection, f"has_function_privilege('{role}', p.oid, 'execute')")


def test_every_table_has_row_level_security(catalogue):
    tables = catalogue.execute(
        f"select relname, relrowsecurity from pg_class where relnamespace in {OURS} and relkind in ('r', 'p')"
    ).fetchall()
    assert {name for name, _ in tables} == TABLES
    assert all(secured for _, secured in tables)


def test_every_view_reads_as_its_caller(catalogue):
    views = catalogue.execute(f"""
        select relname, 'security_invoker=true' = any (reloptions) from pg_class
        where relnamespace in {OURS} and relkind = 'v'
    """).fetchall()
    assert set(views) == {(name, True) for name in VIEWS | {"documents"}}


ASKING = (
    "ask", "ask_documents", "ask_objects", "can_see", "find_matches", "policies_work", "seen_among",
    "visible_objects", "visible_vectors",
)  # fmt: skip
ASKING_UNDER_BOTH_PATHS = {"neural_search.is_shown", "neural_search.objects_between"}
INLINED = {
    "neural_search.copied_columns",
    "neural_search.file_facts",
    "neural_search.has_common_numbers",
    "neural_search.live_objects",
    "neural_search.may_copy",
    "neural_search.read_metadata",
    "neural_search.to_queue",
}  # planned where they are called


def test_every_function_fixes_its_search_path(catalogue):
    # Where policies are asked, they may rely on Storage's.
    asking = {f"neural_search.{name}" for name in ASKING}
    storage = "'search_path=storage, public, extensions, pg_temp' = any (proconfig) and not prosecdef"
    others = "not coalesce('search_path=pg_temp' = any (proconfig), false)"
    assert functions(catalogue, others) == asking | ASKING_UNDER_BOTH_PATHS | INLINED
    assert functions(catalogue, storage) == asking


def test_no_exposed_function_is_inlined(catalogue):
    """A planned count of it would explain its body. A SET clause or another language prevents that."""
    inlinable = "prolang = (select oid from pg_language where lanname = 'sql') and proconfig is null"
    assert functions(catalogue, inlinable) == INLINED
    for name in CALLERS:
        arguments = catalogue.execute(
            "select array(select 'null::' || format_type(t, null) from unnest(proargtypes) as t)"
            " from pg_proc where oid = %s::regproc", [name]
        ).fetchone()[0]  # fmt: skip
        plan = catalogue.execute(
            f"explain select from {name}({', '.join(arguments)}) as f".encode()
        ).fetchall()
        assert "Function Scan" in plan[0][0] and len(plan) == 1


def arguments(text):
    """The number of arguments in `text`, which begins behind the bracket that opens them."""
    depth, number = 0, 1
    for place, sign in enumerate(text):
        depth += (sign in "([") - (sign in ")]")
        number += sign == "," and depth == 0
        if depth < 0:
            return number if text[:place].strip() else 0
    raise ValueError(text)


def test_public_functions_are_called_with_all_their_arguments(catalogue):
    """Else another role's function with fewer parameters would make the call ambiguous."""
    taken = dict(
        catalogue.execute("select proname, pronargs from pg_proc where pronamespace = 'public'::regnamespace")
    )
    bodies = catalogue.execute(f"select proname, prosrc from pg_proc where pronamespace in {OURS}").fetchall()
    calls = [
        (caller, called[1], arguments(body[called.end() :]))
        for caller, body in bodies
        for called in re.finditer(r"public\.(\w+)\(", body)
    ]
    assert len(calls) > 5
    assert [call for call in calls if call[2] != taken[call[1]]] == []


def test_only_these_functions_run_as_their_owner(catalogue):
    assert functions(catalogue, "prosecdef") == DEFINERS


def test_every_definer_says_why():
    text = releases.source_text()
    for name in DEFINERS:
        comment = text[: text.index(f"function {name}(")].rsplit("\n\n", 1)[-1]
        assert "-- Definer, because" in comment


def test_callers_may_execute_only_the_search(catalogue):
    for role in ("anon", "authenticated"):
        assert executable_by(catalogue, role) == CALLERS | HELPERS


def test_the_service_may_execute_all_but_the_inner_works(catalogue):
    assert executable_by(catalogue, "service_role") == functions(catalogue) - NOBODY


def test_nobody_else_may_execute_anything(catalogue):
    assert executable_by(catalogue, "authenticator") == set()


def test_table_privileges_are_as_intended(catalogue):
    rows = catalogue.execute(f"""
        select relname || case when relnamespace = 'public'::regnamespace then ' in public' else '' end,
          role, string_agg(privilege, ' ' order by privilege)
        from pg_class, unnest(array['anon', 'authenticated', 'service_role']) as role,
          unnest('{{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}}'::text[]) as privilege
        where relnamespace in {OURS} and relkind in ('r', 'p', 'v')
          and has_table_privilege(role, pg_class.oid, privilege)
        group by 1, role
    """).fetchall()
    work = "DELETE INSERT SELECT UPDATE"
    tables = {(table, "service_role", work) for table in TABLES - {"migrations"}}
    views = {(view, "service_role", "SELECT") for view in VIEWS | {"migrations"}}
    callers = {
        (table, role, "SELECT") for table in ("documents", "words") for role in ("anon", "authenticated")
    }
    assert set(rows) == tables | views | callers | {("documents in public", "service_role", work)}


def test_policies_ask_for_settings_once_in_a_statement(catalogue):
    """In a scalar subquery, as Supabase's advisor wants it: auth_rls_initplan, 0003 of supabase/splinter."""
    rows = catalogue.execute(f"""
        select policyname, asked[1] from pg_policies,
          regexp_matches(
            lower(concat(qual, ' ', with_check)),
            '(select )?(?:auth.(?:uid|jwt|role|email)|current_setting)[(]', 'g'
          ) as asked
        where schemaname::regnamespace in {OURS}
    """).fetchall()
    assert rows and [name for name, subquery in rows if not subquery] == []


def test_sequences_are_the_services_alone(catalogue):
    rows = catalogue.execute("""
        select role from unnest(array['anon', 'authenticated', 'service_role']) as role
        where has_sequence_privilege(role, 'neural_search.documents_id_seq', 'usage, select, update')
    """).fetchall()
    assert rows == [("service_role",)]


def test_everything_has_a_comment(catalogue):
    rows = catalogue.execute(f"""
        select nspname from pg_namespace
        where nspname = 'neural_search' and obj_description(oid, 'pg_namespace') is null
        union all
        select proname from pg_proc where pronamespace in {OURS} and obj_description(oid, 'pg_proc') is null
        union all
        select relname from pg_class as c
        where relnamespace in {OURS} and obj_description(oid, 'pg_class') is null
          and (relkind in ('r', 'v') or relkind = 'i' and c.oid not in (select conindid from pg_constraint))
        union all
        select relname || '.' || attname from pg_attribute join pg_class as c on c.oid = attrelid
        where relnamespace in {OURS} and relkind = 'r' and attnum > 0 and not attisdropped
          and col_description(attrelid, attnum) is null
        union all
        select polname from pg_policy
        where polrelid in ('neural_search.documents'::regclass, 'neural_search.words'::regclass)
          and obj_description(oid, 'pg_policy') is null
    """).fetchall()
    assert rows == []


def test_the_docs_tell_the_arguments_of_each_function_that_is_called_from_outside(catalogue):
    rows = catalogue.execute("""
        select proname, array_to_string(proargnames[1:pronargs], ', ') from pg_proc
        where pronamespace = 'public'::regnamespace
    """).fetchall()
    documented = (CHECKOUT / "docs/database.md").read_text()
    lines = [f"| `{name}({arguments or ''})` |" for name, arguments in rows]
    assert lines and [line for line in lines if line not in documented] == []


def test_no_extension_is_made_without_a_guard():
    for path in (CHECKOUT / "supabase").rglob("*.sql"):
        text = path.read_text()
        assert text.count("create extension") == text.count("create extension if not exists")


def test_parameters_of_no_two_functions_of_a_name_can_be_confused(catalogue):
    rows = catalogue.execute(f"""
        select proname from pg_proc where pronamespace in {OURS}
        group by pronamespace, proname having count(*) > 1
    """).fetchall()
    assert rows == []


def test_what_forbids_a_kind_of_plan_forbids_its_compilation(db):
    """Before PostgreSQL 18 a forbidden step has a prohibitive cost, beyond the threshold of compilation."""
    rows = db.execute("""
        select p.oid::regprocedure::text, 'jit=off' = any(p.proconfig) from pg_proc as p
        where array_to_string(p.proconfig, ' ') like '%enable_%=off%'
    """).fetchall()
    assert len(rows) >= 3 and [function for function, compiled_never in rows if not compiled_never] == []
