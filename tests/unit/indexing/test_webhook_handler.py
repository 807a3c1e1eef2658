"""The webhook handler: one image's failures, the surroundings' faults, which meet all, and that they
never mix.
"""

from __future__ import annotations

import hashlib
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import httpx
import numpy as np
import pytest
import requests
import responses
from support.waiting import PATIENCE, eventually

from shared import images
from shared.errors import (
    Busy,
    DatabaseOutdated,
    DatabaseUnavailable,
    DecoderCrashed,
    DecodingTimedOut,
    ImageError,
    ModelBroken,
    ModelNotLoaded,
    NeuralSearchError,
    StorageForbidden,
    StorageUnavailable,
    kinds,
)
from shared.images import DECODER_VERSION, DecodedImage
from shared.indexing.job_runner import Decode
from shared.indexing.webhook import Kick, ObjectChanged, ObjectDeleted
from shared.indexing.webhook_handler import WebhookHandler
from shared.runtime.limiter import ConcurrencyLimiter
from shared.runtime.metrics import Metrics
from shared.runtime.model_registry import ModelRegistry
from shared.settings import Secret
from shared.supabase import credentials
from shared.supabase.database import Database, http_client
from shared.supabase.storage import Storage
from shared.testing import ColourEmbedder, RpcTransport, md5, picture

URL = "http://supabase.test"
SERVICE = credentials.Identity(apikey=Secret("secret"), authorization=Secret("Bearer secret"))
RED = picture("red")
SHA256 = hashlib.sha256(RED).hexdigest()
DECODE = partial(images.decode, max_bytes=10_000, max_pixels=10_000)
DOWN = httpx.ConnectError("refused")


def job(number: int = 1, **changes: Any) -> dict[str, Any]:
    return {
        "object_id": str(uuid.UUID(int=number)),
        "model": "colours",
        "version": "v1",
        "bucket_id": "images",
        "name": f"{number}.png",
        "size": len(RED),
        "mime_type": "image/png",
        "etag": md5(RED),
        "attempt": 1,
        "lease_id": str(uuid.UUID(int=100 + number)),
        "waited_seconds": 1.5,
        "known_hashes": [],
        **changes,
    }


def claimed(**changes: Any) -> list[dict[str, Any]]:
    return [{"status": "claimed", "reason": None, **job(**changes)}]


@pytest.fixture
def storage() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


def holds(storage: responses.RequestsMock, number: int = 1, body: bytes = RED, **answer: Any) -> None:
    storage.get(f"{URL}/storage/v1/object/authenticated/images/{number}.png", body=body, **answer)


@pytest.fixture(autouse=True)
def background(
    storage: responses.RequestsMock, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], None]]:
    """Waits until nothing is at work any more."""
    monkeypatch.setattr("shared.indexing.background_worker.LINGERING_SECONDS", 0.0)
    monkeypatch.setattr("shared.indexing.webhook_handler.PATIENCE_SECONDS", 0.0)

    def settle() -> None:
        eventually(lambda: all(thread.name != "background worker" for thread in threading.enumerate()))

    yield settle
    settle()


@pytest.fixture
def postgrest() -> RpcTransport:
    return RpcTransport(
        claim_object=claimed(),
        claim_embedding_jobs=[],
        finish_embedding_job="embedded",
        reuse_embedding="unknown",
        fail_embedding_job=lambda given: {"doubtful": "retry"}.get(given["outcome"], given["outcome"]),
        release_embedding_jobs=lambda arguments: len(arguments["lease_ids"]),
    )


def build(
    postgrest: RpcTransport,
    *,
    load: Any = ColourEmbedder,
    limiter: ConcurrencyLimiter | None = None,
    decode: Decode = DECODE,
    metrics: Metrics | None = None,
    stopping: threading.Event | None = None,
) -> WebhookHandler:
    http = http_client(postgrest)
    return WebhookHandler(
        database=lambda: Database(URL, SERVICE, http),
        storage=Storage(URL, SERVICE, requests.Session()),
        models=ModelRegistry(["colours"], load),
        limiter=limiter or ConcurrencyLimiter(running=1, waiting=0),
        metrics=metrics or Metrics(),
        decode=decode,
        max_bytes=10_000,
        stopping=stopping or threading.Event(),
    )


def changed(postgrest: RpcTransport, **given: Any) -> tuple[str, str | None]:
    [result] = build(postgrest, **given).handle(ObjectChanged(object_id=str(uuid.UUID(int=1))))
    return result.status, result.reason


