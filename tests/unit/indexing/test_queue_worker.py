"""Draining the queue: each claimed job is reported or given back, once, in any event."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from support.waiting import PATIENCE

from shared.errors import DatabaseLocked, DatabaseUnavailable, NeuralSearchError, StorageUnavailable
from shared.indexing import worker, worker_pool
from shared.indexing.job_runner import Result
from shared.indexing.leases import FAULT_SECONDS, Leases
from shared.indexing.queue import Job
from shared.indexing.worker import Worker
from shared.runtime.model_registry import ModelRegistry
from shared.settings import Secret
from shared.supabase import credentials
from shared.supabase.database import Database, http_client
from shared.testing import ColourEmbedder, RpcTransport

SERVICE = credentials.Identity(apikey=Secret("secret"), authorization=Secret("Bearer secret"))
THREADS = 4


class Queue:
    """The database's side: due jobs, and the outcome of each lease."""

    def __init__(self, jobs: int):
        self.due = [str(uuid.UUID(int=number)) for number in range(1, jobs + 1)]
        self.lock = threading.Lock()
        self.claims: list[int] = []
        self.given_back: list[str] = []
        self.delays: list[int] = []
        self.transport = RpcTransport(claim_embedding_jobs=self._claim, release_embedding_jobs=self._release)

    def _claim(self, given: dict[str, Any]) -> list[dict[str, Any]]:
        self.claims.append(given["max_jobs"])
        with self.lock:
            taken, self.due = self.due[: given["max_jobs"]], self.due[given["max_jobs"] :]
        return [row(lease) for lease in taken]

    def _release(self, given: dict[str, Any]) -> int:
        self.given_back += given["lease_ids"]
        self.delays.append(given["delay_seconds"])
        return len(given["lease_ids"])


def row(lease: str) -> dict[str, Any]:
    return {
        "object_id": lease,
        "model": "colours",
        "version": "v1",
        "bucket_id": "images",
        "name": f"{lease}.png",
        "size": 1,
        "mime_type": "image/png",
        "etag": None,
        "attempt": 1,
        "waited_seconds": 0.5,
        "known_hashes": [],
        "lease_id": lease,
    }


class Pipeline:
    """Runs `work` for each job, and knows how many run at a time."""

    def __init__(self, work: Callable[[Job], None]):
        self._work = work
        self._lock = threading.Lock()
        self.running = self.most = 0
        self.begun: list[str] = []

    def run(self, _database: Database, job: Job, _claimed_at: float) -> Result:
        with self._lock:
            self.begun.append(job.lease_id)
            self.running += 1
            self.most = max(self.most, self.running)
        try:
            self._work(job)
        finally:
            with self._lock:
                self.running -= 1
        return Result(object_id=job.object_id, bucket=job.bucket_id, name=job.name, status="embedded")


@pytest.fixture
def leave() -> Iterator[threading.Event]:
    """Set at the end, so that no test leaves a thread behind that waits."""
    event = threading.Event()
    yield event
    event.set()


def build(queue: Queue, runner: Pipeline) -> Worker:
    http = http_client(queue.transport)
    return Worker(
        database=lambda: Database("http://supabase.test", SERVICE, http),
        runner=runner,  # type: ignore[arg-type]
        leases=Leases(),
        models=ModelRegistry(["colours"], ColourEmbedder),
        concurrency=THREADS,
    )


def ids(results: list[Result]) -> list[str]:
    return [result.object_id for result in results]


def test_every_job_has_one_outcome_and_no_more_run_at_a_time_than_asked():
    queue, results = Queue(41), list[Result]()
    together = threading.Barrier(THREADS)  # passes only where so many run at a time
    begun = iter(range(41))
    runner = Pipeline(lambda _: together.wait(PATIENCE) if next(begun) < THREADS else None)  # type: ignore[arg-type, return-value]
    wanted = list(queue.due)
    build(queue, runner).run(results.append)
    assert sorted(ids(results)) == wanted and sorted(runner.begun) == wanted
    assert runner.most == THREADS
    assert queue.given_back == []
    assert max(queue.claims) <= 3 * THREADS


