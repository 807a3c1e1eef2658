"""A random life of some buckets: clients upload, overwrite, move, copy and delete over Storage's HTTP API.

An operation whose answer was lost has happened or not: the clients go on, and nobody relies on it. One
answered with 200 under a name that no other operation touches must be there at the end.
"""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import httpx
from soak import pictures

INDEXED = ("soak", "soak-public")
UNINDEXED = "soak-apart"
NAMES = 70  # in each bucket: so few that operations meet each other
TIMEOUT = 20.0  # seconds that a client waits for an answer
AGAIN = 0.5  # how likely an operation follows at once on the last one's object, which is being embedded
AT_ONCE = 0.4  # seconds, at most
PAUSE_WHEN_DOWN = 0.3  # seconds after an operation that found nobody there

OPERATIONS = {"upload": 26, "overwrite": 26, "broken": 5, "keep": 6, "move": 13, "copy": 10, "delete": 14}
LOST_ANSWER = "lost answer"


class Storage:
    """Storage as any HTTP client sees it, with the secret key."""

    def __init__(self, url: str, key: str):
        self._http = httpx.Client(
            base_url=f"{url}/storage/v1",
            headers={"apikey": key, "authorization": f"Bearer {key}"},
            timeout=TIMEOUT,
        )

    def make_bucket(self, bucket: str) -> None:
        self._http.post(
            "/bucket", json={"id": bucket, "name": bucket, "public": "public" in bucket}
        ).raise_for_status()

    def read(self, bucket: str, name: str) -> bytes | None:
        """The bytes; None where Storage says that there are none."""
        answer = self._http.get(f"/object/authenticated/{bucket}/{quote(name)}")
        if answer.status_code in (400, 404):
            return None
        return answer.raise_for_status().content

    def upload(self, bucket: str, name: str, data: bytes, mime_type: str, *, upsert: bool) -> int:
        headers = {"x-upsert": str(upsert).lower(), "content-type": mime_type}
        return self._http.post(f"/object/{bucket}/{quote(name)}", content=data, headers=headers).status_code

    def transfer(self, action: str, source: tuple[str, str], target: tuple[str, str]) -> int:
        """`action` is move or copy."""
        ends = {"bucketId": source[0], "sourceKey": source[1]}
        ends |= {"destinationBucket": target[0], "destinationKey": target[1]}
        return self._http.post(f"/object/{action}", json=ends).status_code

    def delete(self, bucket: str, name: str) -> int:
        return self._http.request("DELETE", f"/object/{bucket}", json={"prefixes": [name]}).status_code

    def close(self) -> None:
        self._http.close()


class Workload:
    """So many operations by so many clients at once, all together at most `rate` per second.

    A seed makes each client's wishes the same again.
    """

    def __init__(
        self, connect: Callable[[], Storage], *, operations: int, clients: int, rate: float, seed: int
    ):
        self.kept: dict[tuple[str, str], str] = {}  # must be there at the end: place -> SHA-256
        self.outcomes: Counter[str] = Counter()  # "upload 200" -> how often
        self.done = 0
        self._connect = connect
        self._operations = operations
        self._clients = clients
        # Mean seconds before a client's operation on another object.
        self._pause = (clients / rate - AGAIN * AT_ONCE / 2) / (1 - AGAIN)
        self._seed = seed
        self._lock = threading.Lock()

    def run(self) -> None:
        """Return when every operation was tried."""
        with ThreadPoolExecutor(self._clients) as pool:
            for client in [pool.submit(self._be_client, number) for number in range(self._clients)]:
                client.result()

    def _be_client(self, number: int) -> None:
        chance = random.Random(f"{self._seed}/{number}")
        storage, here = self._connect(), _place(chance)
        for count in range(number, self._operations, self._clients):
            if chance.random() < AGAIN:
                time.sleep(chance.uniform(0, AT_ONCE))
            else:
                time.sleep(chance.expovariate(1 / self._pause) if self._pause > 0 else 0)
                here = _place(chance)
            operation = chance.choices(list(OPERATIONS), list(OPERATIONS.values()))[0]
            try:
                outcome = str(self._do(storage, operation, here, chance, count))
            except httpx.TransportError:
                outcome = LOST_ANSWER
                time.sleep(PAUSE_WHEN_DOWN)
            with self._lock:
                self.outcomes[f"{operation} {outcome}"] += 1
                self.done += 1
        storage.close()

    def _do(
        self, storage: Storage, operation: str, here: tuple[str, str], chance: random.Random, count: int
    ) -> int:
        match operation:
            case "upload" | "overwrite":
                return storage.upload(*here, *pictures.distinct(chance), upsert=operation == "overwrite")
            case "broken":
                return storage.upload(*here, *pictures.broken(chance), upsert=True)
            case "keep":
                return self._keep(storage, chance, count)
            case "delete":
                return storage.delete(*here)
        return storage.transfer(operation, here, _place(chance))

    def _keep(self, storage: Storage, chance: random.Random, count: int) -> int:
        place = (chance.choice(INDEXED), f"kept/{count}.png")
        data, mime_type = pictures.distinct(chance)
        status = storage.upload(*place, data, mime_type, upsert=False)
        if status == 200:
            self.kept[place] = hashlib.sha256(data).hexdigest()
        return status


def _place(chance: random.Random) -> tuple[str, str]:
    """A bucket, mostly one that is indexed, and one of a few names, with characters that URLs don't like."""
    bucket = chance.choices([*INDEXED, UNINDEXED], [5, 4, 1])[0]
    number = chance.randrange(NAMES)
    return bucket, f"folder {number % 7}/image, {number} + (1).png"
