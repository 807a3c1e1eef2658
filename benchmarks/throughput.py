"""Sustained ingest on a running stack: webhook path, worker path, each stage alone, a burst, and memory.

    neural-search up --detach && python -m benchmarks.throughput --record docs/speed.md

The pictures are made for it, small and all different. Webhook path: from the first upload to the last picture
that is searchable. Worker path: the pictures are uploaded and queued while no webhook is connected, then
`neural-search worker --once` drains the queue; counted is the time between its first and its last document.
The run has the stack's queue for itself, takes its buckets away again, and needs DATABASE_URL.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import requests

from benchmarks import process_memory, stages
from benchmarks.fresh_bucket import Bucket, fresh, note, webhook_paused
from benchmarks.photographs import samples
from benchmarks.pictures import DESCRIPTION, small_jpegs
from benchmarks.process_memory import Curve, serving, watched
from benchmarks.speed import machine, record, table
from shared import settings
from shared.settings import CHECKOUT, Settings

TARGET = 0.8  # the worker's rate, as a share of the stages' in a row
CONTAINER_SECONDS = 10  # how long 8 requests at a time go on


@dataclass(frozen=True, kw_only=True)
class Run:
    """Pictures that became searchable in one way."""

    images: int
    seconds: float
    rate: float  # images per second
    p50: float  # seconds from upload to searchable
    p95: float
    memory_peak: float  # MB, all processes of the function or worker that embedded
    memory_first: float  # of the run's first tenth
    memory_last: float  # of its last tenth


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    current = settings.load()
    report = measure(
        current,
        images=arguments.images,
        burst=arguments.burst,
        stage_images=arguments.stage_images,
        threads=arguments.threads,
        clients=arguments.clients,
        seed=arguments.seed,
    )
    if arguments.record:
        record(arguments.record, report)
    print(json.dumps(report, indent=2) if arguments.json else table(report))


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    made.add_argument("--images", type=int, default=5000, help="of each path (default 5000)")
    made.add_argument("--burst", type=int, default=1000, help="uploads at once (default 1000)")
    made.add_argument("--stage-images", type=int, default=1000, help="for each stage alone (default 1000)")
    made.add_argument("--threads", type=int, default=8, help="of the worker and of each stage (default 8)")
    made.add_argument("--clients", type=int, default=4, help="uploading at once, 16 in the burst (default 4)")
    made.add_argument("--seed", type=int, default=1, help="of the pictures (default 1)")
    made.add_argument("--json", action="store_true", help="print JSON")
    made.add_argument("--record", type=Path, help="write the table into this file, e.g. docs/speed.md")
    return made


def measure(
    current: Settings, *, images: int, burst: int, stage_images: int, threads: int, clients: int, seed: int
) -> dict[str, Any]:
    """All of it, one after another; the report as JSON can hold it."""
    note(f"Making {images} pictures …")
    pictures = list(small_jpegs(max(images, burst, stage_images), seed))
    webhook = by_webhook(current, "webhook", pictures[:images], clients)
    note(f"Webhook path: {webhook.rate:.1f} images/s")
    burst_run = by_webhook(current, "burst", pictures[:burst], 16)
    note(f"Burst: {burst} searchable after {burst_run.seconds:.0f} s")
    weights = container_memory(current)
    with webhook_paused(current.need("database_url")):
        alone = alone_on_all_cores(current, pictures[:stage_images], clients, threads)
        note(f"Stages alone: {alone}")
        worker = by_worker(current, pictures[:images], clients, threads)
    return {
        "made": time.strftime("%Y-%m-%d", time.gmtime()),
        "command": f"python -m benchmarks.throughput --images {images} --burst {burst}"
        f" --stage-images {stage_images} --threads {threads} --clients {clients} --seed {seed}",
        "machine": machine(),
        "pictures": DESCRIPTION,
        "webhook": asdict(webhook),
        "burst": asdict(burst_run),
        "container_memory_mb": weights,
        "stages": asdict(alone) | {"in_a_row": alone.in_a_row},
        "worker": asdict(worker),
        "ratio": worker.rate / alone.in_a_row,
        "target": TARGET,
    }


def by_webhook(current: Settings, kind: str, pictures: Sequence[bytes], clients: int) -> Run:
    """From the first upload to the last picture that is searchable."""
    with fresh(current, kind, indexed=True) as bucket:
        with watched(partial(serving, "embed_on_upload")) as curve:
            began = time.time()
            bucket.upload(pictures, clients)
            bucket.wait_until_searchable(len(pictures))
        return _run(bucket, began, curve)


def by_worker(current: Settings, pictures: Sequence[bytes], clients: int, threads: int) -> Run:
    """From the worker's first document to its last."""
    with fresh(current, "worker", indexed=False) as bucket:
        bucket.upload(pictures, clients)
        bucket.index()
        note("Draining with the worker …")
        command = [sys.executable, "-m", "cli", "worker", "--once", "--concurrency", str(threads), "--json"]
        environment = settings.child_environment(settings.environment(current))
        with (
            subprocess.Popen(command, cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE) as worker,
            watched(lambda: [psutil.Process(worker.pid)] if worker.poll() is None else []) as curve,
        ):
            printed, _ = worker.communicate()
        if worker.returncode or json.loads(printed)["embedded"] != len(pictures):
            sys.exit(f"error: the worker ended with status {worker.returncode} and printed {printed!r}")
        return _run(bucket, bucket.embedded()[0], curve)


def _run(bucket: Bucket, began: float, curve: Curve) -> Run:
    images, (_, last), (p50, p95) = bucket.documents(), bucket.embedded(), bucket.freshness()
    memory_first, memory_last = curve.ends(since=began)
    return Run(
        images=images,
        seconds=last - began,
        rate=images / (last - began),
        p50=p50,
        p95=p95,
        memory_peak=curve.peak,
        memory_first=memory_first,
        memory_last=memory_last,
    )


def alone_on_all_cores(
    current: Settings, pictures: Sequence[bytes], clients: int, threads: int
) -> stages.Stages:
    with fresh(current, "stages", indexed=False) as bucket:
        bucket.upload(pictures, clients)
        bucket.index()
        return stages.measure(bucket, threads)


def container_memory(current: Settings) -> dict[str, dict[str, float]]:
    """MB of each function at rest and at most, while 8 requests with photographs run at a time."""
    photographs = [path.read_bytes() for path in samples()[:64]]
    rest = process_memory.by_function()
    with watched(partial(serving, "query")) as query:
        _search_with_8(current, photographs)
    with (
        fresh(current, "photographs", indexed=True) as bucket,
        watched(partial(serving, "embed_on_upload")) as embed,
    ):
        bucket.upload(photographs, 8)
        bucket.wait_until_searchable(len(photographs))
    peaks = {"query": query.peak, "embed_on_upload": embed.peak}
    return {function: {"at_rest": rest[function], "with_8_requests": peaks[function]} for function in rest}


def _search_with_8(current: Settings, photographs: Sequence[bytes]) -> None:
    until = time.monotonic() + CONTAINER_SECONDS
    headers = {"Content-Type": "image/jpeg", "apikey": str(current.need("publishable_key"))}

    def search(first: int) -> None:
        number = first
        while time.monotonic() < until:
            body = photographs[number % len(photographs)]
            answer = requests.post(current.query_url, data=body, headers=headers, timeout=60)
            if answer.status_code not in (200, 429, 503):  # told to come back later is an answer too
                answer.raise_for_status()
            number += 8

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(search, range(8)))


if __name__ == "__main__":
    main()
