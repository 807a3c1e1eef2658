"""The functions as they are served: cold start, memory, and one object from Storage to its row."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from urllib.parse import urlsplit

from benchmarks import serving, whole_function
from benchmarks.contest import Rates, median, ratio, rounds
from benchmarks.embed_bench import Bench
from benchmarks.figures import Figure, number
from benchmarks.instant_project import Project, canned
from benchmarks.photographs import photographs
from benchmarks.process_memory import FUNCTIONS
from shared import embedding
from shared.errors import SettingsError

MODEL, DIMENSIONS = "efficientnet-lite0", 1280
COLD_ROUNDS = 3
COLD_SECONDS = 2.0  # target
COLD_SHARE = 1 / 3  # target, of the baseline's
MEMORY = 400.0  # MB, target
LOAD_SECONDS = 6.0
PICTURES = 16
HERE = ("127.0.0.1", "localhost", "::1")


def figures(bench: Bench, rows: Collection[str]) -> list[Figure]:
    """The rows `cold` and `memory`, of the default model and both functions."""
    if not {"cold", "memory"} & set(rows):
        return []
    embedding.prepare(MODEL, configuration=bench.settings)
    files = list(photographs(1600, 1200, PICTURES, bench.seed))
    with canned(files, MODEL, DIMENSIONS) as project:
        found = _cold(bench, project, files[0]) if "cold" in rows else []
        return found + (_memory(bench, project, files[0]) if "memory" in rows else [])


def _cold(bench: Bench, project: Project, picture: bytes) -> list[Figure]:
    turns: dict[str, Callable[[], float]] = {}
    for function in FUNCTIONS:
        start = partial(serving.cold_start, function, project, MODEL, picture)
        turns |= {function: start, f"{function}, naive": partial(start, naive=True)}
    done = iter(range(1, COLD_ROUNDS + 1))
    times = rounds(turns, COLD_ROUNDS, lambda: bench.show("cold starts", next(done), COLD_ROUNDS))
    return [figure for function in FUNCTIONS for figure in _cold_figures(function, times)]


def _cold_figures(function: str, times: Rates) -> list[Figure]:
    ours, naive = median(times, function), median(times, f"{function}, naive")
    what = f"cold start of `{function}`: process start → first embedding served"
    return [
        Figure(row="cold", what=what, value=ours, unit="s", target=COLD_SECONDS, at_most=True),
        Figure(
            row="cold",
            what=f"cold start of `{function}` ÷ the hand-written function's",
            value=ratio(times, function, f"{function}, naive"),
            unit="x",
            target=COLD_SHARE,
            at_most=True,
            note=f"{number(ours, 's')}; {number(naive, 's')}",
        ),
    ]


def _memory(bench: Bench, project: Project, picture: bytes) -> list[Figure]:
    found = []
    for done, function in enumerate(FUNCTIONS):
        bench.show("memory", done, len(FUNCTIONS))
        weights = serving.memory_under_load(function, project, MODEL, picture, seconds=LOAD_SECONDS)
        note = f"{number(weights['at_rest'], 'MB')} at rest; {weights['served']:.0f} requests served"
        what = f"memory of `{function}` (PSS, decoders included), 8 requests at a time"
        found.append(
            Figure(
                row="memory",
                what=what,
                value=weights["at_most"],
                unit="MB",
                target=MEMORY,
                at_most=True,
                note=note,
            )
        )
    return found


def function(bench: Bench, asked: bool) -> list[Figure]:
    """One object at a time on a running stack; SettingsError where there is none.

    It makes a bucket and takes the webhook away meanwhile: not of a project elsewhere, unless it is asked to.
    """
    for setting in ("supabase_url", "secret_key", "database_url", "webhook_secrets"):
        bench.settings.need(setting)
    host = urlsplit(bench.settings.supabase_url).hostname
    if host not in HERE and not asked:
        raise SettingsError(
            f"The project is on {host!r}, not on this machine. `--only function` measures it."
        )
    total, parts = whole_function.measure(bench.settings, bench.seed)
    listed = ", ".join(f"{step} {1000 * seconds:.1f}" for step, seconds in parts.items())
    made_of = f"sum of its parts {1000 * sum(parts.values()):.1f} ms: {listed}"
    what = "whole `embed_on_upload`, object in Storage → stored row, called at its address"
    return [Figure(row="function", what=what, value=1000 * total, unit="ms", note=made_of)]
