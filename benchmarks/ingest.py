"""Upload → searchable, and the memory of the functions' processes, on a running stack.

    neural-search up --detach && python -m benchmarks.ingest

Latency is a client's: from the call of `upload` until the object's row is readable with the same key.
Memory is the proportional set size (PSS) summed over each function's processes, Linux only.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from io import BytesIO

from PIL import Image
from supabase import Client, create_client

from benchmarks import process_memory
from benchmarks.photographs import samples
from shared import settings

BUCKET = "images"
POLL_SECONDS = 0.01
GIVE_UP_SECONDS = 120


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Upload → searchable in seconds, over `uploads` images."""

    uploads: int
    pause: float  # seconds between one image's being searchable and the next upload
    p50: float
    p95: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--uploads", type=int, default=15, help="images for each pause (default 15)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    current = settings.load()
    client = create_client(current.need("supabase_url"), current.need("secret_key"))
    apart = measure(client, images(arguments.uploads), pause=2.0)
    together = measure(client, images(arguments.uploads), pause=0.0)
    report(apart, together, process_memory.by_function(), as_json=arguments.json)


def images(count: int) -> Iterator[bytes]:
    """`count` JPEGs with bytes that the stack has not seen: sample photographs, each one turned a little."""
    paths = samples()
    for number in range(count):
        path = paths[number * len(paths) // count]
        buffer = BytesIO()
        with Image.open(path) as image:
            image.rotate(uuid.uuid4().int % 7 + 1).save(buffer, "JPEG", comment=uuid.uuid4().hex)
        yield buffer.getvalue()


def measure(client: Client, pictures: Iterator[bytes], *, pause: float) -> Latency:
    """Upload one after another, each as soon as the last is searchable and `pause` seconds have passed."""
    names, seconds = [], []
    try:
        for picture in pictures:
            names.append(f"benchmark/{uuid.uuid4()}.jpg")
            seconds.append(until_searchable(client, names[-1], picture))
            time.sleep(pause)
    finally:
        client.storage.from_(BUCKET).remove(names)
    ranked = sorted(seconds)
    return Latency(
        uploads=len(ranked),
        pause=pause,
        p50=statistics.median(ranked),
        p95=ranked[int(0.95 * (len(ranked) - 1))],
    )


def until_searchable(client: Client, name: str, picture: bytes) -> float:
    """Seconds from the upload's start until the object's document can be read."""
    start = time.monotonic()
    client.storage.from_(BUCKET).upload(name, picture, {"content-type": "image/jpeg"})
    found = client.table("documents").select("id").eq("bucket_id", BUCKET).eq("content", name)
    while not found.execute().data:
        if time.monotonic() - start > GIVE_UP_SECONDS:
            sys.exit(f"error: {name} is not searchable after {GIVE_UP_SECONDS} s: see `neural-search jobs`")
        time.sleep(POLL_SECONDS)
    return time.monotonic() - start


def report(apart: Latency, together: Latency, weights: dict[str, float], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"latency": [asdict(apart), asdict(together)], "memory_mb": weights}, indent=2))
        return
    print("upload → searchable      p50        p95      images")
    for label, row in (("2 s apart", apart), ("back to back", together)):
        print(f"{label:<20}{row.p50 * 1000:>6.0f} ms  {row.p95 * 1000:>6.0f} ms  {row.uploads:>6}")
    print("\nfunction              memory (PSS)")
    for function, megabytes in weights.items():
        print(f"{function:<20}{megabytes:>8.0f} MB")


if __name__ == "__main__":
    main()
