"""`neural-search up`, `down` and `status`: the embedded stack."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.app import INTERRUPTED
from cli.client.project import UNREACHABLE, Project
from cli.console import indexing_report, output
from cli.console.output import AsJson
from shared import settings
from shared.errors import StackError
from shared.settings import ENVIRONMENT, Settings, data_folder

LOG = "logs/up.log"
ADDRESSES = ("supabase_url", "query_url", "embed_url")
SECRETS = ("publishable_key", "secret_key", "webhook_secrets", "database_url")
STOP_SECONDS = 60.0
STOPPED = (INTERRUPTED, 128 + signal.SIGTERM, -signal.SIGTERM)  # statuses of one that `down` ended


def register(app: typer.Typer) -> None:
    app.command()(up)
    app.command()(down)
    app.command()(status)


def up(
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Start it in the background; return when it is ready.")
    ] = False,
) -> None:
    """Run the embedded stack on this machine: Postgres, a gateway for Supabase's HTTP APIs, both functions.

    Its data stay in LOCAL_DATA from one run to the next. In the foreground Ctrl-C stops it.
    """
    from cli.stacks.running_stack import launched  # psycopg and more: 0.5 s

    target = settings.load()
    if detach:
        _start_in_background(target)
        return
    with launched(target) as stack:
        _print_addresses(stack.settings)
        output.say("Ctrl-C stops it.")
        stack.run_until_interrupted()


def down() -> None:
    """Stop the embedded stack, wherever it was started, also while it starts. Its data stay."""
    from local.stack import Stack

    target = settings.load()
    pid = Stack.holder(target)
    if pid is None:
        left = Stack.clear_up(target)
        output.say(f"The embedded stack wasn't running.{' Its Postgres still was: stopped.' if left else ''}")
        return
    try:
        os.kill(pid, signal.SIGTERM)
    except PermissionError as error:
        raise StackError(f"Process {pid} runs the stack for another user. Stop it as that user.") from error
    deadline = time.monotonic() + STOP_SECONDS
    while Stack.holder(target):
        if time.monotonic() > deadline:
            raise StackError(f"Process {pid} hasn't ended in {STOP_SECONDS:.0f} s. Its logs may say why.")
        time.sleep(0.1)
    output.say("The embedded stack is stopped.")


def status(
    env: Annotated[
        bool,
        typer.Option(
            "--env", help='Print the settings, keys included: eval "$(neural-search status --env)".'
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the running parts and how many images are searchable; exit status 1 where one doesn't answer."""
    target = settings.load()
    target.need("supabase_url")
    if env:
        _print_environment(target)
        return
    found = _look(target)
    if as_json:
        output.print_json(found)
    else:
        _print_status(target, found)
    if not all(part["answers"] for part in found["parts"]):
        raise typer.Exit(1)


def _start_in_background(target: Settings) -> None:
    from local.stack import Stack

    if running := Stack.running(target):
        raise StackError(f"The embedded stack runs already at {running.url}. `neural-search down` stops it.")
    data_folder.claim(target.local_data)
    log = target.local_data / LOG
    own = log.with_name(f"up.{os.getpid()}.log")  # another `up` may be starting there
    process = _spawn(own)
    try:
        _wait_until_ready(process, own, log)
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise typer.Exit(INTERRUPTED) from None
    finally:
        own.replace(log)
    output.say(f"It runs in the background; its log is {log}")
    output.say('eval "$(neural-search status --env)" sets your shell up; `neural-search down` stops it.')


def _spawn(log: Path) -> subprocess.Popen[bytes]:
    """`up` in a session of its own, so that Ctrl-C and a closing terminal are not its concern."""
    with data_folder.usable(log.parent):
        opened = data_folder.create(log)
    with opened:
        return subprocess.Popen(
            [sys.executable, "-m", "cli", "up"],
            env=settings.child_environment({}),
            stdin=subprocess.DEVNULL,
            stdout=opened,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _wait_until_ready(process: subprocess.Popen[bytes], written: Path, log: Path) -> None:
    """Shows what it has written until it is ready; StackError with its last line where it ends before."""
    shown = 0
    while True:
        ended = process.poll() is not None  # asked first, so that the last lines are seen below
        lines = written.read_text(errors="replace").split("\n")[:-1]
        for line in lines[shown:]:
            if not line.startswith("error: "):
                output.say(line)
            if line.startswith("Ready"):
                return
        shown = len(lines)
        if process.returncode in STOPPED:
            raise StackError(f"It was stopped before it was ready. The log is {log}.")
        if ended:
            last = next((line for line in reversed(lines) if line.strip()), "It ended without a word.")
            raise StackError(f"{last.removeprefix('error: ')} The log is {log}.")
        time.sleep(0.1)


def _print_addresses(target: Settings) -> None:
    output.say(f"  {'page':14}{target.query_url}/")
    for field in ADDRESSES:
        output.say(f"  {ENVIRONMENT[field][0]:14}{getattr(target, field)}")
    output.say(f"  {'keys':14}neural-search status --env")


def _print_environment(target: Settings) -> None:
    values = settings.environment(target)
    for field in (*ADDRESSES, *SECRETS):
        name = ENVIRONMENT[field][0]
        if values[name]:
            typer.echo(f"export {name}={shlex.quote(values[name])}")  # the one place that tells our secrets


def _look(target: Settings) -> dict[str, Any]:
    """Where things are, whether they answer, and the index's content (which takes a secret key)."""
    from local.stack import Stack

    checked = {
        "project": (target.supabase_url, "/storage/v1/status"),
        "query": (target.query_url, "/live"),
        "embed_on_upload": (target.embed_url, "/live"),
    }
    parts = [
        {"part": part, "url": url, "answers": _answers(url + path)} for part, (url, path) in checked.items()
    ]
    running = Stack.running(target)
    index = []
    if target.secret_key and parts[0]["answers"]:
        with Project(target) as project:
            index = project.call_as("secret_key", "embedding_report")["backlog"]
    processes = running.processes if running and running.url == target.supabase_url else {}
    return {"parts": parts, "processes": processes, "index": index}


def _answers(url: str) -> bool:
    import requests  # 0.1 s

    from shared.supabase import surroundings

    try:
        with surroundings.session(url) as http:
            return http.get(url, timeout=10).status_code < 500
    except requests.RequestException:
        return False


def _print_status(target: Settings, found: dict[str, Any]) -> None:
    rows = [
        (part["part"], part["url"], "answers" if part["answers"] else "doesn't answer")
        for part in found["parts"]
    ]
    output.print_table(("part", "address", "state"), rows)
    if found["processes"]:
        pids = ", ".join(f"{name} {pid}" for name, pid in found["processes"].items())
        output.say(f"\nProcesses: {pids}; logs in {target.local_data / 'logs'}")
    output.say()
    values = settings.environment(target)
    for field in SECRETS:
        name = ENVIRONMENT[field][0]
        output.say(f"{name:26}{'set (--env shows it)' if values[name] else 'not set'}")
    output.say()
    if found["parts"][0]["answers"]:
        _print_index(target, found["index"])
    else:
        output.say(f"The project doesn't answer. {UNREACHABLE}")


def _print_index(target: Settings, index: list[dict[str, Any]]) -> None:
    if not target.secret_key:
        output.say("Set SUPABASE_SECRET_KEY to see what the index holds.")
        return
    for line in indexing_report.headlines(index):
        output.say(line)
    if index:
        indexing_report.show_backlog(index)
