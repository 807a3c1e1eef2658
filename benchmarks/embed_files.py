"""Bytes in memory to vectors, against the function that one writes by hand."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

from benchmarks.contest import Rates, entered, median, ratio, rounds
from benchmarks.embed_bench import Bench
from benchmarks.figures import Figure, number
from benchmarks.photographs import photographs

ROUNDS = 5
SECONDS = 1.5  # of one contestant's turn
BATCH = 8  # of the model step alone
# Row -> width, height, how many different ones, and their name.
SIZES = {
    "12mp": (4000, 3000, 6, "12-megapixel JPEGs"),
    "512px": (512, 384, 32, "512-pixel JPEGs"),
}
TARGETS = {"12mp": 4.0, "512px": 5.0}
SMALL_WITHOUT_BF16 = 3.5


def figures(bench: Bench, name: str, rows: Collection[str]) -> list[Figure]:
    """The rows `12mp` and `512px` of one model."""
    wanted = [row for row in SIZES if row in rows]
    if not wanted:
        return []
    others = [way for way in bench.others if way != "sentence-transformers" or name.startswith("CLIP")]
    ways = dict.fromkeys(("ours", "eager", *others), bench.models[name])
    with entered(ways, bench.threads) as there:
        found: list[Figure] = []
        for row in wanted:
            with tempfile.TemporaryDirectory(prefix="neural-search-") as folder:
                _write(row, Path(folder), bench)
                turns: dict[str, Callable[[], float]] = {
                    way: partial(there[way].rate, "embed", SECONDS, folder=folder) for way in ways
                }
                turns["together"] = partial(there["ours"].rate, "together", SECONDS, folder=folder)
                turns["model"] = partial(there["ours"].rate, "step", SECONDS, count=BATCH)
                for turn in turns.values():
                    turn()
                rates = _taken(bench, f"{SIZES[row][3]}, {name}", turns)
            found += _figures(bench, row, name, rates, others)
    return found


def _taken(bench: Bench, what: str, turns: dict[str, Callable[[], float]]) -> Rates:
    done = iter(range(1, ROUNDS + 1))
    return rounds(turns, ROUNDS, lambda: bench.show(what, next(done), ROUNDS))


def _figures(bench: Bench, row: str, name: str, rates: Rates, others: list[str]) -> list[Figure]:
    target = SMALL_WITHOUT_BF16 if row == "512px" and bench.precision != "bf16" else TARGETS[row]
    what, about = f"{name}, {SIZES[row][3]} → vectors", partial(_pair, rates)
    best = ratio(rates, "together", "eager")
    bound = f"; its model step alone would reach {ratio(rates, 'model', 'eager'):.1f} x"
    note = about("together", "eager") + (bound if best < target else "")
    return [
        Figure(
            row=row, what=f"{what} ÷ hand-written baseline", value=best, unit="x", target=target, note=note
        ),
        Figure(
            row=row,
            what=f"{what}, one image at a time ÷ hand-written baseline",
            value=ratio(rates, "ours", "eager"),
            unit="x",
            note=about("ours", "eager"),
        ),
        *(
            Figure(
                row=row,
                what=f"{what} ÷ {way}",
                value=ratio(rates, "together", way),
                unit="x",
                note=about("together", way),
            )
            for way in others
        ),
    ]


def _pair(rates: Rates, one: str, other: str) -> str:
    return f"{number(median(rates, one), 'images/s')}; {number(median(rates, other), 'images/s')}"


def _write(row: str, folder: Path, bench: Bench) -> None:
    width, height, count, what = SIZES[row]
    for made, data in enumerate(photographs(width, height, count, bench.seed)):
        bench.show(f"making {what}", made, count)
        (folder / f"{made}.jpg").write_bytes(data)
