"""The set-up that all rows of `bench embed` are measured with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from shared.settings import Settings

Show = Callable[[str, int, int], None]  # the step's name, how many are done, of how many


@dataclass(kw_only=True)
class Bench:
    """The models, the machine and the way to show progress."""

    models: dict[str, str]  # shown name -> the name that it is loaded by
    settings: Settings  # on the CPU
    precision: str  # the processor's own: bf16 or f32
    threads: int
    others: tuple[str, ...]  # ways to run a model that are installed here
    seed: int
    show: Show
    rates: dict[str, list[float]] = field(default_factory=dict)  # precision -> matrix GFLOP/s, as measured
