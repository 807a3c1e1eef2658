"""One request costs at most so much, by who sends it: the figures in docs/security.md.

Measured on an embedded stack with a few hundred images, one request at a time: CPU seconds, memory and
connections of the function, and CPU seconds of Postgres. How a search grows with the collection is in
docs/speed.md.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import Any

import httpx
from PIL import Image
from soak.outcome import Outcome
from soak.processes import Use, address, measured, postgres, process
from support.embedded_stacks import temporary_stack
from support.hostile_bodies import BODIES, BYTES, READ, most_cpu_seconds
from support.hostile_images import large_and_plain, long_and_plain, many_scans
from support.waiting import eventually

from local import keys
from local.stack import Stack
from shared.settings import CHECKOUT

IMAGES = 200
TRIES = 3
SEARCHABLE_WITHIN = 300.0
# Of more tokens than the model reads: its tower takes the time, tokenising a thirtieth of it.
TEXTS = [f"{n:03}" + " a b" * 249 for n in range(32)]
USER = "00000000-0000-4000-8000-000000000001"

Send = Callable[[], httpx.Response]
Refuse = Callable[[str], tuple["Cost", int]]  # of a kind of body: its refusal's cost, and its bytes


@dataclass(frozen=True)
class Cost:
    who: str
    request: str
    status: int
    function: Use
    database: Use

    def __str__(self) -> str:
        return (
            f"| {self.who} | {self.request} | {self.status} | {self.function.cpu_seconds:.2f} | "
            f"{self.database.cpu_seconds:.2f} | {self.function.bytes / 1e6:.0f} MB | "
            f"{self.function.connections} |"
        )


def run() -> Outcome:
    """All requests; it fails where a refused body costs more than is said."""
    began = time.monotonic()
    with temporary_stack() as stack:
        names = _fill(stack)
        costs, evidence = refusals(partial(_refuse, stack))
        for who, request, function, send in _requests(stack, names):
            costs.append(_measure(stack, who, request, function, send))
            print(costs[-1], flush=True)
    print("| who | request | status | CPU s, function | CPU s, Postgres | memory | connections |")
    print("\n".join(map(str, costs)))
    return Outcome(
        part="costs", operations=len(costs), seconds=time.monotonic() - began, evidence=tuple(evidence)
    )


def _fill(stack: Stack) -> list[str]:
    """The sample photographs, searchable; their names."""
    service = _client(stack, "service")
    files = sorted((CHECKOUT / "examples" / "images").rglob("*.jpg"))[:IMAGES]
    names = [f"{file.parent.name}/{file.name}" for file in files]
    for name, file in zip(names, files, strict=True):
        headers = {"Content-Type": "image/jpeg"}
        answer = service.post(f"/storage/v1/object/images/{name}", content=file.read_bytes(), headers=headers)
        answer.raise_for_status()

    def searchable() -> bool:
        rows = service.post("/rest/v1/rpc/object_states", json={"bucket": "images", "names": names}).json()
        return all(row["state"] == "searchable" for row in rows)

    eventually(searchable, SEARCHABLE_WITHIN)
    return names


def _client(stack: Stack, caller: str) -> httpx.Client:
    """At the gateway, as `anon`, `user` or `service`."""
    own = keys.load(stack.settings.local_data)
    key = own.secret if caller == "service" else own.publishable
    bearer = own.mint("authenticated", {"sub": USER}) if caller == "user" else key
    headers = {"apikey": key, "Authorization": f"Bearer {bearer}"}
    return httpx.Client(base_url=stack.url, headers=headers, timeout=300)


def refusals(refuse: Refuse) -> tuple[list[Cost], list[str]]:
    """The dearest of all hostile bodies, and those that cost more than is said."""
    cpu_seconds = most_cpu_seconds([refuse(READ)[0].function.cpu_seconds for _ in range(TRIES)])
    costs, evidence = [], []
    for kind in BODIES:
        for _ in range(TRIES):  # others work on this machine too: one that keeps the bounds counts
            cost, size = refuse(kind)
            if cost.function.cpu_seconds <= cpu_seconds and cost.function.bytes <= BYTES + 4 * size:
                break
        else:
            evidence.append(
                f"{cost} of at most {cpu_seconds:.2f} CPU s and {(BYTES + 4 * size) / 1e6:.0f} MB"
            )
        costs.append(cost)
    dearest = max(costs, key=lambda cost: cost.function.cpu_seconds)
    largest = max(costs, key=lambda cost: cost.function.bytes)
    return [dearest, largest], evidence


def _refuse(stack: Stack, kind: str) -> tuple[Cost, int]:
    headers, build = BODIES[kind]
    body = build()
    send = partial(httpx.post, address(stack, "query"), content=body, headers=headers, timeout=120)
    return _measure(stack, "anybody", f"refused body: {kind}", "query", send), len(body)


def _measure(stack: Stack, who: str, request: str, function: str, send: Send) -> Cost:
    with measured(process(stack, function)) as used, measured(postgres(stack)) as database:
        answer = send()
        time.sleep(0.2)  # for the processes to come to rest
    return Cost(who, request, answer.status_code, used, database)


def _requests(stack: Stack, names: list[str]) -> list[tuple[str, str, str, Send]]:
    """Caller, body and function; calls of PostgREST count for Postgres alone."""
    query, embed = address(stack, "query"), address(stack, "embed_on_upload")
    post = partial(_post, query)

    def rpc(caller: str, function: str, arguments: dict[str, Any]) -> Send:
        return partial(_client(stack, caller).post, f"/rest/v1/rpc/{function}", json=arguments)

    vector = httpx.post(f"{query}/vector", json={"text": "red"}, timeout=120).json()["vector"]
    secret = keys.load(stack.settings.local_data).webhook
    kick = {"type": "KICK", "limit": 100}
    return [
        *(("anybody", request, "query", post(body)) for request, body in _searches(names)),
        *(
            (who, request, "query", rpc(caller, function, arguments))
            for who, caller in (("anon", "anon"), ("a user", "user"), ("service_role", "service"))
            for request, function, arguments in _calls(names, vector)
        ),
        (
            "service_role", "the view `documents`, 1000 rows", "query",
            partial(_client(stack, "service").get, "/rest/v1/documents"),
        ),
        ("anybody", "a webhook without the secret", "embed_on_upload", _post(embed, kick)),
        (
            "who has the webhook's secret", "a kick", "embed_on_upload",
            _post(embed, kick, {"x-webhook-secret": secret}),
        ),
    ]  # fmt: skip


def _searches(names: list[str]) -> list[tuple[str, dict[str, Any]]]:
    """Bodies for the query function."""
    images = _eight(many_scans(100, (9900, 9900)))
    return [
        ("32 texts of 1,000 characters, 500 words each", {"text": TEXTS, "limit": 100}),
        ("eight images of 12 megapixels", {"image": _eight(_photograph()), "limit": 100}),
        ("eight JPEGs of 98 megapixels in 100 scans", {"image": images}),
        ("eight PNGs of 2599 x 38,476 pixels", {"image": _eight(long_and_plain())}),
        ("eight WebPs of 9990 x 10,000 pixels", {"image": _eight(large_and_plain())}),
        ("32 examples, by the best score, the last page", _deep(names)),
    ]


def _calls(names: list[str], vector: list[float]) -> list[tuple[str, str, dict[str, Any]]]:
    """Functions in SQL, and their arguments."""
    wide = {"query_embedding": vector, "similarity_threshold": -1, "match_count": 500}
    examples = [{"embedding": vector[n:] + vector[:n]} for n in range(100)]
    return [
        ("`match_documents`, 500 rows", "match_documents", wide),
        ("`search_documents`, 500 rows", "search_documents", {**wide, "query_text": "red " * 30}),
        ("`recommend_documents`, 100 likes, by the best score", "recommend_documents",
         {"likes": examples, "strategy": "best_score", "similarity_threshold": -1, "match_count": 500}),
        ("`object_states`, 1000 names", "object_states", {"bucket": "images", "names": (names * 5)[:1000]}),
        ("`get_embeddings`, 1000 names", "get_embeddings", {"names": (names * 5)[:1000], "bucket": "images"}),
        ("`list_fingerprints`", "list_fingerprints", {}),
    ]  # fmt: skip


def _deep(names: list[str]) -> dict[str, Any]:
    return {"like": names[:32], "strategy": "best_score", "limit": 100, "offset": 100}


def _eight(file: bytes) -> list[str]:
    """Differing ones: equal images are embedded once."""
    return [base64.b64encode(file + bytes([n])).decode() for n in range(8)]


def _photograph() -> bytes:
    file = BytesIO()
    Image.open(CHECKOUT / "examples/images/animals/cat.jpg").resize((4000, 3000)).save(file, "JPEG")
    return file.getvalue()


def _post(url: str, body: object, headers: Mapping[str, str] | None = None) -> Send:
    given = {"Content-Type": "application/json", **(headers or {})}
    return partial(httpx.post, url, content=json.dumps(body), headers=given, timeout=300)
