"""The worker as a process: it drains the queue with the secret key alone, and leaves it in order."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support import interpreter
from support.command_line import CommandLine
from support.databases import clone
from support.dripping_server import Gateway, dripping_server, slowly
from support.http_servers import free_port
from support.running_project import Running, running
from support.waiting import PATIENCE

from cli.commands import worker
from cli.console.worker_progress import WorkerProgress
from cli.workers import single
from local.postgres import Cluster
from shared.errors import ModelBroken, StorageError, StorageUnavailable
from shared.settings import bare_environment, load
from shared.supabase import storage_answers
from shared.testing import picture


@pytest.fixture(scope="module")
def project(cluster: Cluster, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """No webhook is connected: uploads wait."""
    folder: Path = tmp_path_factory.mktemp("worker")
    with clone(cluster, template) as database, running(database.url, folder) as everything:
        everything.execute("delete from vault.secrets")
        yield everything


@pytest.fixture
def settings(project: Running) -> dict[str, str]:
    return {"SUPABASE_URL": project.url, "SUPABASE_SECRET_KEY": project.keys.secret}


@pytest.fixture
def command(settings: dict[str, str], tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path / "data", free_port(), settings)


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a worker as its own process, and kills those that a test leaves running."""
    started: list[subprocess.Popen[str]] = []

    def start(settings: dict[str, str], *options: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", "worker", *options],
            env=bare_environment(settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def upload(project: Running, name: str, data: bytes) -> None:
    project.service().storage.from_("images").upload(name, data, {"content-type": "image/png"})


def jobs(project: Running, prefix: str) -> list[dict[str, Any]]:
    asked = {"max_rows": 1000, "name_prefix": prefix}
    return list(project.service().rpc("list_embedding_jobs", asked).execute().data)


def ended(process: subprocess.Popen[str]) -> tuple[str, str]:
    stdout, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, stderr
    assert "Traceback" not in stderr
    return stdout, stderr


def test_once_embeds_all_that_is_due_and_counts_it(
    project: Running, settings: dict[str, str], start: Callable[..., subprocess.Popen[str]]
):
    names = [f"once/{number}.png" for number in range(6)]
    for name in names:
        upload(project, name, picture("red"))
    upload(project, "once/not.png", b"<html>")
    stdout, stderr = ended(start(settings, "--once", "--json", "--concurrency", "3"))
    counts = json.loads(stdout)
    assert counts.pop("seconds") > 0
    assert counts == {"embedded": 6, "skipped": 1, "failed": 0, "superseded": 0, "gone": 0, "given_back": 0}
    [skipped] = [line for line in stderr.splitlines() if line.startswith("skipped: ")]
    assert "images/once/not.png (object " in skipped and "NotAnImage" in skipped
    assert {project.state(name)[0] for name in names} == {"searchable"}
    assert [job["name"] for job in jobs(project, "once/")] == ["once/not.png"]


def test_without_ray_its_engine_is_refused_with_the_way_to_get_it(
    command: CommandLine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert "pip install 'neural-search[cli,ray]'" in command.error("worker", "--engine", "ray")


@pytest.mark.parametrize("option", ["--workers", "--gpus-per-worker", "--address"])
def test_a_clusters_options_are_refused_without_its_engine(command: CommandLine, option: str):
    assert "--engine ray" in command.error("worker", option, "1")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_leaves_no_lease_behind(
    project: Running,
    settings: dict[str, str],
    start: Callable[..., subprocess.Popen[str]],
    number: signal.Signals,
):
    prefix = f"signal/{number}/"
    names = [f"{prefix}{index}.png" for index in range(40)]
    for name in names:
        upload(project, name, picture("blue"))
    process = start(settings, "--concurrency", "2")
    project.eventually(lambda: len(jobs(project, prefix)) < len(names), True)  # it is in the middle of it
    process.send_signal(number)
    stdout, _ = ended(process)
    assert stdout.startswith("Ended: ")
    left = jobs(project, prefix)
    assert [job for job in left if job["state"] == "running"] == []
    embedded = [name for name in names if project.state(name)[0] == "searchable"]
    assert len(embedded) + len(left) == len(names)


def test_it_outlives_a_project_that_is_away_and_says_so_in_one_line_each_time(
    settings: dict[str, str], start: Callable[..., subprocess.Popen[str]]
):
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        away = {**settings, "SUPABASE_URL": f"http://127.0.0.1:{nobody.getsockname()[1]}"}
    process = start(away)
    assert process.stderr
    lines = [process.stderr.readline() for _ in range(3)]
    assert lines[0].startswith("Working for ")
    assert all("can't reach the database's API" in line and "Trying again in" in line for line in lines[1:])
    process.send_signal(signal.SIGTERM)
    ended(process)


def test_it_ends_with_one_line_where_the_project_is_away_for_long(
    command: CommandLine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(single, "PATIENCE", 0)
    command.settings["SUPABASE_URL"] = f"http://127.0.0.1:{free_port()}"
    assert "can't reach" in command.run("worker", "--once", status=1).stderr.splitlines()[-1]


def test_a_wrong_key_ends_it_at_once(command: CommandLine):
    command.settings["SUPABASE_SECRET_KEY"] = "sb_secret_wrong"
    last = command.run("worker", status=1).stderr.splitlines()[-1]
    assert last.startswith("error: ") and "key" in last and "sb_secret_wrong" not in last


@pytest.mark.parametrize(
    ("options", "named"), [(("--model", "nowhere"), "no such model: 'nowhere'"), ((), "SUPABASE_SECRET_KEY")]
)
def test_what_it_needs_is_named_before_anything_is_claimed(
    command: CommandLine, options: tuple[str, ...], named: str
):
    if not options:
        command.settings.pop("SUPABASE_SECRET_KEY")
    assert named in command.error("worker", *options)


def test_it_puts_the_signals_back_as_they_were(command: CommandLine):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    command.run("worker", "--once")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_second_signal_ends_it_where_it_is():
    with pytest.raises(KeyboardInterrupt), worker._stopping_on_signals() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.wait(5)
        os.kill(os.getpid(), signal.SIGINT)
        stop.clear()
        stop.wait(5)


IN_THE_MIDDLE = """
import os, signal
from cli.commands import worker
with worker._stopping_on_signals() as stop:
    with stop._cond:  # as `stop.wait` does for a moment
        os.kill(os.getpid(), signal.SIGTERM)
    print(stop.wait(30))
"""


def test_a_signal_may_come_in_the_middle_of_a_look_at_the_stop():
    assert interpreter.output(IN_THE_MIDDLE) == "True\n"


def test_a_model_that_breaks_on_the_way_ends_it_and_another_fault_does_not():
    faults: list[Exception] = [StorageUnavailable(), ModelBroken(), AssertionError("it went on")]

    class Worker:
        reached = True

        def run(self, *_: object, **__: object) -> None:
            raise faults.pop(0)

    stop = threading.Event()
    stop.wait = lambda timeout=None: False  # type: ignore[method-assign]
    with pytest.raises(ModelBroken):
        single.work(Worker(), WorkerProgress(), stop, once=False)  # type: ignore[arg-type]
    assert len(faults) == 1


gateway = pytest.fixture(dripping_server)


def test_a_storage_that_drips_holds_no_thread_of_a_worker_for_ever(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(storage_answers, "TOTAL_SECONDS", 0.2)
    monkeypatch.setattr("shared.embedding.load", lambda _name, configuration: SimpleNamespace(joined=1))
    monkeypatch.setattr("shared.indexing.worker.build_worker", lambda **parts: parts["storage"])
    url = gateway(slowly(b"HTTP/1.1 200 OK\r\n\r\n", b" "), 0.05)
    mine = load({"SUPABASE_URL": url, "SUPABASE_SECRET_KEY": "sb_secret_ofTheProjectAlone"})
    with single.opened(mine, ("colours",), 4, WorkerProgress()) as storage, pytest.raises(StorageError):
        storage.download("images", "a.png", version="1", max_bytes=1000)  # type: ignore[attr-defined]
