"""Postgres that crashes and starts again in the middle of each step: work once begun comes to its end."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager

import httpx
import psycopg
import pytest
from psycopg import sql
from psycopg_pool.base import AttemptWithBackoff
from storage3.exceptions import StorageApiError
from support.faulty_project import FaultyProject, faulty_project
from support.faulty_proxy import Exchange, Fault, after
from support.memory_folder import quick_folder
from support.waiting import PATIENCE, eventually

from cli.installer import migrations
from local.postgres import SUPERUSER, Cluster, prepare_database
from shared.settings import CHECKOUT
from shared.testing import picture

OBJECTS, FINISH = "/storage/v1/object/authenticated/images/", "/rest/v1/rpc/finish_embedding_job"
DOCUMENTS, JOBS = "neural_search.documents", "neural_search.jobs"


class Crashing:
    """A server of its own: its commits must survive a crash, and others need theirs."""

    def __init__(self, cluster: Cluster):
        self.cluster = cluster
        self.used_by: FaultyProject | None = None

    def crash(self) -> None:
        """As `pg_ctl stop -m immediate`: no goodbye, no checkpoint, and recovery at the next start."""
        lock = self.cluster.log.with_name("data") / "postmaster.pid"
        pid = int(lock.read_text().split("\n", 1)[0])
        os.kill(pid, signal.SIGQUIT)
        eventually(lambda: not lock.exists() and not self.cluster.is_running())

    def restart(self) -> None:
        self.crash()
        self.start()

    def start(self) -> None:
        """Returns once the gateway has its connections again."""
        self.cluster.start()
        project = self.used_by
        assert project
        eventually(lambda: httpx.get(f"{project.running.url}/health").status_code == 200)
        eventually(lambda: answers(project.bucket.list))


@pytest.fixture(scope="module")
def postgres() -> Iterator[Crashing]:
    with quick_folder() as folder, Cluster(folder / "postgres") as cluster:
        yield Crashing(cluster)


@pytest.fixture(scope="module")
def prompt() -> Iterator[None]:
    """The gateway connects again without its seconds of back-off, which aren't tested here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AttemptWithBackoff, "INITIAL_DELAY", 0.1)
        patch.setattr(AttemptWithBackoff, "DELAY_BACKOFF", 1.0)
        yield


@pytest.fixture(scope="module")
def project(
    postgres: Crashing, tmp_path_factory: pytest.TempPathFactory, prompt: None
) -> Iterator[FaultyProject]:
    def url(user: str) -> str:
        return postgres.cluster.url(user, "restarts")

    # Not a clone: with wal_level = minimal a crash damages the unlogged tables of one made just before.
    prepare_database(postgres.cluster, "restarts")
    migrations.apply(url("postgres"))
    with psycopg.connect(url("postgres")) as connection:
        connection.execute((CHECKOUT / "supabase" / "seed.sql").read_bytes())
    with faulty_project(url, tmp_path_factory.mktemp("restarts")) as everything:
        postgres.used_by = everything
        yield everything


@contextmanager
def slow_writes(project: FaultyProject, table: str) -> Iterator[None]:
    """An insert into `table` is still under way when the server crashes."""
    name = sql.SQL(table).as_string()
    project.running.execute(
        "create function public.sleep_long() returns trigger language plpgsql as"
        " $$ begin perform pg_sleep(60); return new; end $$"
    )
    project.running.execute(
        f"create trigger slow before insert on {name} for each row execute function public.sleep_long()"
    )
    try:
        yield
    finally:
        project.running.execute("drop function public.sleep_long() cascade")


def sleeping(project: FaultyProject) -> bool:
    [row] = project.rows("select count(*) as sleepers from pg_stat_activity where wait_event = 'PgSleep'")
    return bool(row["sleepers"])


def check_converges(project: FaultyProject, *names: str) -> None:
    project.converge()
    project.check_searchable(*names)


def answers(work: Callable[[], object]) -> bool:
    try:
        work()
    except StorageApiError:
        return False
    return True


@contextmanager
def meanwhile(work: Callable[[], object]) -> Iterator[Future[object]]:
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(work)


