"""The embedded stack: Postgres, the gateway and the two functions, each a process of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import logging
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address

from local import keys
from local.interruption import Handlers, interruptible, restore, undisturbed
from local.postgres import Cluster, prepare_database
from local.processes import Child
from shared import settings as configuration
from shared.errors import StackError
from shared.settings import CHECKOUT, STACK_FILE, Secret, Settings, data_folder

HOST = "127.0.0.1"
FUNCTIONS = ("query", "embed_on_upload")
READY_WITHIN = 300.0  # seconds; a first start may compile the model
INFO_FILE, GATEWAY_FILE = "stack.json", "gateway.json"
BACKLOG = 2048  # connections that wait, while a process is started again, too
LOOK_EVERY = 0.5  # seconds between two looks at the processes

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Running:
    """A stack that runs, as another process sees it."""

    pid: int  # of the process that holds it together: SIGTERM ends all of it
    url: str
    processes: dict[str, int]  # name -> process id


class Stack:
    """One per data folder. `prepare` is called when Postgres runs, with the settings of the stack to be:
    that is where migrations are applied.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        prepare: Callable[[Settings], None] | None = None,
        functions: bool = True,
    ):
        self._given = settings
        self._folder = settings.local_data
        self._prepare = prepare
        self._with_functions = functions
        self._cluster = Cluster(self._folder / "postgres")
        self._children: list[Child] = []
        self._sockets: dict[str, socket.socket] = {}  # of the gateway and the functions, held until the end
        self._lock: int | None = None
        self._stopping = threading.Event()
        self._guard: threading.Thread | None = None
        self._signals: Handlers = {}  # as they were before the stack was started

    @staticmethod
    def running(settings: Settings) -> Running | None:
        """The stack that runs on this data folder, of any process; None where none does."""
        told = data_folder.told(settings.local_data, INFO_FILE)
        return Running(**json.loads(told)) if told else None

    @staticmethod
    def holder(settings: Settings) -> int | None:
        """The process whose stack has this data folder, ready or not; None where none has."""
        if told := data_folder.told(settings.local_data, data_folder.LOCK_FILE):
            return int(told)
        running = Stack.running(settings)  # of an earlier release, whose lock names no process
        return running.pid if running else None

    @staticmethod
    def clear_up(settings: Settings) -> bool:
        """Stop the Postgres that a killed stack has left, if there is one; whether there was."""
        left = Stack(settings)
        with data_folder.usable(settings.local_data):
            if not left._cluster.is_alive():
                return False
        left._take_folder()
        left.stop()
        return True

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._given.local_port}"

    @property
    def settings(self) -> Settings:
        """The settings of a client of this stack: nothing of another project's that are given."""
        own, given = keys.load(self._folder), self._given
        ours = given.supabase_url in ("", self.url)
        return dataclasses.replace(
            given,
            supabase_url=self.url,
            public_url=(ours and given.public_url) or self.url,
            publishable_key=own.publishable,
            secret_key=own.secret,
            user_token=Secret(""),
            query_url=f"{self.url}/functions/v1/query",
            embed_url=f"{self.url}/functions/v1/embed_on_upload",
            storage_transformations="off",  # this Storage has none
            webhook_secrets=(own.webhook,),
            database_url=Secret(self._cluster.url()),
        )

    def start(self) -> None:
        """Start everything; StackError, and nothing left running, where a part fails. See `wait_ready`."""
        self._take_folder()
        self._signals = interruptible()
        try:
            self._listen()
            self._start()
        except BaseException:
            self.stop()
            raise

    def wait_ready(self, timeout: float = READY_WITHIN) -> None:
        """Return when the gateway and every function answer; StackError where one ends or takes too long."""
        deadline = time.monotonic() + timeout
        for child in self._children:
            path = "live" if child.name in FUNCTIONS else "health"
            child.wait_for_answer(f"{_address(self._sockets[child.name])}/{path}", deadline)

    def stop(self) -> None:
        """End everything in order: functions, gateway, Postgres. Stopping twice is no error."""
        with undisturbed():
            self._stop()
        restore(self._signals)
        self._signals = {}

    def _stop(self) -> None:
        if self._lock is not None:
            self._forget(STACK_FILE)  # first: from here on its address may be another's
        self._stopping.set()
        if self._guard and self._guard is not threading.current_thread():
            self._guard.join()
        functions_first = list(reversed(self._children))
        for child in functions_first:
            if child.name in FUNCTIONS:
                child.ask_to_end()  # all at once, so that their time to end passes together
        for child in functions_first:
            child.end()
        self._children.clear()
        for listener in self._sockets.values():
            listener.close()
        self._sockets.clear()
        if self._lock is not None:
            try:
                self._cluster.stop()
            finally:
                self._forget(INFO_FILE, GATEWAY_FILE)
                os.close(self._lock)
                self._lock = None

    def run_until_interrupted(self) -> None:
        """Wait for Ctrl-C or SIGTERM, then stop everything. To be called in the main thread."""
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
        self.stop()

    def __enter__(self) -> Stack:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _take_folder(self) -> None:
        data_folder.claim(self._folder)
        self._cluster = Cluster(self._folder / "postgres")  # a new folder may not let its server pass through
        with data_folder.usable(self._folder):
            descriptor = data_folder.open_private(
                self._folder / data_folder.LOCK_FILE, os.O_RDWR | os.O_CREAT
            )
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise StackError(
                f"A stack runs on {self._folder} already. Stop it with `neural-search down`, "
                "or set LOCAL_DATA and LOCAL_PORT for a second one."
            ) from None
        self._lock = descriptor
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        self._stopping.clear()
        self._forget(INFO_FILE, STACK_FILE, GATEWAY_FILE)  # the remains of a stack that was killed

    def _forget(self, *names: str) -> None:
        for name in names:
            (self._folder / name).unlink(missing_ok=True)

    def _listen(self) -> None:
        """First of all, and until the end: another program at one of them would get keys and tokens."""
        self._sockets["gateway"] = _listening(HOST, self._given.local_port)
        for name in FUNCTIONS if self._with_functions else ():
            self._sockets[name] = _listening(_loopback(), 0)

    def _start(self) -> None:
        self._cluster.start()
        prepare_database(self._cluster)
        settings = self.settings
        if self._prepare:
            self._prepare(settings)
        data_folder.write(self._folder / GATEWAY_FILE, json.dumps(self._gateway_configuration()))
        functions = [self._function(name, settings) for name in FUNCTIONS if name in self._sockets]
        self._children = [self._gateway(), *functions]
        for child in self._children:
            child.start()
        data_folder.write(self._folder / STACK_FILE, _as_lines(settings))
        self._announce()
        self._guard = threading.Thread(target=self._keep_running, name="stack-guard", daemon=True)
        self._guard.start()

    def _gateway_configuration(self) -> dict[str, object]:
        return {
            "socket": self._sockets["gateway"].fileno(),
            "data": str(self._folder),
            "database_url": self._cluster.url(),
            "functions": {name: _address(one) for name, one in self._sockets.items() if name in FUNCTIONS},
            "jwt_algorithm": self._given.local_jwt_algorithm,
        }

    def _gateway(self) -> Child:
        module = ["local.gateway", str(self._folder / GATEWAY_FILE)]
        return self._child("gateway", module, {})

    def _function(self, name: str, settings: Settings) -> Child:
        source = CHECKOUT / "functions" / name / "main.py"
        socket = str(self._sockets[name].fileno())
        module = ["shared.http.server", "--source", str(source), "--target", name, "--socket", socket]
        return self._child(name, module, _function_environment(name, settings))

    def _child(self, name: str, module: list[str], values: dict[str, str]) -> Child:
        environment = configuration.bare_environment({**values, "PYTHONUNBUFFERED": "1"})
        log = self._folder / "logs" / f"{name}.log"
        return Child(name, module, environment, log, CHECKOUT, socket=self._sockets[name])

    def _announce(self) -> None:
        processes = {child.name: child.pid for child in self._children if child.pid}
        info = {"pid": os.getpid(), "url": self.url, "processes": processes}
        data_folder.write(self._folder / INFO_FILE, json.dumps(info))

    def _keep_running(self) -> None:
        """Restart processes that end by themselves, until the stack is stopped."""
        restarts: dict[str, float] = {}
        while not self._stopping.wait(LOOK_EVERY):
            if self._is_removed():
                log.error("The data folder %s was removed, so the stack ends.", self._folder)
                if self._signals:
                    os.kill(os.getpid(), signal.SIGTERM)
                return
            self._revive_postgres()
            for child in self._children:
                if not child.has_ended:
                    continue
                if child.name not in restarts:
                    child.end_remains()
                    pause = child.pause_before_restart()
                    restarts[child.name] = time.monotonic() + pause
                    log.warning(
                        "%s ended; starting it again in %.0f s. See %s.", child.name, pause, child.log
                    )
                elif time.monotonic() >= restarts[child.name]:
                    del restarts[child.name]
                    self._start_again(child)

    def _is_removed(self) -> bool:
        """Whether the folder that we hold is gone, or its database."""
        assert self._lock is not None
        try:
            there = (self._folder / data_folder.LOCK_FILE).stat()
        except FileNotFoundError:
            return True
        return not os.path.samestat(os.fstat(self._lock), there) or not self._cluster.has_data()

    def _start_again(self, child: Child) -> None:
        try:
            child.start(fresh_log=False)
            self._announce()
        except (OSError, StackError) as error:  # it has still ended, and is tried again
            log.error("Starting %s again failed: %s", child.name, error)

    def _revive_postgres(self) -> None:
        if self._cluster.is_running():
            return
        if self._stopping.wait(LOOK_EVERY) or self._is_removed():  # the socket goes before the rest
            return
        log.warning("Postgres ended; starting it again. See %s.", self._cluster.log)
        try:
            self._cluster.start()
        except StackError as error:
            log.error("%s", error)


