"""The figures as a table for people, and its place in docs/speed.md."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import psutil

from benchmarks.figures import measured_on
from shared.errors import SettingsError
from shared.runtime import whole_files

STAGES = ("download", "decode", "model", "store")


def machine() -> dict[str, str | int]:
    """The machine, on which the figures depend."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
    }


def table(report: dict[str, Any]) -> str:
    """Markdown."""
    webhook, worker, burst, stages = (report[part] for part in ("webhook", "worker", "burst", "stages"))
    rows = [
        (f"webhook path, {webhook['images']:,} uploads", f"{webhook['rate']:.1f} images/s"),
        ("… upload → searchable", f"p50 {webhook['p50']:.1f} s, p95 {webhook['p95']:.1f} s"),
        ("… memory of `embed_on_upload`", _memory(webhook)),
        (
            f"burst of {burst['images']:,} uploads",
            f"all searchable after {burst['seconds']:.0f} s ({burst['rate']:.1f} images/s)",
        ),
        (f"worker path, {worker['images']:,} images", f"{worker['rate']:.1f} images/s"),
        ("… memory of the worker", _memory(worker)),
        *((f"{stage} alone", f"{stages[stage]:.1f} images/s") for stage in STAGES),
        ("what they allow in a row", f"{stages['in_a_row']:.1f} images/s"),
        ("worker path ÷ that", f"{report['ratio']:.2f} (target {report['target']})"),
    ]
    for function, weights in report["container_memory_mb"].items():
        text = f"{weights['at_rest']:.0f} MB at rest, {weights['with_8_requests']:.0f} MB at most"
        rows.append((f"memory of `{function}` under 8 concurrent requests", text))
    lines = ["| what | measured |", "|---|---|", *(f"| {what} | {measured} |" for what, measured in rows)]
    return "\n".join(
        [
            f"{measured_on(report)}. Pictures: {report['pictures']}.",
            "",
            f"    {report['command']}",
            "",
            *lines,
        ]
    )


def record(file: Path, report: dict[str, Any]) -> None:
    """Puts the table of the throughput into `file`."""
    replace(file, "throughput", table(report))


def replace(file: Path, chapter: str, text: str) -> None:
    """Puts `text` between the chapter's two marks in `file`; SettingsError where they aren't there."""
    before, after = around(file, chapter)
    lines = f"\n{text}\n".replace("\n", "\r\n" if "\r\n" in before else "\n")
    whole_files.write(file.resolve(), f"{before}{lines}{after}".encode())


def around(file: Path, chapter: str) -> tuple[str, str]:
    """The content of `file` up to the chapter's first mark, and from its second one on; SettingsError where
    they aren't there. Measurements of minutes ask for it before they begin."""
    begin, end = f"<!-- {chapter} -->", f"<!-- end of {chapter} -->"
    try:
        before, found, rest = file.read_bytes().decode().partition(begin)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} can't be read ({error}). Name a file of text with --record.") from error
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise SettingsError(f"{file} has no place for the table: lines {begin!r} and {end!r}. Add them.")
    return before + begin, end + after


def _memory(run: dict[str, float]) -> str:
    peak, first, last = (run[f"memory_{which}"] for which in ("peak", "first", "last"))
    return f"{first:.0f} MB in the first tenth, {last:.0f} MB in the last, {peak:.0f} MB at most"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
