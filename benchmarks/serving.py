"""A function as a process of its own, in front of a canned project: its cold start, and its memory."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import psutil
import requests

from benchmarks.instant_project import Project, webhook
from benchmarks.process_memory import watched
from shared import settings
from shared.settings import CHECKOUT
from shared.testing import free_port

START_SECONDS = 120.0
SECRET = "a-benchmarks-own"
OPERATORS = ("secret_key", "user_token", "database_url")
NAIVE = CHECKOUT / "benchmarks" / "baselines" / "naive_function.py"


@dataclass(frozen=True, kw_only=True)
class Server:
    """One running function."""

    function: str
    url: str
    publishable_key: str
    process: subprocess.Popen[bytes]

    def ask(self, number: int, picture: bytes, session: requests.Session) -> requests.Response:
        """Has it embed one picture: object `number` of the project, or the picture itself."""
        if self.function == "embed_on_upload":
            headers = {"x-webhook-secret": SECRET}
            return session.post(self.url, json=webhook(number), headers=headers, timeout=START_SECONDS)
        headers = {"Content-Type": "image/jpeg", "apikey": self.publishable_key}
        return session.post(self.url, data=picture, headers=headers, timeout=START_SECONDS)


@contextmanager
def running(function: str, project: Project, model: str, *, naive: bool = False) -> Iterator[Server]:
    """Starts it as its container does (the naive one as its documentation says); ends it with the block."""
    port = free_port()
    values = {
        "SUPABASE_URL": project.url,
        "SUPABASE_SECRET_KEY": project.secret_key,
        "SUPABASE_PUBLISHABLE_KEY": project.publishable_key,
        "EMBED_WEBHOOK_SECRET": SECRET,
        "EMBEDDING_MODELS": model,
        "EMBEDDING_DEVICE": "cpu",
        "EMBEDDING_ENGINE": "openvino",
        "EMBEDDING_PRECISION": "auto",
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "FUNCTION_TARGET": function,
        "FUNCTION_SOURCE": str(NAIVE if naive else CHECKOUT / "functions" / function / "main.py"),
        "PYTHONPATH": str(CHECKOUT),
    }
    if function == "query" and not naive:  # it refuses to start with what its callers haven't
        values |= {name: "" for field in OPERATORS for name in settings.ENVIRONMENT[field]}
    command = ["-m", "functions_framework"] if naive else [str(CHECKOUT / "deploy" / "start.py")]
    process = subprocess.Popen(
        [sys.executable, *command],
        env=settings.child_environment(values),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield Server(
            function=function,
            url=f"http://127.0.0.1:{port}/",
            publishable_key=project.publishable_key,
            process=process,
        )
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def cold_start(function: str, project: Project, model: str, picture: bytes, *, naive: bool = False) -> float:
    """Seconds from the process's start to the first embedding that it has served."""
    began = time.perf_counter()
    with running(function, project, model, naive=naive) as server, requests.Session() as session:
        ready(server, picture, session)
        return time.perf_counter() - began


def memory_under_load(
    function: str, project: Project, model: str, picture: bytes, *, seconds: float, requests_at_once: int = 8
) -> dict[str, float]:
    """MB (PSS, children included) after the first embedding, and at most while so many run at once."""
    numbers = count()
    with running(function, project, model) as server, requests.Session() as session:
        ready(server, picture, session)
        root = psutil.Process(server.process.pid)
        with watched(lambda: [root]) as rest:
            pass
        with watched(lambda: [root]) as load:
            served = calls_served(
                lambda session: server.ask(next(numbers) % project.objects, picture, session),
                seconds,
                requests_at_once,
            )
    return {"at_rest": rest.peak, "at_most": load.peak, "served": served}


def ready(server: Server, picture: bytes, session: requests.Session) -> None:
    """Waits until the function has served its first embedding."""
    _await_port(server)
    _check(server.ask(0, picture, session))


def calls_served(ask: Callable[[requests.Session], requests.Response], seconds: float, at_once: int) -> float:
    """How many calls were served, by so many callers at a time."""
    until = time.monotonic() + seconds

    def calls() -> int:
        served = 0
        with requests.Session() as session:
            while time.monotonic() < until:
                answer = _answer(ask, session)
                if answer.status_code in (429, 503):  # told to come back later is an answer too
                    time.sleep(0.01)
                    continue
                _check(answer)
                served += 1
        return served

    with ThreadPoolExecutor(at_once) as pool:
        return float(sum(pool.map(lambda _: calls(), range(at_once))))


def _answer(
    ask: Callable[[requests.Session], requests.Response], session: requests.Session
) -> requests.Response:
    """Asks twice where a kept connection's time was up: the next call makes another.

    ConnectionError where that fails too.
    """
    try:
        return ask(session)
    except requests.ConnectionError:
        return ask(session)


def _check(answer: requests.Response) -> None:
    answer.raise_for_status()
    results: list[dict[str, Any]] = json.loads(answer.content).get("results", [])
    wrong = [one for one in results if one.get("status", "embedded") != "embedded"]
    if wrong:
        raise RuntimeError(f"The function answered {wrong[0]}. Expected an embedded picture.")


def _await_port(server: Server) -> None:
    until = time.monotonic() + START_SECONDS
    port = int(server.url.rstrip("/").rpartition(":")[2])
    while time.monotonic() < until:
        if server.process.poll() is not None:
            raise RuntimeError(
                f"{server.function} ended with status {server.process.returncode} at its start."
            )
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.005)
    raise RuntimeError(f"{server.function} took no connection within {START_SECONDS:g} seconds.")