def test_an_image_is_stored_with_its_vector_its_hash_and_its_measures(
    postgrest: RpcTransport, storage: responses.RequestsMock
):
    holds(storage)
    assert changed(postgrest) == ("embedded", None)
    [stored] = postgrest.called("finish_embedding_job")
    vector = np.array(json.loads(stored.pop("embedding")), np.float32)
    assert vector.tolist() == ColourEmbedder().embed_texts(["red"])[0].tolist()  # to the last bit
    assert stored == {
        "object_id": str(uuid.UUID(int=1)),
        "model": "colours",
        "object_version": "v1",
        "content_hash": hashlib.sha256(RED).hexdigest(),
        "width": 32,
        "height": 32,
        "mime_type": "image/png",
        "perceptual_hash": f"{1 << 63:b}",  # of one colour: nothing but its mean
        "shown": 1,
        "decoder_version": DECODER_VERSION,
    }


def test_an_image_that_is_cut_off_is_stored_with_the_share_of_its_rows(
    postgrest: RpcTransport, storage: responses.RequestsMock
):
    def decode(data: bytes, *, min_side: int | None) -> DecodedImage:
        return replace(DECODE(data, min_side=min_side), shown=0.75)

    holds(storage)
    assert changed(postgrest, decode=decode) == ("embedded", None)
    [stored] = postgrest.called("finish_embedding_job")
    assert stored["shown"] == 0.75


@pytest.mark.parametrize("answer", ["superseded", "gone"])
def test_an_object_that_changed_meanwhile_is_told_so(
    postgrest: RpcTransport, storage: responses.RequestsMock, answer: str
):
    holds(storage)
    postgrest.answers["finish_embedding_job"] = answer
    assert changed(postgrest) == (answer, None)


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ("unchanged", "unchanged"),
        ("waiting", "unchanged"),
        ("skipped", "skipped"),
        ("failed", "failed"),
        ("gone", "gone"),
        ("ignored", "skipped"),
    ],
)
def test_what_is_not_claimed_is_told_with_its_reason(postgrest: RpcTransport, status: str, told: str):
    postgrest.answers["claim_object"] = [{**job(), "status": status, "reason": "because"}]
    assert changed(postgrest) == (told, "because")


def test_a_status_of_another_version_asks_for_an_install(postgrest: RpcTransport):
    postgrest.answers["claim_object"] = [{**job(), "status": "paused", "reason": None}]
    with pytest.raises(DatabaseOutdated, match="'paused'"):
        changed(postgrest)


def test_a_deletion_needs_nobody(postgrest: RpcTransport):
    event = ObjectDeleted(object_id="7", bucket_id="images", name="a.png")
    [result] = build(postgrest).handle(event)
    assert (result.status, result.name, postgrest.calls) == ("gone", "a.png", [])


@pytest.mark.parametrize(
    ("changes", "error", "outcome"),
    [
        ({"size": 0}, "EmptyImage", "skipped"),
        ({"name": "a/.emptyFolderPlaceholder"}, "EmptyImage", "skipped"),
        ({"size": 10_001}, "ImageTooLarge", "failed"),
    ],
)
def test_what_cannot_be_an_image_is_not_even_downloaded(
    postgrest: RpcTransport, storage: responses.RequestsMock, changes: Any, error: str, outcome: str
):
    postgrest.answers["claim_object"] = claimed(**changes)
    status, reason = changed(postgrest)
    assert status == outcome and reason is not None and reason.startswith(error)
    [failure] = postgrest.called("fail_embedding_job")
    assert (failure["outcome"], failure["error_class"]) == (outcome, error)
    assert len(storage.calls) == 0


