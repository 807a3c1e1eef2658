"""Everything that can be killed is killed, while clients upload, overwrite, move, copy and delete.

The embedded stack on a port and in a folder of its own, with its real functions and model, and a
`neural-search worker` beside it. When the killing ends, the schedules alone must bring everything in order:
nothing is retried, queued or reconciled by hand. Only reconcile runs every 10 seconds instead of 5 minutes.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from soak import workers
from soak.invariants import GHOST, LOST, WRONG, Verdict
from soak.killer import Killer
from soak.outcome import Outcome
from soak.project import Project
from soak.workload import Workload
from support.embedded_stacks import temporary_stack

from local.stack import Stack
from shared import embedding

CLIENTS = 6
RATE = 12.0  # operations per second, so that many kills fall among them
PAUSE = 2.5  # mean seconds between two kills
# A lease (120 s) may have to run out, and a job that met a fault rests for up to 450 s.
CONVERGES_WITHIN = 700.0
REPORT_EVERY = 10.0  # seconds


def run(operations: int = 2000, seed: int = 1, *, pause: float = PAUSE) -> Outcome:
    """The whole of it: a stack, the workload under kills, convergence, the verdict."""
    began = time.monotonic()
    with temporary_stack() as stack:
        project = Project(stack.settings)
        project.prepare()
        workload = Workload(project.storage, operations=operations, clients=CLIENTS, rate=RATE, seed=seed)
        with workers.kept_running(stack.settings) as worker:
            with (
                _reported(workload),
                Killer(project, stack.settings, lambda: worker.pid, pause=pause, seed=seed) as killer,
            ):
                workload.run()
            print(
                f"crasher: killing ends after {workload.done} operations; waiting for convergence …",
                flush=True,
            )
            model = embedding.load()
            verdict, seconds = project.converge(model.embed_images, seed, CONVERGES_WITHIN)
        evidence = (*map(str, verdict.violations), *_not_kept(project, workload))
        print(f"crasher: reconcile repaired {project.repaired()}")
        _tell(workload, killer, verdict, seconds, seed)
        if evidence:
            _keep_logs(stack, seed)
    return Outcome(
        part="crasher",
        operations=workload.done,
        seconds=time.monotonic() - began,
        kills=killer.kills.total(),
        faults=sum(
            count for outcome, count in workload.outcomes.items() if not outcome.endswith((" 200", " 400"))
        ),
        lost=verdict.count(LOST) + len(evidence) - len(verdict.violations),
        ghosts=verdict.count(GHOST),
        wrong=verdict.count(WRONG),
        evidence=evidence,
    )


@contextmanager
def _reported(workload: Workload) -> Iterator[None]:
    done = threading.Event()

    def report() -> None:
        while not done.wait(REPORT_EVERY):
            print(f"crasher: {workload.done} operations", flush=True)

    reporter = threading.Thread(target=report, name="reporter")
    reporter.start()
    try:
        yield
    finally:
        done.set()
        reporter.join()


def _not_kept(project: Project, workload: Workload) -> list[str]:
    """Uploads that were answered with 200 and that Storage doesn't have."""
    storage = project.storage()
    lost = []
    for (bucket, name), expected in workload.kept.items():
        data = storage.read(bucket, name)
        found = "nothing" if data is None else hashlib.sha256(data).hexdigest()
        if found != expected:
            lost.append(
                f"LOST {bucket}/{name}: its upload was answered with 200; expected {expected}, found {found}"
            )
    storage.close()
    return lost


def _tell(workload: Workload, killer: Killer, verdict: Verdict, seconds: float, seed: int) -> None:
    print(f"crasher, seed {seed}: {workload.done} operations")
    for outcome, count in sorted(workload.outcomes.items()):
        print(f"  {outcome:<24}{count:>6}")
    print("kills: " + ", ".join(f"{target} {count}" for target, count in killer.kills.most_common()))
    print(f"converged {seconds:.0f} s after the last kill")
    print(f"{verdict.objects} objects, {verdict.documents} documents, {verdict.vectors} vectors compared")
    print(
        "without a document: " + (", ".join(f"{kind} {n}" for kind, n in verdict.explained.items()) or "none")
    )
    for line in verdict.given_up:
        print(f"  given up although sound: {line}")


def _keep_logs(stack: Stack, seed: int) -> None:
    kept = Path(tempfile.mkdtemp(prefix=f"neural-search-soak-{seed}-"))
    shutil.copytree(stack.settings.local_data / "logs", kept / "logs")
    print(f"The logs are kept in {kept}.")
