"""The embedded stack as processes: how it starts, survives, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from email.message import Message
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import httpx
import psutil
import pytest
from supabase import create_client
from supabase.lib.client_options import SyncClientOptions
from support.echo_server import Echo
from support.http_servers import free_port
from support.memory_folder import quick_folder
from support.waiting import PATIENCE, eventually
from typer.testing import CliRunner

from cli.__main__ import app
from local import keys, processes
from local.folders import passable
from local.postgres import Cluster
from local.processes import Child, _detail
from local.stack import Stack, _function_environment
from shared import settings as configuration
from shared.errors import StackError
from shared.settings import CHECKOUT, Settings
from shared.settings.data_folder import LOCK_FILE

PROGRAM = """
import contextlib
from local.stack import Stack
from shared import settings
with contextlib.suppress(KeyboardInterrupt), Stack(settings.load(), functions=False) as stack:
    stack.wait_ready()
    print("ready", flush=True)
    stack.run_until_interrupted()
"""

STARTING = """
import contextlib, time
from local.stack import Stack
from shared import settings

def prepare(_):
    print("ready", flush=True)
    time.sleep(600)

with contextlib.suppress(KeyboardInterrupt):
    Stack(settings.load(), prepare=prepare, functions=False).start()
"""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """One data folder for all: making a database cluster takes the longest."""
    with quick_folder() as path:
        yield path
        Cluster(path / "postgres").stop()


@pytest.fixture
def settings(folder: Path) -> Settings:
    return configuration.load({"LOCAL_DATA": str(folder), "LOCAL_PORT": str(free_port())})


@pytest.fixture
def stack(settings: Settings) -> Iterator[Stack]:
    with Stack(settings, functions=False) as running:
        running.wait_ready()
        yield running


@contextlib.contextmanager
def bucket(settings: Settings) -> Iterator[Any]:
    with httpx.Client() as http:
        options = SyncClientOptions(httpx_client=http)
        storage = create_client(settings.supabase_url, settings.secret_key, options).storage
        if "kept" not in [bucket.id for bucket in storage.list_buckets()]:
            storage.create_bucket("kept")
        yield storage.from_("kept")


def test_the_first_start_works_whatever_modes_new_folders_get() -> None:
    """As root the server runs as somebody else, who can't pass through a folder of root's alone."""
    with quick_folder() as parent:
        given = {"LOCAL_DATA": str(parent / "new" / "data"), "LOCAL_PORT": str(free_port())}
        stack = Stack(configuration.load(given), functions=False)
        before = os.umask(0o077)
        try:
            with stack:
                stack.wait_ready()
        finally:
            os.umask(before)
            home = stack._cluster._home
            if home.path != home.folder:
                shutil.rmtree(home.path)


OTHERS = {
    "SUPABASE_URL": "https://other.example.com",
    "SUPABASE_PUBLIC_URL": "https://public.other.example.com",
    "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_others",
    "SUPABASE_SECRET_KEY": "sb_secret_others",
    "SUPABASE_USER_TOKEN": "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoiYXV0aGVudGljYXRlZCIsInN1YiI6Im90aGVyIn0.c2ln",
    "QUERY_URL": "https://query.other.example.com",
    "EMBED_URL": "https://embed.other.example.com",
    "STORAGE_TRANSFORMATIONS": "on",
    "EMBED_WEBHOOK_SECRET": "secret-of-another-project",
    "DATABASE_URL": "postgresql://other.example.com/postgres",
}


def test_nothing_of_another_project_in_the_environment_gets_into_the_stack(tmp_path: Path) -> None:
    assert {configuration.ENVIRONMENT[name][0] for name in configuration.OF_A_PROJECT} == set(OTHERS)
    given = configuration.load(OTHERS | {"LOCAL_DATA": str(tmp_path)})
    own = Stack(given).settings
    kept = [name for name in configuration.OF_A_PROJECT if getattr(own, name) == getattr(given, name)]
    assert kept == []
    assert own.public_url == own.supabase_url


def test_the_stacks_own_address_for_browsers_may_be_another(tmp_path: Path) -> None:
    public = {"SUPABASE_PUBLIC_URL": "https://demo.example.com", "LOCAL_DATA": str(tmp_path)}
    assert Stack(configuration.load(public)).settings.public_url == "https://demo.example.com"


def test_a_running_stack_is_found_and_told_to_clients(stack: Stack, settings: Settings, folder: Path) -> None:
    running = Stack.running(settings)
    assert running is not None
    assert (running.pid, running.url) == (os.getpid(), stack.url)
    assert psutil.pid_exists(running.processes["gateway"])

    told = configuration.load({"LOCAL_DATA": str(folder)})
    assert told.supabase_url == f"http://127.0.0.1:{settings.local_port}"
    assert told.secret_key == stack.settings.secret_key
    assert told.database_url.startswith("postgresql://postgres@")
    assert told.embed_url == f"{told.supabase_url}/functions/v1/embed_on_upload"


def test_files_that_hold_keys_are_private(stack: Stack, folder: Path) -> None:
    for name in ("stack.env", "stack.json", "gateway.json", keys.FILE):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600, name


def test_logs_are_private(stack: Stack, folder: Path) -> None:
    assert stat.S_IMODE((folder / "logs").stat().st_mode) == 0o700
    logs = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder / "logs").iterdir()}
    assert "gateway.log" in logs and set(logs.values()) == {0o600}


def test_no_secret_is_on_a_command_line_or_in_a_log(stack: Stack, folder: Path) -> None:
    secrets = [str(value) for value in dataclasses.astuple(keys.load(folder))]
    running = Stack.running(stack.settings)
    assert running is not None
    texts = [" ".join(psutil.Process(pid).cmdline()) for pid in running.processes.values()]
    texts += [path.read_text() for path in (folder / "logs").iterdir()]
    assert not [secret for secret in secrets for text in texts if secret in text]


def test_a_second_stack_on_the_same_folder_is_refused(stack: Stack, settings: Settings) -> None:
    with pytest.raises(StackError, match="A stack runs on"):
        Stack(dataclasses.replace(settings, local_port=settings.local_port + 1)).start()
    assert httpx.get(f"{stack.url}/health").status_code == 200


def test_data_and_keys_survive_a_restart_and_nothing_is_left_running(settings: Settings) -> None:
    prepared: list[str] = []
    with Stack(settings, functions=False, prepare=lambda own: prepared.append(own.database_url)) as first:
        first.wait_ready()
        with bucket(first.settings) as images:
            images.upload("a.txt", b"kept", {"upsert": "true"})
        before = first.settings
        running = Stack.running(settings)
    assert running is not None
    assert len(prepared) == 1
    assert Stack.running(settings) is None
    assert not any(psutil.pid_exists(pid) for pid in running.processes.values())
    assert not Cluster(settings.local_data / "postgres").is_running()
    assert configuration.load({"LOCAL_DATA": str(settings.local_data)}).supabase_url == ""

    with Stack(settings, functions=False) as second:
        second.wait_ready()
        assert second.settings == before
        with bucket(second.settings) as images:
            assert images.download("a.txt") == b"kept"


def test_a_failed_preparation_leaves_nothing_running(settings: Settings) -> None:
    def fail(_: Settings) -> None:
        raise StackError("The migrations failed.")

    with pytest.raises(StackError, match="migrations"):
        Stack(settings, prepare=fail).start()
    assert Stack.running(settings) is None
    assert not Cluster(settings.local_data / "postgres").is_running()


def test_a_taken_port_is_one_line_that_says_what_to_do(settings: Settings) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", settings.local_port))
        taken.listen()
        with pytest.raises(StackError) as error:
            Stack(settings).start()
    assert f"Port {settings.local_port} can't be used" in str(error.value)
    assert "set LOCAL_PORT" in str(error.value)


def test_nobody_else_gets_the_port_while_the_stack_starts_or_its_gateway_is_dead(settings: Settings) -> None:
    def take(_: object = None) -> None:
        with pytest.raises(OSError, match="in use"):
            socket.create_server(("127.0.0.1", settings.local_port)).close()

    with Stack(settings, functions=False, prepare=take) as stack:
        stack.wait_ready()
        running = Stack.running(settings)
        assert running is not None
        os.kill(running.processes["gateway"], signal.SIGKILL)
        eventually(lambda: not _lives(running.processes["gateway"]))
        take()
        assert _healthy(stack)  # it waits for the next gateway
    socket.create_server(("127.0.0.1", settings.local_port)).close()


def test_a_folder_that_cannot_be_used_is_one_line(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StackError, match="Set LOCAL_DATA to another"):
        Stack(dataclasses.replace(settings, local_data=tmp_path / "file")).start()


def test_a_lock_that_cannot_be_opened_is_one_line_that_says_what_to_do(
    tmp_path: Path, settings: Settings
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "stack.lock").symlink_to("elsewhere")
    with pytest.raises(StackError, match=r"stack\.lock is a link .* Remove it"):
        Stack(dataclasses.replace(settings, local_data=folder)).start()


def test_a_gateway_that_is_killed_comes_back(stack: Stack, settings: Settings) -> None:
    running = Stack.running(settings)
    assert running is not None
    os.kill(running.processes["gateway"], signal.SIGKILL)
    eventually(lambda: Stack.running(settings) != running)
    stack.wait_ready()


def test_a_postgres_that_is_killed_comes_back_under_the_same_gateway(
    stack: Stack, settings: Settings
) -> None:
    server = Cluster(settings.local_data / "postgres")
    before = Stack.running(settings)
    with bucket(stack.settings) as images:
        images.upload("b.txt", b"there", {"upsert": "true"})
    (pid,) = [
        process.pid
        for process in psutil.process_iter(["name", "cmdline"])
        if "-D" in (process.info["cmdline"] or []) and str(server._home.data) in process.info["cmdline"]
    ]
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not psutil.pid_exists(pid))
    eventually(lambda: _healthy(stack))
    with bucket(stack.settings) as images:
        assert images.download("b.txt") == b"there"
    assert Stack.running(settings) == before


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_everything_in_order(settings: Settings, end: signal.Signals) -> None:
    with run(settings) as process:
        running = Stack.running(settings)
        assert running is not None and running.pid == process.pid
        process.send_signal(end)
        assert process.wait(PATIENCE) == 0
    assert not any(psutil.pid_exists(pid) for pid in running.processes.values())
    assert not Cluster(settings.local_data / "postgres").is_running()


@pytest.mark.parametrize(
    ("program", "names_itself"),
    [(STARTING, True), (PROGRAM, True), (PROGRAM, False)],
    ids=["starts", "runs", "runs by an earlier release"],
)
def test_down_ends_a_stack_that_runs_or_starts(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, program: str, names_itself: bool
) -> None:
    monkeypatch.setenv("LOCAL_DATA", str(settings.local_data))
    with run(settings, program) as process:
        if not names_itself:
            (settings.local_data / LOCK_FILE).write_text("")
        assert Stack.holder(settings) == process.pid
        told = CliRunner().invoke(app, ["down"])
        assert process.wait(PATIENCE) == 0
    assert told.stdout == "The embedded stack is stopped.\n"
    assert Stack.holder(settings) is None
    assert not Cluster(settings.local_data / "postgres").is_running()


def test_a_stack_that_was_killed_leaves_no_gateway_and_starts_again(settings: Settings) -> None:
    with run(settings) as process:
        running = Stack.running(settings)
        assert running is not None
        process.kill()
        process.wait()
    eventually(lambda: not any(psutil.pid_exists(pid) for pid in running.processes.values()))
    assert Stack.running(settings) is None
    with Stack(settings, functions=False) as stack:
        stack.wait_ready()


def test_a_stack_whose_folder_is_removed_ends_and_makes_no_other(settings: Settings) -> None:
    with passable() as place:
        own = dataclasses.replace(settings, local_data=place / "data")
        with run(own) as process:
            running = Stack.running(own)
            assert running is not None
            server = int((own.local_data / "postgres" / "data" / "postmaster.pid").read_text().split()[0])
            own.local_data.rename(place / "removed")
            assert process.wait(PATIENCE) == 0
        assert not any(psutil.pid_exists(pid) for pid in (server, *running.processes.values()))
        assert not own.local_data.exists()


def test_the_postgres_of_a_stack_that_was_killed_can_be_stopped(settings: Settings) -> None:
    with run(settings) as process:
        process.kill()
        process.wait()
    assert Stack.clear_up(settings)
    assert not Cluster(settings.local_data / "postgres").is_running()
    assert configuration.load({"LOCAL_DATA": str(settings.local_data)}).supabase_url == ""
    assert not Stack.clear_up(settings)


def test_a_process_that_ends_at_its_start_is_told_with_its_log(tmp_path: Path) -> None:
    child = Child("broken", ["no_such_module_of_ours"], dict(os.environ), tmp_path / "broken.log", CHECKOUT)
    child.start()
    try:
        while not child.has_ended:
            pass
        message = str(child.failure())
    finally:
        child.end()
    assert message.startswith("broken ended at its start, with status 1.")
    assert "No module named no_such_module_of_ours" in message


@pytest.fixture
def silent(tmp_path: Path) -> Child:
    """Stands for a process that runs; its address is the test's affair."""
    return Child("query", [], {}, tmp_path / "query.log", CHECKOUT)