@pytest.mark.parametrize(
    ("body", "error", "outcome"),
    [
        (b"", "EmptyImage", "skipped"),
        (b"<html>no image</html>", "NotAnImage", "skipped"),
        (RED[: len(RED) // 2], "BrokenImage", "failed"),
        (picture(size=(200, 200)), "TooManyPixels", "failed"),
        (b"x" * 10_001, "ImageTooLarge", "failed"),
    ],
)
def test_an_image_that_will_never_do_ends_with_its_cause(
    postgrest: RpcTransport, storage: responses.RequestsMock, body: bytes, error: str, outcome: str
):
    holds(storage, body=body)
    postgrest.answers["claim_object"] = claimed(size=None, etag=None)
    assert changed(postgrest)[0] == outcome
    [failure] = postgrest.called("fail_embedding_job")
    assert (failure["outcome"], failure["error_class"]) == (outcome, error)
    assert "Error" not in failure["error_message"], "uploaders read it: a library's words are for the log"
    undecoded = error in ("EmptyImage", "ImageTooLarge")
    assert failure.get("decoder_version") == (None if undecoded else DECODER_VERSION)
    assert failure["lease_id"] == str(uuid.UUID(int=101))


@pytest.mark.parametrize(
    ("answer", "error", "outcome"),
    [
        (
            {"status": 400, "body": '{"statusCode":"404","code":"NoSuchKey","message":"no"}'},
            "ObjectNotFound",
            "retry",
        ),
        ({"status": 500, "body": '{"statusCode":"500","message":"no"}'}, "StorageError", "doubtful"),
        (
            {"status": 500, "body": '{"code":"500","message":"\\ud800\\u0000"}'},
            "StorageError",
            "doubtful",
        ),
        ({"body": RED[:-1]}, "StaleObject", "doubtful"),
        ({"headers": {"ETag": md5(b"older")}}, "StaleObject", "doubtful"),
        ({"body": requests.ReadTimeout()}, "StorageError", "doubtful"),
    ],
)
def test_what_may_pass_is_tried_again_and_charged_where_it_is_the_images_own(
    postgrest: RpcTransport,
    storage: responses.RequestsMock,
    capfd: pytest.CaptureFixture[str],
    answer: Any,
    error: str,
    outcome: str,
):
    holds(storage, **answer)
    status, reason = changed(postgrest)
    assert "Traceback" not in capfd.readouterr().err
    assert status == "failed" and reason is not None and reason.endswith("It will be tried again.")
    [failure] = postgrest.called("fail_embedding_job")
    assert (failure["outcome"], failure["error_class"], failure.get("decoder_version")) == (
        outcome,
        error,
        None,
    )


@pytest.mark.parametrize(("kind", "outcome"), [(DecodingTimedOut, "failed"), (DecoderCrashed, "retry")])
def test_an_image_that_kills_its_decoder_is_tried_again_and_one_that_takes_too_long_is_not(
    postgrest: RpcTransport, storage: responses.RequestsMock, kind: type[ImageError], outcome: str
):
    def decode(_data: bytes, *, min_side: int | None) -> DecodedImage:
        raise kind()

    holds(storage)
    assert changed(postgrest, decode=decode)[0] == "failed"
    [failure] = postgrest.called("fail_embedding_job")
    assert (failure["outcome"], failure["error_class"]) == (outcome, kind.__name__)


@pytest.mark.parametrize("name", ["../../auth/v1/logout", "a/./b.png", "a\\..\\b.png"])
def test_an_object_whose_name_climbs_is_tried_once_and_told_why(
    postgrest: RpcTransport,
    storage: responses.RequestsMock,
    capsys: pytest.CaptureFixture[str],
    name: str,
):
    postgrest.answers["claim_object"] = claimed(name=name)
    status, reason = changed(postgrest)
    assert status == "failed" and reason is not None and reason.endswith("Move the object to another name.")
    [failure] = postgrest.called("fail_embedding_job")
    assert (failure["outcome"], failure["error_class"]) == ("failed", "InvalidObjectName")
    assert len(storage.calls) == 0 and "ERROR" not in capsys.readouterr().err


def test_an_object_that_moved_away_during_the_download_is_superseded(
    postgrest: RpcTransport, storage: responses.RequestsMock
):
    holds(storage, status=400, body='{"statusCode":"404","code":"NoSuchKey","message":"no"}')
    postgrest.answers["fail_embedding_job"] = "superseded"  # its lease went with the move
    assert changed(postgrest)[0] == "superseded"


def test_a_failure_that_nobody_expected_costs_only_its_own_image(
    postgrest: RpcTransport, storage: responses.RequestsMock, capsys: pytest.CaptureFixture[str]
):
    class Moody(ColourEmbedder):
        def embed_images(self, images):  # type: ignore[no-untyped-def]
            if images[0].getpixel((0, 0)) == (0, 0, 255):
                raise MemoryError("blue is too much")
            return super().embed_images(images)

    blue = picture("blue")
    batches = iter([[job(1), job(2, size=len(blue), etag=md5(blue)), job(3)], []])
    postgrest.answers["claim_embedding_jobs"] = lambda _arguments: next(batches)
    for number, body in ((1, RED), (2, blue), (3, RED)):
        holds(storage, number, body)
    results = build(postgrest, load=Moody).handle(Kick(limit=10))
    outcomes = {result.name: result.status for result in results}
    assert outcomes == {"1.png": "embedded", "2.png": "failed", "3.png": "embedded"}
    assert [failure["error_class"] for failure in postgrest.called("fail_embedding_job")] == ["MemoryError"]
    assert "blue is too much" in capsys.readouterr().err


class Gone(ColourEmbedder):
    def embed_images(self, images):  # type: ignore[no-untyped-def]
        raise RuntimeError("the GPU is gone")


def broken(_name: str) -> ColourEmbedder:
    raise ModelNotLoaded("no such file")


@pytest.mark.parametrize(
    ("answer", "load", "fault"),
    [
        ({"body": requests.ConnectionError("refused")}, ColourEmbedder, StorageUnavailable),
        ({"status": 503}, ColourEmbedder, StorageUnavailable),
        ({"status": 544}, ColourEmbedder, StorageUnavailable),
        ({"status": 429, "headers": {"Retry-After": "42"}}, ColourEmbedder, StorageUnavailable),
        ({"status": 403}, ColourEmbedder, StorageForbidden),
        ({}, broken, ModelNotLoaded),
        ({}, Gone, ModelBroken),
    ],
)
def test_a_fault_of_the_surroundings_gives_all_jobs_back_uncharged(
    postgrest: RpcTransport,
    storage: responses.RequestsMock,
    answer: Any,
    load: Any,
    fault: type[NeuralSearchError],
):
    numbers = range(1, 9)
    due = iter([[job(number) for number in numbers]])
    postgrest.answers["claim_embedding_jobs"] = lambda _: next(due, [])
    for number in numbers:
        holds(storage, number, **answer)
    with pytest.raises(fault):
        build(postgrest, load=load).handle(Kick(limit=50))
    given_back = postgrest.called("release_embedding_jobs")
    leases = [lease for call in given_back for lease in call["lease_ids"]]
    assert sorted(leases) == [str(uuid.UUID(int=100 + number)) for number in numbers]
    assert {call["error_class"] for call in given_back} == {fault.__name__}
    if "headers" in answer:
        assert {call["delay_seconds"] for call in given_back} == {42}
    assert postgrest.called("fail_embedding_job") == []


def test_an_image_that_breaks_the_model_is_suspected_and_those_after_it_are_not(
    postgrest: RpcTransport, storage: responses.RequestsMock
):
    class Poisoned(ColourEmbedder):
        broken = False

        def embed_images(self, images):  # type: ignore[no-untyped-def]
            Poisoned.broken = Poisoned.broken or images[0].getpixel((0, 0)) == (0, 0, 255)
            if Poisoned.broken:
                raise RuntimeError("CUDA error: an illegal memory access was encountered")
            return super().embed_images(images)

    blue = picture("blue")
    holds(storage, 1)
    holds(storage, 2, blue)
    ingest = build(postgrest, load=Poisoned)
    assert ingest.handle(ObjectChanged(object_id=str(uuid.UUID(int=1))))[0].status == "embedded"
    postgrest.answers["claim_object"] = claimed(number=2, size=len(blue), etag=md5(blue))
    with pytest.raises(ModelBroken):
        ingest.handle(ObjectChanged(object_id=str(uuid.UUID(int=2))))
    [failure] = postgrest.called("fail_embedding_job")
    assert (failure["object_id"], failure["outcome"]) == (str(uuid.UUID(int=2)), "doubtful")
    assert failure["error_class"] == "ModelBroken" and "illegal memory access" in failure["error_message"]

    postgrest.answers["claim_object"] = claimed(number=1)
    with pytest.raises(ModelBroken):
        ingest.handle(ObjectChanged(object_id=str(uuid.UUID(int=1))))
    assert len(postgrest.called("fail_embedding_job")) == 1
    given_back = [lease for call in postgrest.called("release_embedding_jobs") for lease in call["lease_ids"]]
    assert str(uuid.UUID(int=101)) in given_back


def test_what_was_done_before_the_fault_stays_done(postgrest: RpcTransport, storage: responses.RequestsMock):
    stored = threading.Event()
    batches = iter([[job(1), job(2)]])

    def finish(_arguments: Any) -> str:
        stored.set()
        return "embedded"

    def down(_request: Any) -> tuple[int, dict[str, str], str]:
        assert stored.wait(PATIENCE)
        return 503, {}, ""

    postgrest.answers |= {
        "claim_embedding_jobs": lambda _: next(batches, []),
        "finish_embedding_job": finish,
    }
    holds(storage, 1)
    storage.add_callback("GET", f"{URL}/storage/v1/object/authenticated/images/2.png", down)
    with pytest.raises(StorageUnavailable):
        build(postgrest).handle(Kick(limit=10))
    assert len(postgrest.called("finish_embedding_job")) == 1
    assert postgrest.called("release_embedding_jobs")[0]["lease_ids"] == [str(uuid.UUID(int=102))]


@pytest.mark.parametrize("step", ["claim_object", "finish_embedding_job"])
def test_a_database_that_is_down_is_nobodys_fault(
    postgrest: RpcTransport, storage: responses.RequestsMock, step: str
):
    holds(storage)
    postgrest.answers[step] = DOWN
    postgrest.answers["release_embedding_jobs"] = DOWN
    with pytest.raises(DatabaseUnavailable) as raised:
        changed(postgrest)
    assert raised.value.retry_after
    assert postgrest.called("fail_embedding_job") == []


@pytest.mark.parametrize("step", ["reuse_embedding", "finish_embedding_job", "fail_embedding_job"])
def test_an_image_whose_rows_somebody_has_locked_waits_uncharged_and_no_other_does(
    postgrest: RpcTransport, storage: responses.RequestsMock, step: str
):
    """A deletion holds them for as long as Storage's files take."""

    def locked(given: dict[str, Any]) -> httpx.Response | str:
        if given["object_id"] != str(uuid.UUID(int=1)):
            return "embedded"
        return httpx.Response(
            500, json={"code": "55P03", "message": "canceling statement due to lock timeout"}
        )

    for number in (1, 2):
        holds(storage, number, b"no image" if step == "fail_embedding_job" and number == 1 else RED)
    known = [SHA256] if step == "reuse_embedding" else []
    batches = iter([[job(number, size=None, etag=None, known_hashes=known) for number in (1, 2)]])
    postgrest.answers |= {
        step: locked,
        "finish_embedding_jobs": lambda given: ["busy"] * len(given["object_ids"]),
        "claim_embedding_jobs": lambda _: next(batches, []),
    }
    assert [result.status for result in build(postgrest).handle(Kick(limit=10))] == ["embedded"]
    [given_back] = postgrest.called("release_embedding_jobs")
    assert given_back["lease_ids"] == [str(uuid.UUID(int=101))] and given_back["delay_seconds"]
    assert len(postgrest.called("fail_embedding_job")) == (step == "fail_embedding_job")


def test_a_call_for_an_object_whose_rows_somebody_has_locked_is_told_to_come_back(
    postgrest: RpcTransport, storage: responses.RequestsMock
):
    holds(storage)
    postgrest.answers["finish_embedding_job"] = httpx.Response(500, json={"code": "55P03", "message": "why"})
    with pytest.raises(Busy) as raised:
        changed(postgrest)
    assert raised.value.retry_after and len(postgrest.called("release_embedding_jobs")) == 1


def test_a_kick_works_until_its_limit_or_until_nothing_is_due(
    postgrest: RpcTransport, storage: responses.RequestsMock
):
    for number in range(1, 10):
        holds(storage, number)
    due = [job(number) for number in range(1, 8)]
    postgrest.answers["claim_embedding_jobs"] = lambda arguments: [
        due.pop(0) for _ in range(min(arguments["max_jobs"], len(due)))
    ]
    assert len(build(postgrest).handle(Kick(limit=5))) == 5
    assert len(build(postgrest).handle(Kick(limit=50))) == 2


def test_what_is_due_beside_an_object_is_done_when_its_call_has_answered(
    postgrest: RpcTransport, storage: responses.RequestsMock, background: Callable[[], None]
):
    """Few calls are made at a time, uploads beside them make none, and who called isn't kept waiting."""
    holds(storage)
    holds(storage, 2)
    answered = threading.Event()
    due = [job(2)]

    def claim(_arguments: dict[str, Any]) -> list[dict[str, Any]]:
        answered.wait(PATIENCE)
        return [due.pop()] if due else []

    postgrest.answers["claim_embedding_jobs"] = claim
    [result] = build(postgrest).handle(ObjectChanged(object_id=str(uuid.UUID(int=1))))
    assert result.name == "1.png" and len(due) == 1
    answered.set()
    background()
    assert len(postgrest.called("finish_embedding_job")) == 2


def always_due(postgrest: RpcTransport, leased: list[str]) -> None:
    numbers = iter(range(2, 100_000))

    def claim(arguments: dict[str, Any]) -> list[dict[str, Any]]:
        batch = [job(next(numbers), name="1.png") for _ in range(arguments["max_jobs"])]
        leased.extend(row["lease_id"] for row in batch)
        return batch

    postgrest.answers["claim_embedding_jobs"] = claim


def check_nothing_stays_leased(postgrest: RpcTransport, leased: list[str]) -> None:
    numbers_done = {uuid.UUID(stored["object_id"]).int for stored in postgrest.called("finish_embedding_job")}
    done = {str(uuid.UUID(int=100 + number)) for number in numbers_done}
    given_back = postgrest.called("release_embedding_jobs")
    assert {call["delay_seconds"] for call in given_back} == {0}
    assert set(leased) - done == {lease for call in given_back for lease in call["lease_ids"]}


def test_a_kick_that_is_waited_for_stops_claiming_in_time_to_answer(
    postgrest: RpcTransport, storage: responses.RequestsMock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("shared.indexing.webhook_handler.WORKING_SECONDS", 0.5)
    leased: list[str] = []
    always_due(postgrest, leased)
    holds(storage)
    build(postgrest).handle(Kick(limit=1000))
    check_nothing_stays_leased(postgrest, leased)


FIRST = ObjectChanged(object_id=str(uuid.UUID(int=1)))


@pytest.mark.parametrize("event", [Kick(limit=1, wait=False), replace(FIRST, wait=False), FIRST])
def test_what_goes_on_after_the_answer_ends_with_the_process(
    postgrest: RpcTransport,
    storage: responses.RequestsMock,
    background: Callable[[], None],
    event: Kick | ObjectChanged,
):
    leased: list[str] = []
    stopping = threading.Event()
    always_due(postgrest, leased)
    holds(storage)
    assert len(build(postgrest, stopping=stopping).handle(event)) == event.wait
    eventually(lambda: len(postgrest.called("finish_embedding_job")) > 20)
    stopping.set()
    background()
    check_nothing_stays_leased(postgrest, leased)


def test_calls_that_come_meanwhile_start_no_second_run(
    postgrest: RpcTransport, storage: responses.RequestsMock, background: Callable[[], None]
):
    """But one more look, as the first may have been over when theirs came to be due."""
    looking, go_on = threading.Event(), threading.Event()

    def claim(_arguments: dict[str, Any]) -> list[dict[str, Any]]:
        looking.set()
        assert go_on.wait(PATIENCE)
        return []

    postgrest.answers["claim_embedding_jobs"] = claim
    ingest = build(postgrest)
    ingest.handle(Kick(limit=1, wait=False))
    assert looking.wait(PATIENCE)
    for _ in range(5):
        ingest.handle(Kick(limit=1, wait=False))
    assert len(postgrest.called("claim_embedding_jobs")) == 1
    go_on.set()
    background()
    assert len(postgrest.called("claim_embedding_jobs")) == 4


def test_a_call_that_doesnt_wait_for_what_becomes_of_it_still_waits_a_little(
    postgrest: RpcTransport, storage: responses.RequestsMock, monkeypatch: pytest.MonkeyPatch
):
    """Where a platform gives a process its CPU during calls alone, that much is done."""
    monkeypatch.setattr("shared.indexing.webhook_handler.PATIENCE_SECONDS", 10.0)
    monkeypatch.setattr("shared.indexing.background_worker.LINGERING_SECONDS", 0.1)
    holds(storage)
    due = [job(1)]
    postgrest.answers["claim_embedding_jobs"] = lambda _: [due.pop()] if due else []
    build(postgrest).handle(replace(FIRST, wait=False))
    assert len(postgrest.called("finish_embedding_job")) == 1


def test_a_kick_ends_at_its_limit_and_nothing_goes_on(
    postgrest: RpcTransport, storage: responses.RequestsMock, background: Callable[[], None]
):
    holds(storage)
    postgrest.answers["claim_embedding_jobs"] = lambda arguments: [
        job(number, name="1.png") for number in range(1, arguments["max_jobs"] + 1)
    ]
    assert len(build(postgrest).handle(Kick(limit=2))) == 2
    background()
    assert len(postgrest.called("finish_embedding_job")) == 2


@pytest.mark.parametrize("event", [Kick(limit=10), ObjectChanged(object_id=str(uuid.UUID(int=1)))])
def test_a_process_that_is_to_end_gives_back_what_it_has_leased(
    postgrest: RpcTransport,
    storage: responses.RequestsMock,
    monkeypatch: pytest.MonkeyPatch,
    event: Kick | ObjectChanged,
):
    """Also the image that hangs in its decoder, uncharged and due at once."""
    monkeypatch.setattr("shared.indexing.worker_pool.GRACE_SECONDS", 0.1)
    stopping, over = threading.Event(), threading.Event()

    def hang(_data: bytes, *, min_side: int | None) -> DecodedImage:
        stopping.set()
        over.wait(PATIENCE)
        raise DecoderCrashed()

    batches = iter([[job(number, name="1.png") for number in range(1, 9)]])
    postgrest.answers["claim_embedding_jobs"] = lambda _: next(batches, [])
    holds(storage)
    ingest = build(postgrest, decode=hang, stopping=stopping)
    try:
        with nullcontext() if isinstance(event, Kick) else pytest.raises(Busy, match="due again"):
            ingest.handle(event)
        given_back = postgrest.called("release_embedding_jobs")
        numbers = range(1, 9) if isinstance(event, Kick) else [1]
        leases = [lease for call in given_back for lease in call["lease_ids"]]
        assert sorted(leases) == [str(uuid.UUID(int=100 + number)) for number in numbers]
        assert {call["delay_seconds"] for call in given_back} == {0}
        claims = len(postgrest.calls)
        with pytest.raises(Busy, match="about to end"):
            ingest.handle(event)
        assert len(postgrest.calls) == claims
    finally:
        over.set()


def test_busy_is_said_before_anything_is_claimed_and_the_work_is_done_by_who_got_in(
    postgrest: RpcTransport, storage: responses.RequestsMock, background: Callable[[], None]
):
    holds(storage)
    holds(storage, 2)
    limiter = ConcurrencyLimiter(running=1, waiting=0)
    ingest = build(postgrest, limiter=limiter)
    with limiter.enter(), pytest.raises(Busy):
        ingest.handle(ObjectChanged(object_id=str(uuid.UUID(int=2))))
    assert postgrest.calls == []

    due = [job(2)]
    postgrest.answers["claim_embedding_jobs"] = lambda _: [due.pop()] if due else []
    ingest.handle(ObjectChanged(object_id=str(uuid.UUID(int=1))))
    background()
    assert [stored["object_id"] for stored in postgrest.called("finish_embedding_job")] == [
        str(uuid.UUID(int=1)),
        str(uuid.UUID(int=2)),
    ]


def test_a_fault_in_the_work_of_those_turned_away_is_not_told_to_who_got_in(
    postgrest: RpcTransport, storage: responses.RequestsMock, background: Callable[[], None]
):
    holds(storage)
    limiter = ConcurrencyLimiter(running=1, waiting=0)
    ingest = build(postgrest, limiter=limiter)
    with limiter.enter(), pytest.raises(Busy):
        ingest.handle(ObjectChanged(object_id=str(uuid.UUID(int=2))))
    postgrest.answers["claim_embedding_jobs"] = DOWN
    [result] = ingest.handle(ObjectChanged(object_id=str(uuid.UUID(int=1))))
    assert result.status == "embedded"
    background()
    assert len(postgrest.called("claim_embedding_jobs")) == 1


def undecodable(_data: bytes, *, min_side: int | None) -> DecodedImage:
    raise AssertionError("it was decoded")


def test_bytes_that_a_document_has_already_are_neither_decoded_nor_embedded(
    postgrest: RpcTransport, storage: responses.RequestsMock
):
    holds(storage)
    postgrest.answers |= {"claim_object": claimed(known_hashes=[SHA256]), "reuse_embedding": "embedded"}
    assert changed(postgrest, decode=undecodable) == ("embedded", None)
    [asked] = postgrest.called("reuse_embedding")
    assert asked == {
        "object_id": str(uuid.UUID(int=1)),
        "model": "colours",
        "object_version": "v1",
        "content_hash": hashlib.sha256(RED).hexdigest(),
        "decoder_version": DECODER_VERSION,
    }
    assert postgrest.called("finish_embedding_job") == []


@pytest.mark.parametrize("outcome", ["superseded", "gone"])
def test_a_copy_that_changed_meanwhile_is_told_so(
    postgrest: RpcTransport, storage: responses.RequestsMock, outcome: str
):
    holds(storage)
    postgrest.answers |= {"claim_object": claimed(known_hashes=[SHA256]), "reuse_embedding": outcome}
    assert changed(postgrest, decode=undecodable) == (outcome, None)


@pytest.mark.parametrize(("known", "asked"), [([], 0), (["0" * 64], 0), ([SHA256], 1), (None, 1)])
def test_bytes_that_no_document_has_any_more_are_embedded_and_asked_about_only_where_they_may_be_known(
    postgrest: RpcTransport, storage: responses.RequestsMock, known: list[str] | None, asked: int
):
    holds(storage)
    postgrest.answers["claim_object"] = claimed(known_hashes=known)
    assert changed(postgrest) == ("embedded", None)
    assert len(postgrest.called("reuse_embedding")) == asked
    assert len(postgrest.called("finish_embedding_job")) == 1


def test_identical_images_in_one_batch_are_embedded_once_and_others_ask_nobody(
    postgrest: RpcTransport, storage: responses.RequestsMock
):
    stored: list[str] = []

    def finish(given: dict[str, Any]) -> str:
        stored.append(given["content_hash"])
        return "embedded"

    blue = picture("blue")
    batches = iter([[*(job(number) for number in range(1, 8)), job(8, size=len(blue), etag=md5(blue))]])
    postgrest.answers |= {
        "claim_embedding_jobs": lambda _: next(batches, []),
        "finish_embedding_job": finish,
        "reuse_embedding": lambda given: "embedded" if given["content_hash"] in stored else "unknown",
    }
    for number in range(1, 8):
        holds(storage, number)
    holds(storage, 8, blue)
    results = build(postgrest).handle(Kick(limit=50))
    assert [result.status for result in results] == ["embedded"] * 8
    assert sorted(stored) == sorted(hashlib.sha256(data).hexdigest() for data in (RED, blue))
    assert len(postgrest.called("reuse_embedding")) == 6


def test_freshness_is_counted_from_the_upload(postgrest: RpcTransport, storage: responses.RequestsMock):
    holds(storage)
    metrics = Metrics()
    postgrest.answers["claim_object"] = claimed(waited_seconds=400.0)
    build(postgrest, metrics=metrics).handle(ObjectChanged(object_id=str(uuid.UUID(int=1))))
    text = metrics.text().decode()
    assert 'neural_search_freshness_seconds_bucket{le="300.0"} 0.0' in text
    assert 'neural_search_freshness_seconds_bucket{le="900.0"} 1.0' in text


def test_an_object_without_work_is_logged_with_its_id(
    postgrest: RpcTransport, capsys: pytest.CaptureFixture[str]
):
    postgrest.answers["claim_object"] = [{**job(), "status": "gone", "reason": "It was deleted."}]
    changed(postgrest)
    log = capsys.readouterr().err
    assert str(uuid.UUID(int=1)) in log and '"event": "gone"' in log and "It was deleted." in log


def test_a_log_line_names_the_object_and_no_secret(
    postgrest: RpcTransport, storage: responses.RequestsMock, capsys: pytest.CaptureFixture[str]
):
    holds(storage)
    changed(postgrest)
    log = capsys.readouterr().err
    assert str(uuid.UUID(int=1)) in log and '"event": "embedded"' in log
    assert "Bearer" not in log


@pytest.mark.parametrize("kind", list(kinds(NeuralSearchError)), ids=lambda kind: kind.__name__)
def test_what_becomes_of_a_job_is_told_by_its_error(
    postgrest: RpcTransport, storage: responses.RequestsMock, kind: type[NeuralSearchError]
):
    def decode(data: bytes, *, min_side: int | None) -> DecodedImage:
        raise kind()

    holds(storage)
    if kind.outcome in ("release", "wait"):
        with pytest.raises(kind if kind.outcome == "release" else Busy):
            changed(postgrest, decode=decode)
        assert len(postgrest.called("release_embedding_jobs")) == 1
    else:
        changed(postgrest, decode=decode)
        assert [call["outcome"] for call in postgrest.called("fail_embedding_job")] == [kind.outcome]