def test_no_more_is_claimed_than_wait_and_run_nor_than_the_limit(leave: threading.Event):
    queue, results = Queue(100), list[Result]()
    full, stop = threading.Event(), threading.Event()

    def work(_job: Job) -> None:
        full.set()
        leave.wait(PATIENCE)

    run = threading.Thread(
        target=build(queue, Pipeline(work)).run, args=(results.append,), kwargs={"stop": stop}
    )
    run.start()
    assert full.wait(PATIENCE)
    stop.set()
    leave.set()
    run.join(PATIENCE)
    assert 100 - len(queue.due) <= 3 * THREADS
    assert (
        sorted(ids(results) + queue.given_back)
        == [str(uuid.UUID(int=n)) for n in range(1, 101)][: 100 - len(queue.due)]
    )

    queue, results = Queue(100), []
    build(queue, Pipeline(lambda _: None)).run(results.append, limit=7)
    assert len(results) == 7 and len(queue.due) == 93


def test_a_fault_of_one_lets_the_others_end_gives_back_the_rest_and_is_raised_once():
    queue, results = Queue(50), list[Result]()
    others = threading.Barrier(THREADS)
    faulty = queue.due[1]
    faulted = threading.Event()

    def work(job: Job) -> None:
        others.wait(PATIENCE)  # all four run
        if job.lease_id == faulty:
            raise StorageUnavailable(retry_after=42)
        assert faulted.wait(PATIENCE)  # ends after the fault

    queue.transport.answers["release_embedding_jobs"] = lambda given: (faulted.set(), queue._release(given))[
        1
    ]
    runner = Pipeline(work)
    with pytest.raises(StorageUnavailable):
        build(queue, runner).run(results.append)
    claimed = 50 - len(queue.due)
    assert len(runner.begun) == THREADS
    assert sorted(ids(results)) == sorted(set(runner.begun) - {faulty})
    assert len(queue.given_back) == len(set(queue.given_back)) == claimed - (THREADS - 1)
    assert faulty in queue.given_back and set(queue.delays) == {42}


