"""A real Postgres: one server per session, one database per test, cloned from a template."""

from __future__ import annotations

import functools
import gc
import ssl
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from itertools import count
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb
from support.databases import Clone, Clones, Connection, finish, vector
from support.embedded_stacks import temporary_stack
from support.memory_folder import quick_folder
from support.xdist_scheduler import Sharing, order

from cli.installer import migrations
from local.gateway import cron, net
from local.postgres import Cluster, prepare_database
from local.stack import Stack
from shared.secrets import masking
from shared.settings import CHECKOUT

SEED = CHECKOUT / "supabase" / "seed.sql"
TEMPLATE = "template_search"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Sharing:
    return Sharing(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Each test is marked by its tier, which is its folder."""
    for item in items:
        tier = item.path.relative_to(CHECKOUT / "tests").parts[0]
        item.add_marker(tier if tier in ("unit", "database") else "system")
    if hasattr(config, "workerinput"):
        order(items)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Thousands of tests are made and none is garbage: looking for it would take a fifth of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _certificates_read_once() -> Iterator[None]:
    """Each HTTP client of httpx reads all of them, in 30 ms, and those of the tests speak plain HTTP."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", functools.cache(ssl.create_default_context))
        yield


@pytest.fixture(scope="session", autouse=True)
def _gateways_without_pauses() -> Iterator[None]:
    """Within tests' own processes: pg_net rests a second after each batch, which no test is about."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(net, "PAUSE", 0.05)
        for worker in (net, cron):
            patch.setattr(worker, "RECONNECT_AFTER", 0.1)
        yield


@pytest.fixture(autouse=True)
def _secrets_of_a_test_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each that a test loads would be masked in all later tests of its process."""
    monkeypatch.setattr(masking, "_own", masking._own)


@pytest.fixture(scope="session")
def postgres_major(request: pytest.FixtureRequest) -> int:
    return getattr(request, "param", 18)


@pytest.fixture(scope="session")
def cluster(postgres_major: int) -> Iterator[Cluster]:
    with quick_folder() as folder, Cluster(folder / "postgres", postgres_major, durable=False) as running:
        yield running


@pytest.fixture(scope="session")
def template(cluster: Cluster) -> str:
    """A project after `install` and the demo's seed, with one bucket indexed."""
    prepare_database(cluster, TEMPLATE)
    migrations.apply(cluster.url("postgres", TEMPLATE))
    with psycopg.connect(cluster.url("postgres", TEMPLATE)) as connection:
        connection.execute(SEED.read_bytes())
        connection.execute("select public.unindex_bucket('albums')")  # the demo users': tests have one bucket
    return TEMPLATE


@pytest.fixture(scope="session")
def bare_template(cluster: Cluster) -> str:
    """A project before anything of ours."""
    prepare_database(cluster, "template_platform")
    return "template_platform"


@pytest.fixture(scope="session")
def clones(cluster: Cluster, template: str) -> Iterator[Clones]:
    with closing(Clones(cluster, template)) as made:
        yield made


@pytest.fixture(scope="session")
def bare_clones(cluster: Cluster, bare_template: str) -> Iterator[Clones]:
    with closing(Clones(cluster, bare_template)) as made:
        yield made


@pytest.fixture
def database(clones: Clones) -> Iterator[Clone]:
    with clones.fresh() as own:
        yield own


@pytest.fixture
def bare_database(bare_clones: Clones) -> Iterator[Clone]:
    with bare_clones.fresh() as own:
        yield own


@pytest.fixture
def db(database: Clone) -> Iterator[Connection]:
    """Connected as the project's owner `postgres`."""
    with database.connect() as connection:
        yield connection


@pytest.fixture
def make_object(database: Clone) -> Iterator[Callable[..., uuid.UUID]]:
    """Insert or overwrite an object as the storage server does at the end of an upload."""
    names = (f"{number}.png" for number in count(1))
    with database.connect("supabase_storage_admin") as storage:

        def make(name: str | None = None, bucket: str = "images", **columns: Any) -> uuid.UUID:
            version = columns.pop("version", str(uuid.uuid4()))
            row = {
                "bucket_id": bucket,
                "name": next(names) if name is None else name,
                "version": version,
                "metadata": Jsonb({"eTag": f'"{version}"', "size": 3, "mimetype": "image/png"}),
                "user_metadata": Jsonb({}),
                **columns,
            }
            ((identity,),) = storage.execute(
                """
                insert into storage.objects (bucket_id, name, version, metadata, user_metadata, owner_id)
                values (%(bucket_id)s, %(name)s, %(version)s, %(metadata)s, %(user_metadata)s, %(owner_id)s)
                on conflict (bucket_id, name) do update set
                  version = excluded.version, owner_id = excluded.owner_id, metadata = excluded.metadata,
                  user_metadata = excluded.user_metadata
                returning id
                """,
                {"owner_id": None, **row},
            )
            return identity

        yield make


@pytest.fixture
def make_document(db: Connection, make_object: Callable[..., uuid.UUID]) -> Callable[..., uuid.UUID]:
    """An object and its finished document; the object's id."""

    def make(name: str | None = None, *leading: float, **columns: Any) -> uuid.UUID:
        object_id = make_object(name, **columns)
        assert finish(db, object_id, vector(*(leading or (1.0,)))) == "embedded"
        return object_id

    return make


@pytest.fixture(scope="session")
def embedded_stack() -> Iterator[Stack]:
    """One for all that reach it as users do, from outside; they keep apart by the names of their objects."""
    with temporary_stack(quick_folder) as stack:
        yield stack
