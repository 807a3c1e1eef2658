"""Several machines drain one queue while they and Postgres are killed: the rows are as in an undisturbed run.

The same objects are embedded twice, undisturbed and with kills. These come at random shares of the work
rather than at random times: so all of them fall into it, however fast the machine is.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial

import psutil
import psycopg
from psycopg.rows import dict_row
from soak import processes
from soak.killer import Kill
from soak.outcome import Outcome
from support.embedded_stacks import temporary_stack

from benchmarks.fresh_bucket import Bucket, fresh, webhook_paused
from benchmarks.pictures import small_jpegs
from local.stack import Stack

KILLS = 20
CLIENTS = 4  # uploading at once
POSTGRES = 0.25  # of the kills
LAST_KILL = 0.9  # of the work
LOOK_EVERY = 0.1  # seconds between two looks at the progress
# Leases (120 s) run out one after the other, and an image that may have killed its worker is tried alone.
SETTLES_WITHIN = 900.0
ROWS = """
select object_id::text || ' ' || model as key, bucket_id, content, object_version, content_hash, width,
  height, mime_type, perceptual_hash::text, shown, decoder_version, md5(embedding::text) as embedding
from neural_search.documents where bucket_id = %s
"""

Row = dict[str, object]
Fleet = Callable[[Stack], AbstractContextManager[Mapping[str, Kill]]]


def run(part: str, fleet: Fleet, count: int = 1000, seed: int = 1) -> Outcome:
    """Uploads `count` pictures to a stack of its own, and has the fleet embed them twice."""
    began = time.monotonic()
    with (
        temporary_stack() as stack,
        webhook_paused(stack.settings.database_url),
        fresh(stack.settings, part, indexed=False) as bucket,
    ):
        bucket.upload(list(small_jpegs(count, seed)), CLIENTS)
        with fleet(stack) as targets:
            bucket.index()
            _wait(partial(_has_come_to, bucket, count), f"undisturbed, {count} documents")
            expected = _rows(bucket)
            if len(expected) != count:
                raise AssertionError(f"undisturbed, {len(expected)} of {count} images were embedded")
            _queue_again(bucket)
            kills = _disturb(bucket, {**targets, "postgres": partial(_kill_postgres, stack)}, count, seed)
            seconds = _wait(lambda: _is_drained(bucket), "a drained queue")
            found = _rows(bucket)
    print(f"{part}, seed {seed}: kills: " + ", ".join(f"{name} {n}" for name, n in kills.most_common()))
    print(f"{part}: settled {seconds:.0f} s after the last kill, {len(found)} documents")
    lost, ghosts, wrong = compare(expected, found)
    return Outcome(
        part=part,
        operations=count,
        seconds=time.monotonic() - began,
        kills=kills.total(),
        lost=len(lost),
        ghosts=len(ghosts),
        wrong=len(wrong),
        evidence=(*lost, *ghosts, *wrong),
    )


def compare(expected: Sequence[Row], found: Sequence[Row]) -> tuple[list[str], list[str], list[str]]:
    """Documents that are lost, there without cause or twice, and other than they should be."""
    before, after = ({row["key"]: row for row in rows} for rows in (expected, found))
    lost = [f"LOST {row['content']} ({key})" for key, row in before.items() if key not in after]
    counts = Counter(row["key"] for row in found)
    ghosts = [
        f"GHOST {after[key]['content']} ({key}): expected {int(key in before)}, found {count}"
        for key, count in counts.items()
        if count > 1 or key not in before
    ]
    wrong = [
        f"WRONG {row['content']} ({key}): expected {before[key][column]}, found {value} as {column}"
        for key, row in after.items()
        if key in before
        for column, value in row.items()
        if value != before[key][column]
    ]
    return lost, ghosts, wrong


def _disturb(bucket: Bucket, targets: Mapping[str, Kill], count: int, seed: int) -> Counter[str]:
    """Kills at random shares of the work; how many of each."""
    chance, kills = random.Random(f"{seed}/kills"), Counter[str]()
    others = sorted(set(targets) - {"postgres"})
    for point in sorted(chance.sample(range(1, int(LAST_KILL * count)), KILLS)):
        _wait(partial(_has_come_to, bucket, point), f"{point} documents")
        name = "postgres" if chance.random() < POSTGRES else chance.choice(others)
        _wait(partial(targets[name], chance), f"a {name} to kill")
        kills[name] += 1
    return kills


def _kill_postgres(stack: Stack, _chance: random.Random) -> bool:
    processes.postgres(stack).kill()
    return True


def _wait(until: Callable[[], bool], expected: str) -> float:
    """Until that holds; the seconds. AssertionError after `SETTLES_WITHIN`.

    Postgres may be away for a while, and a process end just before it is killed.
    """
    began = time.monotonic()
    while time.monotonic() - began < SETTLES_WITHIN:
        with suppress(psycopg.OperationalError, psutil.Error, ProcessLookupError):
            if until():
                return time.monotonic() - began
        time.sleep(LOOK_EVERY)
    raise AssertionError(f"expected {expected} within {SETTLES_WITHIN:g} s, which didn't come")


def _has_come_to(bucket: Bucket, point: int) -> bool:
    return bucket.documents() >= point


def _is_drained(bucket: Bucket) -> bool:
    with psycopg.connect(bucket.url) as database:
        left = database.execute("select from neural_search.jobs where state = 'pending' limit 1")
        return left.rowcount == 0


def _queue_again(bucket: Bucket) -> None:
    with psycopg.connect(bucket.url) as database:
        database.execute("delete from neural_search.documents where bucket_id = %s", [bucket.name])
        database.execute("select public.backfill_documents(%s)", [bucket.name])


def _rows(bucket: Bucket) -> list[Row]:
    with psycopg.connect(bucket.url, row_factory=dict_row) as database:
        return database.execute(ROWS, [bucket.name]).fetchall()
