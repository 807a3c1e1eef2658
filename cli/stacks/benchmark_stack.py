"""A stack that is there for a benchmark alone, and more databases beside its own; nothing of it stays."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from cli.installer import migrations
from cli.stacks.running_stack import launched
from local.folders import passable
from local.postgres import SUPERUSER, Cluster, prepare_database
from local.stack import free_port
from shared import settings

if TYPE_CHECKING:
    from benchmarks.search_bench import Places

# As a project's database of 8 GB has them, with memory enough to build an index of 1,000,000 vectors.
# And without care for power cuts.
PARAMETERS = {
    "shared_buffers": "2GB",
    "effective_cache_size": "6GB",
    "maintenance_work_mem": "2GB",
    "max_wal_size": "8GB",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}


@contextmanager
def places() -> Iterator[Places]:
    """A folder in the system's temporary one and a free port, apart from any stack that the settings name."""
    from benchmarks.search_bench import Places

    with passable() as folder:
        settings.data_folder.claim(folder)
        cluster = Cluster(folder / "postgres")
        _tune(cluster)
        with launched(_own_settings(folder)) as stack:
            yield Places(
                served=cluster.url(SUPERUSER),
                settings=stack.settings,
                make=lambda: _make(cluster),
                drop=lambda url: _drop(cluster, url),
            )


@contextmanager
def database() -> Iterator[str]:
    """The URL of the superuser of a database with the migrations; PostgreSQL has its own parameters."""
    with passable() as folder, Cluster(folder / "postgres") as cluster:
        yield _make(cluster)


def _own_settings(folder: Path) -> settings.Settings:
    """The model whose vectors are drawn, loaded as this process would load it."""
    from benchmarks.search_bench import NATIVE

    given = settings.load()
    own = {"LOCAL_DATA": str(folder), "LOCAL_PORT": str(free_port()), "EMBEDDING_MODELS": NATIVE}
    return settings.load(own | {"EMBEDDING_CACHE": str(given.embedding_cache)})


def _tune(cluster: Cluster) -> None:
    """Some of the parameters take effect with a start only: the stack's."""
    with cluster, psycopg.connect(cluster.url(SUPERUSER), autocommit=True) as connection:
        for name, value in PARAMETERS.items():
            connection.execute(
                sql.SQL("alter system set {} = {}").format(sql.Identifier(name), sql.Literal(value))
            )


def _make(cluster: Cluster) -> str:
    name = f"bench_{uuid.uuid4().hex[:12]}"
    prepare_database(cluster, name)
    migrations.apply(cluster.url(database=name))
    return cluster.url(SUPERUSER, name)


def _drop(cluster: Cluster, url: str) -> None:
    name = sql.Identifier(str(psycopg.conninfo.conninfo_to_dict(url)["dbname"]))
    with psycopg.connect(cluster.url(SUPERUSER), autocommit=True) as connection:
        connection.execute(sql.SQL("drop database {} with (force)").format(name))