def _function_environment(name: str, settings: Settings) -> dict[str, str]:
    """The environment of a function; the one that answers queries holds no key that opens everything."""
    hidden: dict[str, object] = {"database_url": Secret("")}
    if name == "query":
        hidden["secret_key"] = Secret("")
    values = configuration.environment(dataclasses.replace(settings, **hidden))  # type: ignore[arg-type]
    return {variable: value for variable, value in values.items() if value}


def _as_lines(settings: Settings) -> str:
    """stack.env: a client's settings for this stack, as shared.settings reads them."""
    names = ("supabase_url", "publishable_key", "secret_key", "query_url", "embed_url", "webhook_secrets")
    variables = [configuration.ENVIRONMENT[name][0] for name in (*names, "database_url", "local_port")]
    values = configuration.environment(settings)
    return "".join(f"{variable}={values[variable]}\n" for variable in variables)


def _listening(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        raise StackError(
            f"Port {port} can't be used: {error}. Stop what listens there, or set LOCAL_PORT to another port."
        ) from error


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()
    return f"http://{host}:{port}"


def _loopback() -> str:
    """An address of this machine for a function, which answers pages of any origin, unlike the gateway: they
    can try all ports of 127.0.0.1, but not of 16 million addresses. Other systems than Linux have no more."""
    if sys.platform != "linux":
        return HOST
    return str(ip_address("127.0.0.0") + 2 + secrets.randbelow(2**24 - 3))


def free_port() -> int:
    """One that nobody listens at, at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
