"""`python -m soak.live URL`: asks /live until standard input ends; prints statuses and the slowest's seconds.

A process of its own: a thread beside those that send would also wait for them.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter

import httpx

LOOK_EVERY = 0.2  # seconds


def main(url: str) -> None:
    statuses, slowest, done = Counter[str](), 0.0, threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), done.set()), daemon=True).start()
    with httpx.Client(timeout=30) as client:
        while not done.wait(LOOK_EVERY):
            began = time.monotonic()
            try:
                status = str(client.get(f"{url}/live").status_code)
            except httpx.HTTPError as error:
                status = type(error).__name__
            statuses.update([f"live {status}"])
            slowest = max(slowest, time.monotonic() - began)
    print(json.dumps({"statuses": statuses, "slowest": slowest}))


if __name__ == "__main__":
    main(sys.argv[1])
