"""The project that the contract is held against: our gateway or, where CONTRACT_PROJECT is set, a real one.

CONTRACT_PROJECT names a file with lines such as SUPABASE_URL=…, for both keys as well.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from support.gateways import Gateway

from shared import settings

PROJECT = "CONTRACT_PROJECT"


@dataclass(frozen=True)
class Storage:
    """Storage of a project, through plain HTTP as each kind of caller."""

    url: str
    publishable: str
    secret: str

    def client(self, key: str) -> httpx.Client:
        # A legacy key is a token too, and goes where client libraries put it.
        bearer = {} if key.startswith("sb_") else {"authorization": f"Bearer {key}"}
        return httpx.Client(base_url=self.url, headers={"apikey": key, **bearer}, timeout=60)


@pytest.fixture(scope="module")
def project(request: pytest.FixtureRequest) -> Storage:
    if path := os.environ.get(PROJECT):
        lines = Path(path).read_text().splitlines()
        real = settings.load(dict(line.split("=", 1) for line in lines if "=" in line))
        return Storage(f"{real.supabase_url}/storage/v1", real.publishable_key, real.secret_key)
    gateway: Gateway = request.getfixturevalue("gateway")
    return Storage(f"{gateway.url}/storage/v1", gateway.keys.publishable, gateway.keys.secret)


@pytest.fixture(scope="module")
def service(project: Storage) -> Iterator[httpx.Client]:
    with project.client(project.secret) as client:
        yield client


@pytest.fixture(scope="module")
def anon(project: Storage) -> Iterator[httpx.Client]:
    with project.client(project.publishable) as client:
        yield client


@pytest.fixture(scope="module")
def stranger(project: Storage) -> Iterator[httpx.Client]:
    """With the publishable key, and a token that isn't valid."""
    with project.client(project.publishable) as client:
        client.headers["authorization"] = "Bearer junk"
        yield client


@pytest.fixture
def bucket(service: httpx.Client) -> Iterator[str]:
    """A private bucket of the test's own, removed afterwards with all that is in it."""
    name = f"contract-{uuid.uuid4().hex[:12]}"
    assert service.post("/bucket", json={"name": name}).status_code == 200
    yield name
    held = service.post(f"/object/list-v2/{name}", json={}).json()["objects"]
    if held:
        service.request("DELETE", f"/object/{name}", json={"prefixes": [one["name"] for one in held]})
    assert service.delete(f"/bucket/{name}").status_code == 200