@pytest.mark.parametrize("error", [DatabaseLocked, DatabaseUnavailable])
def test_an_image_that_is_to_wait_by_itself_is_given_back_and_no_other_waits(
    error: type[NeuralSearchError], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(error, "outcome", "wait")
    queue, results = Queue(41), list[Result]()
    wanted, locked = list(queue.due), queue.due[2]

    def work(job: Job) -> None:
        if job.lease_id == locked:
            raise error(retry_after=10)

    build(queue, Pipeline(work)).run(results.append)
    assert sorted(ids(results)) == [lease for lease in wanted if lease != locked]
    assert (queue.given_back, queue.delays) == ([locked], [10])


def test_what_is_claimed_while_a_fault_happens_is_given_back_unbegun():
    queue, results = Queue(50), list[Result]()
    faulted = threading.Event()
    claim = queue.transport.answers["claim_embedding_jobs"]

    def slow_claim(given: dict[str, Any]) -> Any:
        if queue.claims:  # the second claim is under way when the fault comes
            assert faulted.wait(PATIENCE)
        return claim(given)

    def work(job: Job) -> None:
        if len(queue.due) == 50 - 3 * THREADS and job.lease_id == str(uuid.UUID(int=6)):
            raise StorageUnavailable()

    queue.transport.answers |= {
        "claim_embedding_jobs": slow_claim,
        "release_embedding_jobs": lambda given: (faulted.set(), queue._release(given))[1],
    }
    runner = Pipeline(work)
    with pytest.raises(StorageUnavailable):
        build(queue, runner).run(results.append)
    claimed = [str(uuid.UUID(int=number)) for number in range(1, 51 - len(queue.due))]
    assert sorted(ids(results) + queue.given_back) == claimed


def test_a_database_that_is_down_ends_the_run_and_its_leases_are_given_back_at_the_next():
    queue, results = Queue(6), list[Result]()
    owed = queue.due[:]

    def work(_job: Job) -> None:
        raise DatabaseUnavailable()

    release = queue.transport.answers["release_embedding_jobs"]
    queue.transport.answers["release_embedding_jobs"] = httpx.ConnectError("refused")
    runner = Pipeline(work)
    draining = build(queue, runner)
    with pytest.raises(DatabaseUnavailable):
        draining.run(results.append)
    with pytest.raises(DatabaseUnavailable):  # still down
        draining.run(results.append)
    assert queue.given_back == []

    queue.transport.answers["release_embedding_jobs"] = release
    draining.run(results.append)
    assert sorted(queue.given_back) == owed
    draining.run(results.append)
    assert len(queue.given_back) == len(owed)  # once is enough


def test_one_job_that_cant_be_answered_keeps_no_other_from_its_turn():
    queue, results = Queue(30), list[Result]()
    wanted, odd = list(queue.due), queue.due[3]
    claims: dict[str, list[str]] = {}
    rests: list[int] = []  # of claims that are given back

    def claim(given: dict[str, Any]) -> Any:
        taken = queue._claim(given)
        claims[given["claim_id"]] = [row["lease_id"] for row in taken]
        is_odd = odd in claims[given["claim_id"]]
        return (
            httpx.Response(200, text="[{", headers={"content-type": "application/json"}) if is_odd else taken
        )

    def release(given: dict[str, Any]) -> int:
        again = list(given["lease_ids"])  # of jobs that had not begun
        for claim_id in given["claim_ids"]:
            rests.append(given["delay_seconds"])
            again += [] if given["delay_seconds"] else claims[claim_id]
        with queue.lock:
            queue.due = again + queue.due
        return queue._release(given)

    queue.transport.answers |= {"claim_embedding_jobs": claim, "release_embedding_jobs": release}
    worker = build(queue, Pipeline(lambda _: None))
    for _ in range(2):  # with all that were claimed beside it, and by itself
        with pytest.raises(DatabaseUnavailable):
            worker.run(results.append)
    worker.run(results.append)
    assert sorted(ids(results)) == [lease for lease in wanted if lease != odd]
    assert rests == [0, FAULT_SECONDS]
    assert queue.claims[-1] > 1  # once it is out of the way all is as before


def test_what_nobody_expected_gives_the_lease_back_too():
    queue = Queue(1)

    def work(_job: Job) -> None:
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        build(queue, Pipeline(work)).run(lambda _: None)
    assert len(queue.given_back) == 1


def test_a_stop_lets_what_runs_end_and_gives_back_the_rest_due_at_once(leave: threading.Event):
    queue, results, stop = Queue(30), list[Result](), threading.Event()
    all_run = threading.Barrier(THREADS + 1)

    def work(_job: Job) -> None:
        all_run.wait(PATIENCE)
        leave.wait(PATIENCE)

    runner = Pipeline(work)  # whose barrier nobody after the first four would pass
    run = threading.Thread(
        target=build(queue, runner).run, args=(results.append,), kwargs={"forever": True, "stop": stop}
    )
    run.start()
    all_run.wait(PATIENCE)
    stop.set()
    leave.set()
    run.join(PATIENCE)
    assert not run.is_alive()
    claimed = [str(uuid.UUID(int=number)) for number in range(1, 31 - len(queue.due))]
    assert sorted(ids(results)) == sorted(runner.begun)
    assert sorted(ids(results) + queue.given_back) == claimed
    assert set(queue.delays) == {0}


def test_a_stop_does_not_wait_long_for_an_image_that_hangs(
    leave: threading.Event, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(worker_pool, "GRACE_SECONDS", 0.05)
    queue, stop = Queue(1), threading.Event()

    def work(_job: Job) -> None:
        stop.set()
        leave.wait(PATIENCE)

    build(queue, Pipeline(work)).run(lambda _: None, stop=stop)
    assert queue.given_back == [str(uuid.UUID(int=1))] and queue.delays == [0]


def test_a_job_that_waited_too_long_for_its_turn_is_given_back_unbegun(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(worker_pool, "BEGIN_SECONDS", 0.0)
    queue, results = Queue(3), list[Result]()
    runner = Pipeline(lambda _: None)
    build(queue, runner).run(results.append)
    assert (results, runner.begun, len(queue.given_back), set(queue.delays)) == ([], [], 3, {0})


def test_what_waited_too_long_is_done_before_the_run_ends(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(worker_pool, "BEGIN_SECONDS", 0.0)
    queue, results = Queue(3), list[Result]()
    wanted = list(queue.due)

    def release(given: dict[str, Any]) -> int:
        monkeypatch.setattr(worker_pool, "BEGIN_SECONDS", PATIENCE)
        with queue.lock:
            queue.due = [*queue.due, *given["lease_ids"]]
        return queue._release(given)

    queue.transport.answers["release_embedding_jobs"] = release
    build(queue, Pipeline(lambda _: None)).run(results.append)
    assert sorted(ids(results)) == wanted and queue.given_back


def test_what_may_have_killed_its_last_worker_runs_while_nothing_else_is_leased():
    queue = Queue(3)
    suspects = [row(str(uuid.UUID(int=number))) | {"attempt": 2} for number in (5, 6)]
    claim, suspect_runs = queue.transport.answers["claim_embedding_jobs"], threading.Event()
    queue.transport.answers["claim_embedding_jobs"] = lambda given: (
        claim(given) or [suspects.pop(0) for _ in suspects[:1]]
    )
    beside: list[int] = []  # how many ran when a suspect did

    def work(job: Job) -> None:
        if job.attempt > 1:
            beside.append(runner.running)
            suspect_runs.set()
        else:
            suspect_runs.wait(0.1)

    runner = Pipeline(work)
    build(queue, runner).run(lambda _: None)
    assert (beside, len(runner.begun)) == ([1, 1], 5)


def test_what_hangs_does_not_keep_what_may_have_killed_its_last_worker(
    leave: threading.Event, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(worker.queue, "LEASE_SECONDS", 1)
    queue, stop, results = Queue(1), threading.Event(), list[Result]()
    hangs, suspect = queue.due[0], row(str(uuid.UUID(int=5))) | {"attempt": 2}
    claim, suspects = queue.transport.answers["claim_embedding_jobs"], iter([[suspect]])
    queue.transport.answers["claim_embedding_jobs"] = lambda given: claim(given) or next(suspects, [])

    def report(result: Result) -> None:
        results.append(result)
        stop.set()
        leave.set()

    def work(job: Job) -> None:
        if job.lease_id == hangs:
            leave.wait(PATIENCE)

    build(queue, Pipeline(work)).run(report, forever=True, stop=stop)
    assert ids(results)[0] == suspect["object_id"]


def test_a_drain_that_runs_forever_finds_what_comes_later(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(worker, "IDLE_SECONDS", 0.01)
    queue, stop = Queue(0), threading.Event()
    late = str(uuid.UUID(int=9))
    claim = queue.transport.answers["claim_embedding_jobs"]

    def later(given: dict[str, Any]) -> Any:
        if len(queue.claims) == 3:
            queue.due.append(late)
        return claim(given)

    queue.transport.answers["claim_embedding_jobs"] = later
    results = list[Result]()

    def report(result: Result) -> None:
        results.append(result)
        stop.set()

    build(queue, Pipeline(lambda _: None)).run(report, forever=True, stop=stop)
    assert ids(results) == [late]


def test_an_empty_queue_costs_one_look_and_no_thread():
    queue, before = Queue(0), {*threading.enumerate()}  # some of which may end meanwhile
    build(queue, Pipeline(lambda _: None)).run(lambda _: None)
    assert (len(queue.claims), {*threading.enumerate()} - before) == (1, set())


def test_the_number_of_jobs_given_back_is_reported():
    queue, heard = Queue(3), list[int]()
    leases = Leases(heard.append)
    with http_client(queue.transport) as http:
        database = Database("http://supabase.test", SERVICE, http)
        claimed = [Job(**row(lease)) for lease in queue.due]
        leases.give_back(database, claimed, StorageUnavailable())
        leases.give_back(database, [], StorageUnavailable())
    assert heard == [len(claimed)] and queue.given_back == [job.lease_id for job in claimed]
