"""Another role's functions in `public`: none of them runs as `postgres`.

They may suit a call of one of PostgreSQL's polymorphic functions better, being written for the very types.
"""

from __future__ import annotations

import re

import pytest

from cli.checks import exposure, policies, rights, schema, visibility
from cli.installer import migrations
from cli.installer.removal import uninstall

BETTER = """
    unnest(text[]) setof text
    unnest(name[]) setof name
    unnest(bigint[]) setof bigint
    unnest(uuid[]) setof uuid
    format(text, text) text
    format(text, text, text) text
    format(text, text, text, text) text
    format(text, name) text
    format(text, name, text) text
    cardinality(text[]) integer
    cardinality(bigint[]) integer
    to_jsonb(text) jsonb
    to_jsonb(uuid) jsonb
    to_jsonb(text[]) jsonb
    array_to_string(text[], text) text
"""
ALSO = """
    create function public.pg_advisory_xact_lock(integer) returns void language plpgsql as
      $$ begin insert into public.calls values (current_user, 'pg_advisory_xact_lock'); end $$;
"""


@pytest.fixture
def calls(cluster, bare_database):
    """The calls of a developer's functions, who has CREATE in public alone: role and function."""
    with bare_database.connect("supabase_admin") as admin:
        admin.execute("drop role if exists test_developer")
        admin.execute("create role test_developer nosuperuser")
        admin.execute("grant create, usage on schema public to test_developer")
        admin.execute("set role test_developer")
        admin.execute("create table public.calls (role name, function text)")
        admin.execute("grant insert on public.calls to public")
        for line in filter(None, map(str.strip, BETTER.splitlines())):
            write(admin, line)
        admin.execute(ALSO)
        admin.execute("reset role")
        yield lambda: admin.execute("select distinct role, function from public.calls").fetchall()
        admin.execute("drop owned by test_developer; drop role test_developer")


def write(connection, function):
    """PostgreSQL's own answer, and a note of the call."""
    name, arguments, returned = re.fullmatch(r"(\w+)\((.*)\) (.*)", function).groups()
    given = ", ".join(f"${n + 1}" for n in range(arguments.count(",") + 1))
    connection.execute(f"""
        create function public.{name}({arguments}) returns {returned} language plpgsql as $$ begin
          insert into public.calls values (current_user, '{name}');
          return {"query select" if "setof" in returned else ""} pg_catalog.{name}({given});
        end $$
    """)


class Target:
    def __init__(self, database_url):
        self.database_url = database_url


def test_an_installation_runs_none_of_them(bare_database, calls):
    migrations.apply(bare_database.url())
    assert calls() == []


def test_the_supabase_cli_runs_none_of_them(bare_database, calls):
    """It runs a release's file in a session of its own; the first release's can't change any more."""
    migrations.apply(bare_database.url())
    latest = migrations.known()[-1].path.read_text()
    with bare_database.connect() as connection:
        connection.execute("delete from neural_search.migrations where release <> '0.1.0'")
        connection.execute(latest)
        path = connection.execute("show search_path").fetchone()
    assert calls() == [] and path == ('"$user", public, extensions',)


def test_doctor_and_uninstall_run_none_of_them(bare_database, calls):
    migrations.apply(bare_database.url())
    for check in (
        rights.rights,
        exposure.exposure,
        policies.policies,
        visibility.visibility,
        schema.triggers,
    ):
        check(Target(bare_database.url()))
    uninstall(bare_database.url(), data=True)
    assert calls() == []
