"""Vectors that share a round trip: each has the outcome that it would have alone."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from support.waiting import PATIENCE

from shared.errors import DatabaseUnavailable, InvalidQuery
from shared.indexing.group_commit import GroupCommit
from shared.indexing.queue import Embedded, Job
from shared.settings import Secret
from shared.supabase import credentials
from shared.supabase.database import Database, http_client
from shared.testing import RpcTransport

SERVICE = credentials.Identity(apikey=Secret("secret"), authorization=Secret("Bearer secret"))
THREADS = 8
FOREVER = 30.0  # a patience that a test would fail for, were it waited


def embedded(number: int) -> Embedded:
    object_id = str(uuid.UUID(int=number))
    job = Job(
        object_id=object_id,
        model="colours",
        version="v1",
        bucket_id="images",
        name=f"{number}.png",
        size=1,
        mime_type="image/png",
        etag=None,
        attempt=1,
        waited_seconds=0.0,
        lease_id=object_id,
        known_hashes=[],
    )
    return Embedded(
        job=job,
        embedding=np.array([number, 0.5], dtype=np.float32),
        content_hash=str(number),
        width=number,
        height=3,
        mime_type="image/png",
        perceptual_hash="01" * 32,
        shown=1.0,
        decoder_version=2,
    )


def store_all(commits: GroupCommit, transport: RpcTransport, count: int) -> list[str | Exception]:
    """The outcome of each vector, all brought at the same time."""
    http, together = http_client(transport), threading.Barrier(count)

    def store(number: int) -> str | Exception:
        together.wait(PATIENCE)
        try:
            return commits.store(Database("http://supabase.test", SERVICE, http), embedded(number))
        except Exception as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(store, range(1, count + 1)))


def project(**answers: Any) -> RpcTransport:
    return RpcTransport(
        **{
            "finish_embedding_job": "embedded",
            "finish_embedding_jobs": lambda given: ["embedded"] * len(given["object_ids"]),
        }
        | answers
    )


def numbers(transport: RpcTransport) -> list[int]:
    return sorted(width for given in transport.called("finish_embedding_jobs") for width in given["widths"])


def test_vectors_that_are_ready_together_share_round_trips_of_half_the_threads():
    transport = project()
    assert store_all(GroupCommit(THREADS, FOREVER), transport, THREADS) == ["embedded"] * THREADS
    batches = transport.called("finish_embedding_jobs")
    assert [len(given["object_ids"]) for given in batches] == [4, 4]
    assert numbers(transport) == [1, 2, 3, 4, 5, 6, 7, 8]
    for given in batches:
        assert {name: len(column) for name, column in given.items()} == dict.fromkeys(given, 4)
        assert given["embeddings"] == [f"[{width},0.5]" for width in given["widths"]]


def test_a_vector_without_company_is_stored_by_the_single_call():
    transport = project()
    assert store_all(GroupCommit(THREADS), transport, 1) == ["embedded"]
    assert store_all(GroupCommit(THREADS, 0.01), transport, 1) == ["embedded"]
    assert store_all(GroupCommit(1, FOREVER), transport, 1) == ["embedded"]
    assert [name for name, _ in transport.calls] == ["finish_embedding_job"] * 3


def test_each_image_has_its_own_outcome():
    def statuses(given: dict[str, Any]) -> list[str]:
        return [
            {1: "embedded", 2: "superseded", 3: "gone"}.get(width, "embedded") for width in given["widths"]
        ]

    transport = project(finish_embedding_jobs=statuses)
    assert store_all(GroupCommit(THREADS, FOREVER), transport, 4) == [
        "embedded",
        "superseded",
        "gone",
        "embedded",
    ]


@pytest.mark.parametrize("status", ["busy", "refused"])
def test_what_a_batch_leaves_out_is_stored_by_itself(status):
    """It waits there for who holds the rows, and gets the error that says why."""
    transport = project(
        finish_embedding_jobs=lambda given: [
            status if width == 2 else "embedded" for width in given["widths"]
        ],
        finish_embedding_job=httpx.Response(400, json={"code": "22023", "message": "The embedding has 2."}),
    )
    first, second, *others = store_all(GroupCommit(THREADS, FOREVER), transport, 4)
    assert [first, *others] == ["embedded"] * 3
    assert isinstance(second, InvalidQuery) and "The embedding has 2" in str(second)
    assert [given["width"] for given in transport.called("finish_embedding_job")] == [2]


@pytest.mark.parametrize("code", ["22P02", "40P01"])  # malformed; a deadlock
def test_a_batch_that_the_database_refuses_is_stored_one_by_one(code: str):
    transport = project(finish_embedding_jobs=httpx.Response(400, json={"code": code, "message": "why"}))
    assert store_all(GroupCommit(THREADS, FOREVER), transport, 4) == ["embedded"] * 4
    assert sorted(given["width"] for given in transport.called("finish_embedding_job")) == [1, 2, 3, 4]


def test_a_database_that_is_away_is_everybodys_fault_and_asked_once():
    """The runner gives each lease back, with no attempt charged."""
    transport = project(finish_embedding_jobs=httpx.ConnectError("refused"))
    errors = store_all(GroupCommit(THREADS, FOREVER), transport, 4)
    assert [type(error) for error in errors] == [DatabaseUnavailable] * 4
    assert len({str(error) for error in errors}) == 1 == len(transport.calls)
    assert len(set(map(id, errors))) == 4  # one error's traceback would get the frames of all


@pytest.mark.parametrize("answer", [None, "embedded", ["embedded"], {"message": "upgrading"}, [1] * 4])
def test_an_answer_that_is_no_batchs_is_everybodys_fault_and_nobody_waits_for_ever(answer: Any):
    transport = project(finish_embedding_jobs=lambda given: answer)
    outcomes = store_all(GroupCommit(THREADS, FOREVER), transport, 4)
    assert [type(outcome) for outcome in outcomes] == [DatabaseUnavailable] * 4


def test_while_all_turns_are_taken_those_that_come_later_wait_and_go_together():
    entered, leave = threading.Semaphore(0), threading.Event()

    def single(_given: dict[str, Any]) -> str:
        entered.release()
        leave.wait(PATIENCE)
        return "embedded"

    transport = project(finish_embedding_job=single)
    commits, http = GroupCommit(64), http_client(transport)
    with ThreadPoolExecutor(16) as pool:
        stored = []
        for number in range(1, 17):
            database = Database("http://supabase.test", SERVICE, http)
            stored.append(pool.submit(commits.store, database, embedded(number)))
            if number <= 4:
                entered.acquire(timeout=PATIENCE)
        while len(commits._waiting) < 12:
            pass
        leave.set()
        assert [future.result(10) for future in stored] == ["embedded"] * 16
    assert numbers(transport) == list(range(5, 17))
