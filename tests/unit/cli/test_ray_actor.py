"""A Ray actor's own side: refusals before anything is claimed, and counts for the driver. Without Ray."""

from __future__ import annotations

import pickle
from dataclasses import fields, replace

import pytest
from support.waiting import eventually

from cli.workers import ray_actor
from cli.workers.ray_actor import Counts, Look, Plan, RayWorker
from shared import settings
from shared.indexing.job_runner import Result
from shared.settings import Secret

NOWHERE = settings.load({"SUPABASE_URL": "http://nowhere.invalid", "SUPABASE_SECRET_KEY": "sb_secret_x"})


def plan(*models: str) -> Plan:
    return Plan.of(NOWHERE, models, None, once=True)


def ended(worker: RayWorker) -> Look:
    return eventually(worker.look, wanted=lambda look: not look.working)


def result(status: str, reason: str | None = None) -> Result:
    return Result(status=status, object_id="1", bucket="images", name="a.jpg", reason=reason)


@pytest.mark.parametrize("package", ["neural-search", "decoder", "conversion"])
def test_a_node_with_another_version_is_refused(package: str):
    asked = plan()
    other = replace(asked, versions=asked.versions | {package: "0"})
    fault = ended(RayWorker(other)).fault
    assert f"{package} is " in fault and "'0' here" in fault and "same package" in fault


def test_a_node_without_the_models_files_is_refused():
    assert "There is no such model: '/nowhere/clip'." in ended(RayWorker(plan("/nowhere/clip"))).fault


def test_a_model_whose_sources_are_on_one_side_alone_is_no_other_version():
    ray_actor._require_same({"model": "abc"}, {"model": ""})
    ray_actor._require_same({"model": ""}, {"model": "abc"})


def test_failures_are_counted_by_cause():
    counts = Counts()
    for reason in ("NotAnImage: it is a page", "NotAnImage: it is text", None):
        counts.add(result("skipped", reason))
    counts.add(result("embedded"))
    counts.add_given_back(4)
    finished, causes, given_back = counts.copies()
    assert finished == {"skipped": 3, "embedded": 1} and given_back == 4
    assert causes == {"NotAnImage": 2, "unknown": 1}


def test_a_node_keeps_its_own_paths_and_devices_and_takes_the_rest_from_the_driver(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("EMBEDDING_CACHE", "/models")
    monkeypatch.setenv("MAX_IMAGE_BYTES", "7")
    here = ray_actor._settings_here(NOWHERE)
    assert (str(here.embedding_cache), here.max_image_bytes) == ("/models", NOWHERE.max_image_bytes)
    assert here.secret_key == "sb_secret_x"


def test_of_the_secrets_the_secret_key_alone_goes_to_the_nodes():
    kinds = {field.name: str(field.type) for field in fields(NOWHERE) if "Secret" in str(field.type)}
    assert "secret_key" in kinds
    full = replace(
        NOWHERE,
        **{name: ("hush",) if kind.startswith("tuple") else Secret("hush") for name, kind in kinds.items()},
    )
    sent = Plan.of(full, (), None, once=True)
    here = ray_actor._settings_here(pickle.loads(pickle.dumps(sent)).settings)
    assert pickle.dumps(sent).count(b"hush") == 1
    assert [name for name in kinds if getattr(here, name)] == ["secret_key"]


def test_a_line_is_not_told_again_by_a_thread_that_has_not_said_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(RayWorker, "_work", lambda worker: worker._tell("Storage is away."))
    worker = RayWorker(plan())
    assert ended(worker).said == "Storage is away."
    monkeypatch.setattr(RayWorker, "_work", lambda _worker: None)
    worker.begin()
    assert ended(worker).said == ""
