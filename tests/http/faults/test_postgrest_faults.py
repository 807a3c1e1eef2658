"""PostgREST that refuses, breaks off or loses its answers: each image is embedded all the same, and once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from support.faulty_project import FaultyProject
from support.faulty_proxy import (
    Fault,
    cut_off,
    cut_off_chunked,
    cut_off_unannounced,
    lost,
    lost_in_silence,
    reset,
    silence,
    status,
)

from shared.testing import picture

HTML = "<html><title>Just a moment</title></html>"
CLAIM, FINISH, FAIL, RELEASE = (
    f"/rest/v1/rpc/{name}"
    for name in (
        "claim_embedding_jobs",
        "finish_embedding_job",
        "fail_embedding_job",
        "release_embedding_jobs",
    )
)


def refused(code: str) -> dict[str, str | None]:
    """An error's body as PostgREST writes it."""
    return {"code": code, "message": "why", "details": None, "hint": None}


# Nothing was done, and we are told so, or nothing at all.
UNDONE: dict[str, Fault] = {
    "400 of a broken connection": status(400, refused("") | {"message": ""}),
    "401": status(401, refused("PGRST301")),
    "401 of a gateway": status(401, {"message": "Invalid API key"}),
    "403": status(403, refused("42501")),
    "404 during an upgrade": status(404, refused("42883")),
    "429": status(429, {"message": "slow down"}, Retry_After="7"),
    "500": status(500, refused("57014")),
    "500 of a gateway": status(500, HTML),
    "502": status(502, HTML),
    "503": status(503, refused("PGRST001")),
    "504": status(504, refused("PGRST003")),
    "HTML with 200": status(200, HTML),
    "redirect": status(302, "", Location="https://login.test/"),
    "reset": reset,
}

# It was done, and we don't learn it.
UNHEARD: dict[str, Fault] = {
    "cut off": cut_off,
    "cut off, chunked": cut_off_chunked,
    "cut off, unannounced": cut_off_unannounced,
    "lost": lost,
}


@pytest.fixture
def names(project: FaultyProject, name: str) -> tuple[str, str]:
    """Two uploaded images, whose bytes nothing else has."""
    both = (f"{name}/one.png", f"{name}/other.png")
    for each in both:
        project.upload(each, picture("red") + each.encode())
    return both


@contextmanager
def impatient(project: FaultyProject) -> Iterator[None]:
    """The function waits for an answer of the database for one second."""
    http = project.running.apps["embed_on_upload"].extensions["http"]
    before, http.timeout = http.timeout, 1.0
    try:
        yield
    finally:
        http.timeout = before


@pytest.mark.parametrize("fault", UNDONE.values(), ids=list(UNDONE))
def test_what_could_not_be_claimed_is_claimed_later(
    project: FaultyProject, names: tuple[str, str], fault: Fault
):
    with project.proxy.fault(CLAIM, fault) as met:
        answer = project.kick()
    assert met and answer.status_code in (502, 503), answer.text
    assert [project.job(each)["attempts"] for each in names] == [0, 0]
    assert project.kick().status_code == 200  # at once: nothing was taken, so nothing has to wait
    project.check_searchable(*names)


@pytest.mark.parametrize("fault", UNDONE.values(), ids=list(UNDONE))
def test_what_could_not_be_stored_is_stored_later_and_not_charged(
    project: FaultyProject, names: tuple[str, str], fault: Fault
):
    with project.proxy.fault(FINISH, fault) as met:
        answer = project.kick()
    assert met and answer.status_code == 503, answer.text
    assert [project.job(each)["attempts"] for each in names] == [0, 0]
    project.converge()
    project.check_searchable(*names)


@pytest.mark.parametrize("fault", [UNDONE["503"], lost], ids=["refused", "lost"])
def test_a_copy_that_could_not_take_over_its_vector_does_so_later_and_is_not_charged(
    project: FaultyProject, names: tuple[str, str], fault: Fault
):
    project.converge()
    copy = f"{names[0]}.copy.png"
    project.upload(copy, project.bucket.download(names[0]))
    with project.proxy.fault("/rest/v1/rpc/reuse_embedding", fault) as met:
        assert project.kick().status_code == 503
    assert met
    assert project.documents(copy) or project.job(copy)["attempts"] == 0
    project.converge()
    project.check_searchable(*names, copy)