def test_a_process_that_answers_that_it_never_will_work_is_not_waited_for(silent: Child) -> None:
    with Echo() as echo, pytest.raises(StackError, match=r"query can't work: .* status 500\. Its log is"):
        silent.wait_for_answer(f"{echo.url}/status/500", time.monotonic() + 60)


class Clock:
    """Its time passes in pauses alone."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_a_process_that_is_unavailable_is_waited_for(silent: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "time", Clock())
    with Echo() as echo, pytest.raises(StackError, match="query doesn't answer at"):
        silent.wait_for_answer(f"{echo.url}/status/503", 0.3)
    assert len(echo.received) > 1


def test_the_reason_of_a_process_that_cannot_work_is_its_own_words() -> None:
    body = BytesIO(b'{"type": "settings-error", "detail": "EMBEDDING_DEVICE is wrong."}')
    assert _detail(HTTPError("http://x", 500, "", Message(), body)) == "EMBEDDING_DEVICE is wrong."


def test_a_process_that_keeps_ending_waits_longer_each_time(tmp_path: Path) -> None:
    child = Child("broken", [], {}, tmp_path / "log", CHECKOUT)
    child._started = float("inf")  # it never ran long
    assert [child.pause_before_restart() for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]


def test_the_gateway_alone_says_in_one_line_why_it_cannot_start(tmp_path: Path) -> None:
    told = tmp_path / "gateway.json"
    url = "postgresql://postgres@/postgres?host=/nowhere"
    told.write_text(f'{{"socket": 9, "data": "{tmp_path}", "database_url": "{url}", "functions": {{}}}}')
    for path, reason in ((told, "The database can't be reached"), (tmp_path / "absent", "can't be read")):
        ended = subprocess.run(
            [sys.executable, "-m", "local.gateway", str(path)], capture_output=True, text=True, cwd=CHECKOUT
        )
        assert ended.returncode == 1
        assert len(ended.stderr.splitlines()) == 1
        assert reason in ended.stderr


def test_each_function_gets_only_what_it_needs(settings: Settings) -> None:
    own = keys.load(settings.local_data)
    full = dataclasses.replace(
        settings,
        secret_key=own.secret,
        publishable_key=own.publishable,
        database_url=configuration.Secret("postgresql://x"),
    )
    query, embed = (_function_environment(name, full) for name in ("query", "embed_on_upload"))
    assert "SUPABASE_SECRET_KEY" not in query
    assert query["SUPABASE_PUBLISHABLE_KEY"] == own.publishable
    assert embed["SUPABASE_SECRET_KEY"] == own.secret
    assert not {"DATABASE_URL"} & (set(query) | set(embed))


def test_a_bare_environment_holds_nothing_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPABASE_SECRET_KEY", "sb_secret_of_another_project")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "whatever")
    made = configuration.bare_environment({"LOCAL_PORT": "1"})
    assert made["LOCAL_PORT"] == "1"
    assert made["PATH"] == os.environ["PATH"]
    assert not {"SUPABASE_SECRET_KEY", "AWS_SECRET_ACCESS_KEY"} & set(made)


def run(settings: Settings, program: str = PROGRAM) -> subprocess.Popen[str]:
    """A stack in a process of its own, once it is ready."""
    environment = configuration.child_environment(
        {"LOCAL_DATA": str(settings.local_data), "LOCAL_PORT": str(settings.local_port)}
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], env=environment, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _healthy(stack: Stack) -> bool:
    try:
        return httpx.get(f"{stack.url}/health", timeout=30).status_code == 200
    except httpx.HTTPError:
        return False
