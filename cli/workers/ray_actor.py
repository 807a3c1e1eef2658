"""The worker as a Ray actor: one on its node, which the driver only asks how far it is. Imports no Ray."""

from __future__ import annotations

import socket
import threading
import uuid
from collections import Counter
from dataclasses import dataclass, replace
from importlib.metadata import version

from cli.console.worker_progress import WorkerProgress
from cli.workers import single
from shared import settings
from shared.embedding import registry
from shared.errors import SettingsError
from shared.images import DECODER_VERSION
from shared.indexing.job_runner import Result
from shared.settings import Secret, Settings

# Settings that a node has of its own; the others are the driver's.
OF_THE_NODE = ("embedding_device", "embedding_engine", "embedding_cache", "local_data")
NOTHING = Secret("")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The driver's wishes, the same for all actors."""

    settings: Settings
    models: tuple[str, ...]
    concurrency: int | None
    once: bool
    versions: dict[str, str]  # the driver's

    @classmethod
    def of(cls, mine: Settings, models: tuple[str, ...], concurrency: int | None, *, once: bool) -> Plan:
        """Of the driver's settings; the secret key is the only secret that a worker needs on its node."""
        theirs = replace(
            mine, publishable_key=NOTHING, user_token=NOTHING, database_url=NOTHING, webhook_secrets=()
        )
        return cls(
            settings=theirs, models=models, concurrency=concurrency, once=once, versions=versions(models)
        )


@dataclass(frozen=True, kw_only=True)
class Look:
    """How far an actor is."""

    life: str  # another one after each restart, from where it counts anew
    host: str
    working: bool
    counts: Counter[str]  # finished jobs by status
    causes: Counter[str]  # skipped and failed ones by the class of their error
    given_back: int  # jobs that were claimed and not begun
    said: str  # its last line, about a fault of its surroundings
    fault: str  # that ended it


class Counts(WorkerProgress):
    """Counts causes too, for the driver."""

    def __init__(self) -> None:
        super().__init__()
        self.causes: Counter[str] = Counter()

    def add(self, result: Result) -> None:
        super().add(result)
        if result.status in ("skipped", "failed"):
            with self._lock:
                self.causes[(result.reason or "unknown").partition(":")[0]] += 1

    def copies(self) -> tuple[Counter[str], Counter[str], int]:
        """By status, by cause, and how many were given back."""
        with self._lock:
            return self._counts.copy(), self.causes.copy(), self._given_back


class RayWorker:
    """Works in a thread from its first moment on: restarted by Ray, it goes on by itself."""

    def __init__(self, plan: Plan):
        self._plan = plan
        self._life = uuid.uuid4().hex
        self._counts = Counts()
        self._stop = threading.Event()
        self._said = self._fault = ""
        self._thread = threading.Thread()
        self.begin()

    def begin(self) -> None:
        """Works in a thread, again where that has ended."""
        if not self._thread.is_alive():
            self._said = ""  # or the driver would tell it as new
            self._thread = threading.Thread(target=self._work, name="worker", daemon=True)
            self._thread.start()

    def look(self) -> Look:
        working = self._thread.is_alive()  # before its counts: those of one that has ended are complete
        counts, causes, given_back = self._counts.copies()
        return Look(
            life=self._life,
            host=socket.gethostname(),
            working=working,
            counts=counts,
            causes=causes,
            given_back=given_back,
            said=self._said,
            fault=self._fault,
        )

    def stop(self) -> None:
        self._stop.set()

    def _work(self) -> None:
        plan = self._plan
        try:
            _require_same(plan.versions, versions(plan.models))
            here = _settings_here(plan.settings)
            with single.opened(here, plan.models, plan.concurrency, self._counts) as worker:
                single.work(worker, self._counts, self._stop, once=plan.once, tell=self._tell)
        except Exception as fault:
            self._fault = single.line(fault)

    def _tell(self, line: str) -> None:
        self._said = line


def versions(models: tuple[str, ...]) -> dict[str, str]:
    """Must be the same everywhere, or rows would depend on who wrote them.

    A model's is empty where its sources aren't on this machine, as in a container made for serving.
    """
    ours = {"neural-search": version("neural-search"), "decoder": str(DECODER_VERSION)}
    conversion = {"conversion": str(registry.CONVERSION)}
    return ours | conversion | {name: registry.fingerprint(name) or "" for name in models}


def _require_same(expected: dict[str, str], found: dict[str, str]) -> None:
    other = [name for name, value in expected.items() if value and found[name] and found[name] != value]
    if other:
        told = "; ".join(f"{name} is {found[name]!r} there, {expected[name]!r} here" for name in other)
        raise SettingsError(
            f"It has other versions: {told}. Install the same package and models on each node, or start "
            "all of them from one container image."
        )


def _settings_here(theirs: Settings) -> Settings:
    own = settings.load(settings.child_environment({"SUPABASE_URL": theirs.supabase_url}))
    return replace(theirs, **{name: getattr(own, name) for name in OF_THE_NODE})
