"""The worker path with vectors stored one by one and in batches, in turns, on a running stack.

    neural-search up --detach && python -m benchmarks.storing --record docs/speed.md

One process and one model drain the same pictures again and again. A rate counts from the first document to
the last; CPU is that of this process with its decoders, of the embedded gateway, and of Postgres. On a busy
machine the CPU says more than the rate. Needs DATABASE_URL, and the queue for itself.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import psycopg

from benchmarks import contest, speed
from benchmarks.fresh_bucket import Bucket, fresh, note, webhook_paused
from benchmarks.pictures import DESCRIPTION, small_jpegs
from benchmarks.process_memory import STACK_INFO
from shared import embedding, settings
from shared.images.sandbox.pool import start
from shared.indexing.worker import build_worker
from shared.runtime import logs
from shared.runtime.metrics import Metrics
from shared.runtime.model_registry import ModelRegistry
from shared.supabase import credentials
from shared.supabase.database import Database, http_client
from shared.supabase.storage import Storage, http_session

TARGET = 1.3
PARTS = ("worker", "gateway", "postgres")


@dataclass(frozen=True, kw_only=True)
class Way:
    """`largest` is how many vectors share a round trip at most; None: as the worker has it."""

    threads: int
    patience: float
    largest: int | None = None


WAYS = {
    "one by one": Way(threads=8, patience=0.0, largest=1),
    "in batches": Way(threads=24, patience=0.2),
}


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    report = measure(arguments.images, arguments.rounds, arguments.seed)
    if arguments.record:
        speed.replace(arguments.record, "storing", table(report))
    print(json.dumps(report, indent=2) if arguments.json else table(report))


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    made.add_argument("--images", type=int, default=1000, help="in each turn (default 1000)")
    made.add_argument("--rounds", type=int, default=3, help="turns of each way (default 3)")
    made.add_argument("--seed", type=int, default=1, help="of the pictures (default 1)")
    made.add_argument("--json", action="store_true", help="print JSON")
    made.add_argument("--record", type=Path, help="write the table into this file, e.g. docs/speed.md")
    return made


def measure(images: int, rounds: int, seed: int) -> dict[str, Any]:
    current = settings.load()
    models = ModelRegistry(current.embedding_models, partial(embedding.load, configuration=current))
    for name in models.names:
        models.get(name)
    seconds: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    with webhook_paused(current.need("database_url")), fresh(current, "storing", indexed=False) as bucket:
        bucket.upload(list(small_jpegs(images, seed)), 4)
        turns = {name: partial(_turn, bucket, models, way, seconds[name]) for name, way in WAYS.items()}
        rates = contest.rounds(turns, rounds, lambda: note(f"so far: {seconds}"))
    one, many = WAYS
    costs = {
        name: [sum(cpu[part] for part in PARTS) for cpu in measured] for name, measured in seconds.items()
    }
    return {
        "command": f"python -m benchmarks.storing --images {images} --rounds {rounds} --seed {seed}",
        "machine": speed.machine(),
        "pictures": DESCRIPTION,
        "ways": {
            name: {"rate": contest.median(rates, name)}
            | {
                key: contest.median({key: [cpu[key] for cpu in measured]}, key)
                for key in (*PARTS, "round_trips")
            }
            for name, measured in seconds.items()
        },
        "ratio": contest.ratio(rates, many, one),
        "cpu_ratio": contest.ratio(costs, one, many),
        "target": TARGET,
    }


def _turn(bucket: Bucket, models: ModelRegistry, way: Way, seconds: list[dict[str, float]]) -> float:
    """Images per second; milliseconds of CPU for each image are added to `seconds`."""
    _queue_again(bucket)
    mine, calls = bucket.settings, Counter[str]()
    url, service = mine.need("supabase_url"), credentials.service(mine)
    with (
        logs.silenced(),
        closing(start(mine, most=way.threads)) as decoders,
        http_session(url, way.threads) as session,
        http_client() as http,
    ):
        http.event_hooks["response"].append(lambda answer: calls.update([answer.url.path]))
        worker = build_worker(
            database=lambda: Database(url, service, http),
            storage=Storage(url, service, session),
            models=models,
            decode=decoders.decode,
            metrics=Metrics(),
            max_bytes=mine.max_image_bytes,
            concurrency=way.threads,
            patience=way.patience,
            largest=way.largest,
        )
        before = _cpu(bucket)
        worker.run(lambda _: None)
        after = _cpu(bucket)
    images, (first, last) = bucket.documents(), bucket.embedded()
    used = {part: 1000 * (after[part] - before[part]) / images for part in PARTS}
    seconds.append(used | {"round_trips": 1 + calls.total() / images})  # and the download
    return images / (last - first)


def _queue_again(bucket: Bucket) -> None:
    with psycopg.connect(bucket.url, autocommit=True) as connection:
        connection.execute("select public.unindex_bucket(%s)", [bucket.name])
        connection.execute("delete from neural_search.documents where bucket_id = %s", [bucket.name])
        connection.execute("vacuum neural_search.documents, neural_search.jobs")  # an index of its own length
    bucket.index()


def _cpu(bucket: Bucket) -> dict[str, float]:
    """Seconds so far of the process trees of each part."""
    info = json.loads((bucket.settings.local_data / STACK_INFO).read_text())
    with psycopg.connect(bucket.url) as connection:
        postgres = psutil.Process(connection.info.backend_pid).ppid()
    roots = {"worker": psutil.Process().pid, "gateway": info["processes"]["gateway"], "postgres": postgres}
    return {part: _tree(psutil.Process(pid)) for part, pid in roots.items()}


def _tree(root: psutil.Process) -> float:
    ended = sum(root.cpu_times()[2:4])  # Postgres' connections come and go
    living = [root, *root.children(recursive=True)]
    return float(ended + sum(sum(process.cpu_times()[:2]) for process in living))


def table(report: dict[str, Any]) -> str:
    """Markdown."""
    rows = [
        f"| {name} | {way['rate']:.1f} images/s | {way['round_trips']:.2f} | "
        + " | ".join(f"{way[part]:.1f} ms" for part in PARTS)
        + " |"
        for name, way in report["ways"].items()
    ]
    on = report["machine"]
    return "\n".join(
        [
            f"{on['cores']} cores of {on['cpu']}, {on['system']}. Pictures: {report['pictures']}.",
            "",
            f"    {report['command']}",
            "",
            "| vectors stored | rate | round trips per image | worker, CPU per image | gateway | Postgres |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
            f"In batches ÷ one by one: {report['ratio']:.2f} x the rate (target {report['target']}), for "
            f"1 / {report['cpu_ratio']:.2f} of the CPU.",
        ]
    )


if __name__ == "__main__":
    main()
