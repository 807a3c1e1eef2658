"""The gateway, served over HTTP, with a database of its own, as the platform provides it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import httpx
import pytest
from support.databases import Connection, clone
from support.echo_server import Echo
from support.gateways import Gateway, serve
from support.http_servers import free_port

from local.postgres import Cluster

BUCKETS = count(1)


@pytest.fixture(scope="session")
def echo() -> Iterator[Echo]:
    with Echo() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(
    cluster: Cluster, bare_template: str, tmp_path_factory: pytest.TempPathFactory, echo: Echo
) -> Iterator[Gateway]:
    """One per module: tests keep apart by buckets and tables of their own."""
    functions = {"echo": echo.url, "down": f"http://127.0.0.1:{free_port()}"}
    with (
        clone(cluster, bare_template) as database,
        serve(database, tmp_path_factory.mktemp("gateway"), functions, echo) as served,
    ):
        yield served


@pytest.fixture
def http(gateway: Gateway) -> Iterator[httpx.Client]:
    """With the secret key."""
    with gateway.http() as client:
        yield client


@pytest.fixture
def db(gateway: Gateway) -> Iterator[Connection]:
    """Connected as the project's owner `postgres`."""
    with gateway.database.connect() as connection:
        yield connection


@pytest.fixture
def bucket(gateway: Gateway) -> str:
    """A fresh private bucket without any policy."""
    name = f"bucket-{next(BUCKETS)}"
    gateway.supabase().storage.create_bucket(name)
    return name


@pytest.fixture
def allow(db: Connection) -> Callable[..., None]:
    """Let a role do something in a bucket."""
    names = count(1)

    def allow(bucket: str, role: str, command: str, condition: str = "true") -> None:
        clauses = {"insert": "with check", "select": "using", "delete": "using", "update": "using"}
        db.execute(
            f'create policy "{bucket} {role} {command} {next(names)}" on storage.objects '
            f"for {command} to {role} {clauses[command]} (bucket_id = '{bucket}' and ({condition}))"
        )

    return allow
