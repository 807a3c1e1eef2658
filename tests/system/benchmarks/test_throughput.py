"""The benchmarks' instruments, and their records; measuring needs a running stack."""

from __future__ import annotations

import io
from pathlib import Path

import psutil
from PIL import Image

from benchmarks import speed, throughput
from benchmarks.pictures import LARGEST, SMALLEST, small_jpegs
from benchmarks.process_memory import Curve, megabytes
from benchmarks.stages import Stages
from shared.settings import CHECKOUT


def test_the_pictures_are_small_all_different_and_the_same_for_the_same_seed():
    made = list(small_jpegs(50, seed=1))
    assert made == list(small_jpegs(50, seed=1))
    assert len({*made, *small_jpegs(50, seed=2)}) == 100
    sides = [side for one in made for side in Image.open(io.BytesIO(one)).size]
    assert min(sides) >= SMALLEST and max(sides) <= LARGEST


def test_memory_is_flat_or_not_by_the_ends_of_the_run_without_its_start():
    curve = Curve()
    for second in range(110):
        curve.add(second, 0.0 if second < 10 else float(second))
    assert curve.peak == 109
    assert curve.ends(since=10) == (14.5, 104.5)


def test_processes_that_are_named_twice_count_once():
    me = psutil.Process()
    assert megabytes([me, me]) < 1.5 * megabytes([me])


def test_stages_in_a_row_share_the_cores():
    stages = Stages(images=1, threads=1, download=40, decode=40, model=40, store=40)
    assert stages.in_a_row == 10


def run(**changed: float) -> dict[str, float]:
    about = dict.fromkeys(
        ("seconds", "rate", "p50", "p95", "memory_peak", "memory_first", "memory_last"), 1.0
    )
    return {"images": 5000, **about, **changed}


REPORT = {
    "made": "2026-01-01",
    "command": "python -m benchmarks.throughput",
    "machine": speed.machine(),
    "pictures": "small ones",
    "webhook": run(),
    "burst": run(images=1000),
    "worker": run(rate=81.25),
    "stages": {"download": 1.0, "decode": 1.0, "model": 1.0, "store": 1.0, "in_a_row": 100.0},
    "ratio": 0.8125,
    "target": throughput.TARGET,
    "container_memory_mb": {"query": {"at_rest": 300.0, "with_8_requests": 400.0}},
}


def test_a_report_replaces_the_one_before_it_and_nothing_else(tmp_path: Path):
    file = tmp_path / "speed.md"
    file.write_text((CHECKOUT / "docs" / "speed.md").read_text())
    speed.record(file, REPORT)
    once = file.read_text()
    assert "| worker path, 5,000 images | 81.2 images/s |" in once
    assert "| worker path ÷ that | 0.81 (target 0.8) |" in once
    assert once.startswith("# Speed\n") and "<!-- end of throughput -->\n" in once
    speed.record(file, REPORT)
    assert file.read_text() == once


def test_the_sizes_are_those_that_are_published():
    given = throughput.parser().parse_args([])
    assert (given.images, given.burst, given.threads) == (5000, 1000, 8)
