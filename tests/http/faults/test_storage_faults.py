"""Storage that refuses, breaks off, drips or lies costs time, and harms no image but the one it is about."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.faulty_project import FaultyProject
from support.faulty_proxy import (
    Fault,
    cut_off,
    cut_off_chunked,
    cut_off_unannounced,
    drip,
    instead,
    reset,
    silence,
    status,
)

from shared.supabase import storage_answers
from shared.testing import md5, picture

HTML = "<html><title>Just a moment</title></html>"
OBJECTS = "/storage/v1/object/authenticated/images/"


def refused(code: str, error: str) -> dict[str, str]:
    """An error's body as Storage writes it."""
    return {"statusCode": code, "error": error, "code": error, "message": error}


# No image's fault: the whole batch is given back, and nobody is charged.
EVERYBODYS: dict[str, Fault] = {
    "429": status(429, refused("429", "SlowDown"), Retry_After="7"),
    "429 in a 400": status(400, refused("429", "SlowDown")),
    "401": status(400, refused("401", "InvalidJWT")),
    "403": status(400, refused("403", "AccessDenied")),
    "500 of a gateway": status(500, HTML),
    "502": status(502, HTML),
    "503": status(503, refused("503", "LockTimeout"), Retry_After="7"),
    "544": status(544, refused("544", "DatabaseTimeout")),
    "project paused": status(540, HTML),
    "redirect": status(302, "", Location="https://login.test/"),
    "404 of a gateway": status(404, HTML),
    "reset": reset,
}

# Perhaps this object's trouble alone: only it waits, and it isn't charged for some time either.
DOUBTFUL: dict[str, Fault] = {
    "500": status(500, refused("500", "InternalError")),
    "cut off": cut_off,
    "cut off, chunked": cut_off_chunked,
    "cut off, unannounced": cut_off_unannounced,
    "drip": drip,
    "silence": silence,
    "HTML with 200": status(200, HTML),
    "empty with 200": instead(b""),
    "longer": instead(picture("blue") + b"more"),
}

# From a server before Storage that dislikes this object's name or bytes.
BLOCKED: dict[str, Fault] = {
    "403 of a firewall": status(403, HTML),
    "403 of a firewall in JSON": status(403, {"message": "blocked by rule 942100"}),
    "404 of a gateway": status(404, HTML),
    "414": status(414, HTML),
    "502": status(502, HTML),
    "a page to prove that one is human": status(302, "", Location="https://challenge.test/"),
    "reset": reset,
}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_answers, "READ_SECONDS", 0.5)
    monkeypatch.setattr(storage_answers, "TOTAL_SECONDS", 0.5)


@pytest.mark.parametrize("fault", EVERYBODYS.values(), ids=list(EVERYBODYS))
def test_a_storage_that_fails_for_everybody_charges_nobody(project: FaultyProject, name: str, fault: Fault):
    both = (f"{name}/one.png", f"{name}/other.png")
    for each in both:
        project.upload(each, picture("red"))
    with project.proxy.fault(OBJECTS, fault) as met:
        answer = project.kick()
    assert met and answer.status_code == 503, answer.text
    assert [project.job(each)["attempts"] for each in both] == [0, 0]
    project.converge()
    project.check_searchable(*both)


def waiting_alone(project: FaultyProject, name: str, fault: Fault) -> tuple[str, dict[str, Any]]:
    """An image that this fault makes wait, while another one comes through; and its job."""
    bad, good = f"{name}/bad.png", f"{name}/good.png"
    project.upload(bad, picture("red"))
    project.upload(good, picture("red"))
    with project.proxy.fault(OBJECTS + bad, fault) as met:
        assert project.kick().status_code == 200
    assert met
    project.check_searchable(good)
    job = project.job(bad)
    assert (job["state"], job["attempts"], job["lease_id"]) == ("pending", 0, None), job
    return bad, job


@pytest.mark.parametrize("fault", DOUBTFUL.values(), ids=list(DOUBTFUL))
def test_a_download_that_fails_makes_only_its_own_image_wait(
    project: FaultyProject, name: str, fault: Fault, impatient: None
):
    bad, job = waiting_alone(project, name, fault)
    assert job["error_class"] in ("StorageError", "StaleObject")
    project.converge()
    project.check_searchable(bad)


@pytest.mark.parametrize("fault", BLOCKED.values(), ids=list(BLOCKED))
def test_an_object_that_a_gateway_refuses_makes_only_itself_wait(
    project: FaultyProject, name: str, fault: Fault
):
    bad, job = waiting_alone(project, name, fault)
    assert job["error_class"] == "ObjectBlocked" and "rename the object" in job["error_message"]
    project.converge()
    project.check_searchable(bad)


def given_up(project: FaultyProject, name: str) -> dict[str, Any]:
    """The object's job once it isn't pending any more, after 30 kicks at most."""
    for _round in range(30):
        if (job := project.job(name))["state"] != "pending":
            return job
        project.time_passes()
        assert project.kick().status_code == 200
    raise AssertionError(project.job(name))


