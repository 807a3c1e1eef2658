"""A caller's view changes at once: with a move, with a policy, with a membership, with a bucket."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest
from support import lookups, scenario
from support.lookups import Caller
from support.running_project import Running

from shared.testing import picture

NAMES = (f"{number}.png" for number in count(1))
WAYS = (
    "the query function",
    "match_documents",
    "search_documents",
    "get_embeddings by id",
    "object_states",
    "the table documents",
)


@pytest.fixture(scope="module")
def member(project: Running) -> Caller:
    return lookups.caller(project, "member")


@pytest.fixture
def put(project: Running) -> Callable[[str, str], None]:
    """Upload and wait until it can be found."""

    def put(bucket: str, name: str) -> None:
        storage = project.service().storage.from_(bucket)
        storage.upload(name, picture("red"), {"content-type": "image/png"})
        project.eventually(lambda: project.state(name, bucket)[0], "searchable")

    return put


def finds(caller: Caller, bucket: str, name: str) -> bool:
    """Whether this caller finds it, by the answer of every way to search, which agree."""
    ways = {way: lookups.SEARCHES[way](caller) for way in WAYS if way != "object_states"}
    [state] = caller.rpc("object_states", bucket=bucket, names=[name])
    answers = {(bucket, name) in seen for seen in ways.values()} | {state["state"] == "searchable"}
    assert len(answers) == 1, ways
    return answers.pop()


def test_a_move_into_and_out_of_a_visible_folder_shows_and_hides(
    project: Running, member: Caller, put: Callable[[str, str], None]
):
    hidden, visible = next(NAMES), f"{scenario.MEMBER}/{next(NAMES)}"
    put("folders", hidden)
    assert not finds(member, "folders", hidden)
    storage = project.service().storage.from_("folders")
    storage.move(hidden, visible)
    assert finds(member, "folders", visible)
    storage.move(visible, hidden)
    assert not finds(member, "folders", visible)
    assert not finds(member, "folders", hidden)


def test_a_membership_counts_from_when_it_is_given_until_it_is_taken(
    project: Running, member: Caller, put: Callable[[str, str], None]
):
    name = f"greens/{next(NAMES)}"
    put("teams", name)
    assert not finds(member, "teams", name)
    project.execute("insert into public.members values (%s, 'greens')", scenario.MEMBER)
    assert finds(member, "teams", name)
    project.execute("delete from public.members where team = 'greens'")
    assert not finds(member, "teams", name)


def test_a_policy_counts_from_when_it_is_made_until_it_is_dropped(
    project: Running, member: Caller, put: Callable[[str, str], None]
):
    name = next(NAMES)
    put("half", name)
    assert not finds(member, "half", name)
    project.execute(
        "create policy later on storage.objects for select to authenticated using (bucket_id = 'half')"
    )
    assert finds(member, "half", name)
    project.execute("drop policy later on storage.objects")
    assert not finds(member, "half", name)


def test_a_public_bucket_that_turns_private_is_private_in_search(
    project: Running, member: Caller, put: Callable[[str, str], None]
):
    name = next(NAMES)
    put("published", name)
    assert finds(member, "published", name)
    storage = project.service().storage
    storage.update_bucket("published", {"public": False})
    assert not finds(member, "published", name)
    storage.update_bucket("published", {"public": True})
    assert finds(member, "published", name)


def test_a_public_search_that_is_taken_back_is_over(
    project: Running, member: Caller, put: Callable[[str, str], None]
):
    name = next(NAMES)
    put("published", name)
    index = {"bucket_id": "published", "public_search": False}
    project.service().rpc("index_bucket", index).execute()
    assert not finds(member, "published", name)
    project.service().rpc("index_bucket", index | {"public_search": True}).execute()
    assert finds(member, "published", name)


def test_a_deleted_object_is_gone_with_its_deletion(
    project: Running, member: Caller, put: Callable[[str, str], None]
):
    name = f"{scenario.MEMBER}/{next(NAMES)}"
    put("folders", name)
    assert finds(member, "folders", name)
    project.service().storage.from_("folders").remove([name])
    assert not finds(member, "folders", name)


def test_a_token_with_other_claims_sees_by_those(project: Running):
    """No result of a user is remembered for the same user under another token."""
    before = lookups.caller(project, "owner")
    assert ("claims", "acme/a.png") in lookups.by_query(before)
    token = project.keys.mint("authenticated", {"sub": scenario.OWNER, "app_metadata": {"tenant": "globex"}})
    before.http.headers["Authorization"] = f"Bearer {token}"
    seen = lookups.by_query(before)
    assert ("claims", "acme/a.png") not in seen
    assert ("claims", "globex/b.png") in seen