@pytest.mark.parametrize("fault", UNHEARD.values(), ids=list(UNHEARD))
def test_an_answer_that_is_lost_after_storing_loses_and_doubles_nothing(
    project: FaultyProject, names: tuple[str, str], fault: Fault
):
    with project.proxy.fault(FINISH, fault) as met:
        project.kick()
    assert met
    stored = [each for each in names if project.documents(each)]
    assert stored
    project.check_searchable(*stored)
    before = [project.documents(each) for each in stored]
    project.converge()
    assert [project.documents(each) for each in stored] == before
    project.check_searchable(*names)


@pytest.mark.parametrize("fault", UNHEARD.values(), ids=list(UNHEARD))
def test_jobs_whose_claim_nobody_heard_of_are_given_back_at_once_and_uncharged(
    project: FaultyProject, names: tuple[str, str], fault: Fault
):
    with project.proxy.fault(CLAIM, fault) as met:
        assert project.kick().status_code == 503
    assert met
    jobs = [project.job(each) for each in names]
    assert [(job["attempts"], job["faults"], job["lease_id"]) for job in jobs] == [(0, 0, None)] * 2
    assert project.kick().status_code == 200
    project.check_searchable(*names)


def test_a_claim_that_could_not_be_given_back_is_given_back_before_the_next_one(
    project: FaultyProject, names: tuple[str, str]
):
    with project.proxy.fault(CLAIM, lost), project.proxy.fault(RELEASE, UNDONE["503"]) as met:
        assert project.kick().status_code == 503
    assert met
    assert [project.job(each)["attempts"] for each in names] == [1, 1]
    assert project.kick().status_code == 200
    project.check_searchable(*names)


@pytest.mark.parametrize("fault", UNHEARD.values(), ids=list(UNHEARD))
def test_a_webhook_whose_claim_nobody_heard_of_gives_it_back_too(
    project: FaultyProject, name: str, fault: Fault
):
    project.upload(f"{name}.png", picture("red"))
    with project.proxy.fault("/rest/v1/rpc/claim_object", fault) as met:
        assert project.webhook(f"{name}.png").status_code == 503
    assert met
    job = project.job(f"{name}.png")
    assert (job["attempts"], job["lease_id"]) == (0, None)
    assert project.webhook(f"{name}.png").json() == {"embedded": 1}
    project.check_searchable(f"{name}.png")


@pytest.mark.parametrize("fault", [silence, lost_in_silence])
@pytest.mark.parametrize("path", [CLAIM, FINISH], ids=["claim", "finish"])
def test_a_database_that_does_not_answer_in_time_is_given_up_and_asked_again(
    project: FaultyProject, names: tuple[str, str], path: str, fault: Fault
):
    with impatient(project), project.proxy.fault(path, fault) as met:
        assert project.kick().status_code == 503
    assert met
    project.converge()
    project.check_searchable(*names)


@pytest.mark.parametrize("fault", [UNDONE["401"], UNDONE["502"], reset, cut_off, lost])
def test_the_cause_of_a_bad_image_is_recorded_even_if_that_failed_at_first(
    project: FaultyProject, name: str, fault: Fault
):
    bad, good = f"{name}/bad.png", f"{name}/good.png"
    project.upload(bad, b"<html>")
    with project.proxy.fault(FAIL, fault) as met:
        project.kick()
    assert met
    project.upload(good, picture("red"))
    project.converge()
    project.check_searchable(good)
    job = project.job(bad)
    assert (job["state"], job["error_class"], job["attempts"]) == ("skipped", "NotAnImage", 1)


def test_leases_that_could_not_be_given_back_are_given_back_before_the_next_claim(
    project: FaultyProject, names: tuple[str, str]
):
    with project.proxy.fault("/rest/v1/rpc/", UNDONE["503"]):
        assert project.kick().status_code == 503
    with (
        project.proxy.fault("/storage/v1/object/", status(503)),
        project.proxy.fault(RELEASE, UNDONE["503"]) as met,
    ):
        assert project.kick().status_code == 503
    assert met
    assert project.kick().status_code == 200
    project.check_searchable(*names)


def test_after_an_outage_everything_becomes_searchable_by_itself(project: FaultyProject, name: str):
    names = [f"{name}/{number}.png" for number in range(8)]
    with project.by_itself():
        with project.proxy.fault("/rest/v1/rpc/", UNDONE["503"]) as met:
            for each in names:
                project.upload(each, picture("red"))
            project.running.eventually(lambda: bool(met), True)
        project.running.eventually(lambda: {project.running.state(each)[0] for each in names}, {"searchable"})
    project.check_searchable(*names)
