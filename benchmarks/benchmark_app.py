"""OpenVINO's own benchmark_app, as it comes with the package."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.contest import ContestantFailed
from shared import settings

PROGRAM = "from openvino.tools.benchmark.main import main; main()"


def images_per_second(graph: Path, *, batch: int, precision: str, seconds: float) -> float:
    """With `graph` at that fixed batch size, on all cores, and for throughput, which is its default on a CPU.

    It takes no number of threads together with a hint: as our engine does, it uses every core it may.
    """
    with tempfile.TemporaryDirectory(prefix="neural-search-") as folder:
        arguments = ["-m", str(graph), "-d", "CPU", "-shape", f"[{batch},224,224,3]", "-hint", "throughput"]
        arguments += ["-infer_precision", precision, "-t", str(round(seconds))]
        arguments += ["-json_stats", "-report_type", "no_counters", "-report_folder", folder]
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", PROGRAM, *arguments],
            cwd=folder,
            env=settings.child_environment({}),
            capture_output=True,
            text=True,
            check=False,
        )
        report = Path(folder) / "benchmark_report.json"
        if done.returncode or not report.exists():
            last = (done.stdout + done.stderr).strip().splitlines()[-1:] or ["nothing"]
            raise ContestantFailed(f"benchmark_app ended with status {done.returncode}: {last[0]}")
        return float(json.loads(report.read_text())["execution_results"]["throughput"])