def test_a_crash_during_an_upload_leaves_an_object_with_its_job_or_neither(
    project: FaultyProject, postgres: Crashing, name: str
):
    with (
        slow_writes(project, JOBS),
        meanwhile(lambda: project.upload(f"{name}.png", picture("red") + name.encode())) as upload,
    ):
        eventually(lambda: sleeping(project))
        postgres.restart()
        assert isinstance(upload.exception(PATIENCE), StorageApiError)
    assert project.rows("select from storage.objects where name = %s", f"{name}.png") == []
    assert project.rows("select from neural_search.jobs") == []
    project.upload(f"{name}.png", picture("red") + name.encode())
    check_converges(project, f"{name}.png")


def test_a_crash_after_an_upload_loses_the_kick_and_not_the_job(
    project: FaultyProject, postgres: Crashing, name: str
):
    with closing(psycopg.connect(project.running.database_url(SUPERUSER))) as holder:
        # Before it sends anything, pg_net's worker writes there; a kick only reads.
        holder.execute("lock table net._http_response in share row exclusive mode")
        project.connect_webhook(True)
        project.upload(f"{name}.png", picture("red") + name.encode())
        project.connect_webhook(False)
        assert queued(project) == 1
        postgres.restart()
    assert queued(project) == 0
    check_converges(project, f"{name}.png")


def queued(project: FaultyProject) -> int:
    [row] = project.rows("select count(*) as requests from net.http_request_queue")
    return int(row["requests"])


@pytest.mark.parametrize("path", [OBJECTS, FINISH], ids=["claim and download", "embed and finish"])
def test_a_restart_between_two_steps_goes_unnoticed(
    project: FaultyProject, postgres: Crashing, name: str, path: str
):
    project.upload(f"{name}.png", picture("red") + name.encode())
    with project.proxy.fault(path, after(postgres.restart)):
        answer = project.kick()
    check_converges(project, f"{name}.png")
    assert answer.status_code in (200, 503), answer.text


@pytest.mark.parametrize("path", [OBJECTS, FINISH], ids=["claim and download", "embed and finish"])
def test_a_crash_between_two_steps_costs_time_only(
    project: FaultyProject, postgres: Crashing, name: str, path: str
):
    names = [f"{name}/{number}.png" for number in range(3)]
    for each in names:
        project.upload(each, picture("red") + each.encode())
    with project.proxy.fault("", dead_from(path, postgres)):
        assert project.kick().status_code == 503
    postgres.start()
    assert [project.documents(each) for each in names] == [[]] * 3
    check_converges(project, *names)


def test_a_crash_during_finish_leaves_the_job_or_the_document(
    project: FaultyProject, postgres: Crashing, name: str
):
    project.upload(f"{name}.png", picture("red") + name.encode())
    with slow_writes(project, DOCUMENTS), meanwhile(project.kick) as kick:
        eventually(lambda: sleeping(project))
        postgres.restart()
        kick.result(PATIENCE)
    assert project.documents(f"{name}.png") == []
    assert project.job(f"{name}.png")["state"] == "pending"
    check_converges(project, f"{name}.png")


def test_a_crash_after_finish_committed_neither_loses_nor_doubles_the_document(
    project: FaultyProject, postgres: Crashing, name: str
):
    def crash_after(exchange: Exchange) -> None:
        exchange.forward()
        postgres.restart()
        exchange.reset()

    project.upload(f"{name}.png", picture("red") + name.encode())
    with project.proxy.fault(FINISH, crash_after):
        project.kick()
    project.check_searchable(f"{name}.png")
    check_converges(project, f"{name}.png")


def test_a_crash_during_reconcile_leaves_it_to_the_next_run(
    project: FaultyProject, postgres: Crashing, name: str
):
    def reconcile() -> None:
        project.running.execute("select public.reconcile_documents()")

    project.upload(f"{name}.png", picture("red") + name.encode())
    project.running.execute("delete from neural_search.jobs")  # as if no trigger had recorded it
    with slow_writes(project, JOBS), meanwhile(reconcile) as run:
        eventually(lambda: sleeping(project))
        postgres.restart()
        assert isinstance(run.exception(PATIENCE), psycopg.OperationalError)
    assert project.rows("select from neural_search.jobs") == []
    reconcile()
    check_converges(project, f"{name}.png")


def dead_from(path: str, postgres: Crashing) -> Fault:
    """Postgres crashes when `path` is asked for, and nothing is reached any more."""
    lock = threading.Lock()
    dead = threading.Event()

    def fault(exchange: Exchange) -> None:
        with lock:
            if path in exchange.path and not dead.is_set():
                postgres.crash()
                dead.set()
        if dead.is_set():
            return exchange.reset()
        exchange.send(exchange.forward())

    return fault
