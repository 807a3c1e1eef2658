"""Webhooks that are dropped, duplicated, delayed and reordered change nothing but latency.

Three acts, each on top of the last one's state: 30% of each mishap; then nothing comes through but the
schedule's own kicks; then nothing at all, and a worker drains the queue. Each ends with a clean verdict.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from soak.invariants import GHOST, LOST, WRONG, Embed, Verdict
from soak.outcome import Outcome
from soak.project import Project
from soak.proxy import A_THIRD_OF_EACH, NO_WEBHOOKS, ONLY_KICKS, Tampering, WebhookProxy, webhook_proxy
from soak.workload import Workload
from support.embedded_stacks import temporary_stack
from support.waiting import eventually

from shared import embedding, settings
from shared.settings import CHECKOUT, Settings

CLIENTS = 4
RATE = 15.0  # operations per second
CONVERGES_WITHIN = 300.0  # seconds: twice a lease and a back-off; nothing is killed here
DRAINS_WITHIN = 240.0


@dataclass(frozen=True, kw_only=True)
class Act:
    """One kind of tampering, and its remedy besides the schedules."""

    name: str
    tampering: Tampering
    share: float  # of all operations
    drained: bool = False  # whether a worker runs once afterwards


ACTS = (
    Act(name="30% of each", tampering=A_THIRD_OF_EACH, share=0.6),
    Act(name="only kicks", tampering=ONLY_KICKS, share=0.2),
    Act(name="no webhooks", tampering=NO_WEBHOOKS, share=0.2, drained=True),
)


@dataclass(frozen=True, kw_only=True)
class Played:
    """An act and how it ended."""

    act: Act
    operations: int
    mishaps: Counter[str]
    delivered: int
    verdict: Verdict
    seconds: float  # until nothing was wrong any more

    def __str__(self) -> str:
        mishaps = ", ".join(f"{mishap} {count}" for mishap, count in sorted(self.mishaps.items()))
        return (
            f"{self.act.name}: {self.operations} operations; {mishaps}; {self.delivered} delivered; "
            f"converged after {self.seconds:.0f} s; "
            f"{self.verdict.objects} objects, {self.verdict.documents} documents"
        )


def play(
    act: Act,
    project: Project,
    proxy: WebhookProxy,
    *,
    drain: Callable[[], None],
    embed: Embed,
    operations: int,
    rate: float,
    within: float,
    seed: int,
) -> Played:
    """Run a workload while `act` goes on, and judge once it is over."""
    proxy.tampering = act.tampering
    eventually(lambda: project.webhooks_waiting() == 0 and proxy.is_idle)  # late ones are the last act's
    mishaps, delivered = proxy.mishaps.copy(), proxy.delivered.total()
    workload = Workload(project.storage, operations=operations, clients=CLIENTS, rate=rate, seed=seed)
    workload.run()
    if act.drained:
        drain()
    verdict, seconds = project.converge(embed, seed, within)
    return Played(
        act=act,
        operations=workload.done,
        mishaps=proxy.mishaps - mishaps,
        delivered=proxy.delivered.total() - delivered,
        verdict=verdict,
        seconds=seconds,
    )


def run(operations: int = 1000, seed: int = 1) -> Outcome:
    """All acts on an embedded stack of its own, with the real function and model."""
    began = time.monotonic()
    with temporary_stack() as stack, webhook_proxy(stack.settings.embed_url, seed) as proxy:
        project = Project(stack.settings)
        project.prepare()
        project.send_webhooks_to(proxy.url)
        model = embedding.load()
        play_here = partial(
            play, project=project, proxy=proxy, embed=model.embed_images, rate=RATE, within=CONVERGES_WITHIN
        )
        drain = partial(_drain, stack.settings)
        played = [
            play_here(act, drain=drain, operations=round(operations * act.share), seed=seed + number)
            for number, act in enumerate(ACTS)
        ]
    for one in played:
        print(f"fuzz, seed {seed}, {one}")
    return Outcome(
        part="fuzz",
        operations=sum(one.operations for one in played),
        seconds=time.monotonic() - began,
        faults=sum(one.mishaps.total() for one in played),
        lost=sum(one.verdict.count(LOST) for one in played),
        ghosts=sum(one.verdict.count(GHOST) for one in played),
        wrong=sum(one.verdict.count(WRONG) for one in played),
        evidence=tuple(
            f"{one.act.name}: {violation}" for one in played for violation in one.verdict.violations
        ),
    )


def _drain(own: Settings) -> None:
    """`neural-search worker --once`, as anyone would run it."""
    values = settings.bare_environment(settings.environment(own))
    command = [sys.executable, "-m", "cli", "worker", "--once"]
    subprocess.run(command, env=values, cwd=CHECKOUT, check=True, timeout=DRAINS_WITHIN)
