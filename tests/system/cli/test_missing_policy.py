"""Indexed images that nobody may see: the command says so and prints a policy that shows them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.command_line import CommandLine
from support.databases import Clone
from support.http_servers import free_port
from support.running_project import Running, running

from shared.testing import picture

DROP_POLICIES = """
    do $$ declare one name; begin
      for one in select policyname from pg_policies where tablename = 'objects' loop
        execute 'drop policy ' || quote_ident(one) || ' on storage.objects';
      end loop;
    end $$
"""
ME = "00000000-0000-4000-8000-000000000001"
POLICY = re.compile(r'create policy "[^"]+" on storage\.objects.*?;', re.DOTALL)


@pytest.fixture
def project(database: Clone, tmp_path: Path) -> Iterator[Running]:
    """One image, and no policy."""
    with running(database.url, tmp_path / "project") as everything:
        everything.execute(DROP_POLICIES)
        images = everything.service().storage.from_("images")
        images.upload("red.png", picture("red"), {"content-type": "image/png"})
        everything.eventually(lambda: everything.state("red.png")[0], "searchable")
        yield everything


def command(project: Running, folder: Path, **keys: str) -> CommandLine:
    address = {"SUPABASE_URL": project.url, "SUPABASE_PUBLISHABLE_KEY": str(project.keys.publishable)}
    return CommandLine(folder, free_port(), address | keys)


def seen_by_anon(operator: CommandLine) -> str:
    findings = operator.json("doctor")
    [said] = [str(finding) for finding in findings if finding["check"] == "seen by anon"]
    return said


def test_who_has_the_secret_key_is_told_and_given_the_policy(project: Running, tmp_path: Path):
    operator = command(project, tmp_path, SUPABASE_SECRET_KEY=str(project.keys.secret))
    told = " ".join(operator.run("query", "red").stdout.split())
    assert "the publishable key sees none" in told
    assert "create policy" in seen_by_anon(operator)
    assert operator.json("query", "red")["results"] == []  # as it was
    [policy] = POLICY.findall(told)
    project.execute(policy)
    assert [found["name"] for found in operator.json("query", "red")["results"]] == ["red.png"]
    assert "create policy" not in seen_by_anon(operator)


def test_a_caller_without_it_gets_the_notice_alone(project: Running, tmp_path: Path):
    told = command(project, tmp_path).run("query", "red").stdout
    assert "create policy" not in told and "publishable" not in told


def test_of_one_image_the_policy_is_given_for_who_asked(project: Running, tmp_path: Path):
    operator = command(project, tmp_path, SUPABASE_SECRET_KEY=str(project.keys.secret))
    project.execute("update storage.objects set owner_id = %s", ME)
    me = CommandLine(tmp_path, operator.port, operator.settings | {"SUPABASE_USER_TOKEN": project.user(ME)})
    for caller, role in ((operator, "anon"), (me, "authenticated")):
        answer = caller.json("explain", "images/red.png")
        [hidden] = [one["detail"] for one in answer["conditions"] if one["name"] == "visible"]
        project.execute(*POLICY.findall(hidden))
        assert f" to {role} " in hidden
        assert caller.json("explain", "images/red.png")["dropped_by"] is None