def test_an_object_that_a_gateway_refuses_forever_becomes_a_dead_letter_that_names_the_gateway(
    project: FaultyProject, name: str
):
    project.upload(f"{name}.png", picture("red"))
    with project.proxy.fault(f"{OBJECTS}{name}.png", BLOCKED["414"]):
        job = given_up(project, f"{name}.png")
    assert (job["state"], job["attempts"], job["error_class"]) == ("failed", 5, "ObjectBlocked")
    assert "414" in job["error_message"]
    assert project.running.service().rpc("retry_embedding_jobs").execute().data == 1
    project.converge()


def test_the_callers_are_told_when_storage_wants_to_be_asked_again(project: FaultyProject, name: str):
    project.upload(f"{name}.png", picture("red"))
    with project.proxy.fault(OBJECTS, EVERYBODYS["429"]):
        answer = project.kick()
    assert answer.headers["Retry-After"] == "7"
    [waits] = project.rows(
        "select extract(epoch from next_attempt_at - updated_at) as seconds from neural_search.jobs"
    )
    assert 7 <= waits["seconds"] < 60
    project.converge()


def test_a_download_that_fails_forever_ends_with_its_cause(project: FaultyProject, name: str):
    project.upload(f"{name}.png", picture("red"))
    with project.proxy.fault(OBJECTS, DOUBTFUL["500"]):
        job = given_up(project, f"{name}.png")
    assert (job["state"], job["error_class"]) == ("failed", "StorageError")
    assert "InternalError" in job["error_message"]
    assert project.running.service().rpc("retry_embedding_jobs").execute().data == 1
    project.converge()
    project.check_searchable(f"{name}.png")


RED, BLUE = (picture(colour).ljust(300, b"\0") for colour in ("red", "blue"))


@pytest.mark.parametrize(
    "stale",
    [
        instead(RED, etag=md5(RED)),
        instead(RED, etag=""),
        instead(picture("red"), etag=md5(picture("red"))),
        instead(picture("red")),
    ],
    ids=["another ETag", "another hash", "another size and ETag", "another size"],
)
def test_bytes_of_before_an_overwrite_are_never_stored_as_the_new_ones(
    project: FaultyProject, name: str, stale: Fault
):
    project.upload(f"{name}.png", RED)
    project.converge()
    project.upload(f"{name}.png", BLUE, upsert="true")
    with project.proxy.fault(OBJECTS, stale) as met:
        project.kick()
        assert project.documents(f"{name}.png") == []
    assert met
    assert project.job(f"{name}.png")["error_class"] == "StaleObject"
    project.converge()
    project.check_searchable(f"{name}.png")


def test_each_version_has_an_address_of_its_own_that_no_cache_can_mix_up(project: FaultyProject, name: str):
    for data in (RED, BLUE):
        project.upload(f"{name}.png", data, upsert="true")
        project.converge()
    addresses = [path for path in project.proxy.seen if f"{name}.png" in path]
    assert len(addresses) == len(set(addresses)) == 2


def test_an_overwrite_during_the_download_is_not_mixed_up_with_what_was_fetched(
    project: FaultyProject, name: str
):
    def overwritten(exchange: object) -> None:
        answer = exchange.forward()  # type: ignore[attr-defined]
        project.upload(f"{name}.png", BLUE, upsert="true")
        exchange.send(answer)  # type: ignore[attr-defined]

    project.upload(f"{name}.png", RED)
    with project.proxy.fault(OBJECTS, overwritten):
        assert project.kick().json()["superseded"] == 1
    project.converge()
    project.check_searchable(f"{name}.png")


def test_a_deletion_during_the_download_leaves_nothing(project: FaultyProject, name: str):
    def deleted(exchange: object) -> None:
        answer = exchange.forward()  # type: ignore[attr-defined]
        project.bucket.remove([f"{name}.png"])
        exchange.send(answer)  # type: ignore[attr-defined]

    project.upload(f"{name}.png", RED)
    with project.proxy.fault(OBJECTS, deleted):
        assert project.kick().json() == {"gone": 1}
    assert project.documents(f"{name}.png") == []


def test_after_an_outage_everything_becomes_searchable_by_itself(project: FaultyProject, name: str):
    names = [f"{name}/{number}.png" for number in range(8)]
    down = status(503, refused("503", "SlowDown"), Retry_After="1")
    with project.by_itself():
        with project.proxy.fault(OBJECTS, down) as met:
            for each in names:
                project.upload(each, picture("red"))
            project.running.eventually(lambda: bool(met), True)
        project.running.eventually(lambda: {project.running.state(each)[0] for each in names}, {"searchable"})
    project.check_searchable(*names)


def test_an_error_body_that_never_ends_is_not_waited_for(project: FaultyProject, name: str, impatient: None):
    def endless(exchange: object) -> None:
        body = json.dumps(refused("500", "InternalError")).encode().ljust(60_000)
        exchange.forward = lambda: type("Answer", (), {"status": 500, "headers": {}, "body": body})  # type: ignore[attr-defined]
        drip(exchange)  # type: ignore[arg-type]

    project.upload(f"{name}.png", picture("red"))
    with project.proxy.fault(OBJECTS, endless):
        project.kick()
    assert "0.5 seconds" in project.job(f"{name}.png")["error_message"]
    project.converge()
    project.check_searchable(f"{name}.png")
