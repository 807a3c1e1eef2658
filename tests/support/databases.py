"""Databases for tests: clones of a template, and the deeds of uploaders, callers and workers."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from local.postgres import SUPERUSER, Cluster

MODEL = "efficientnet-lite0-concepts"
DIMENSIONS = 1408

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True)
class Clone:
    """A test's own database."""

    cluster: Cluster
    name: str

    def url(self, user: str = "postgres") -> str:
        return self.cluster.url(user, self.name)

    def connect(self, user: str = "postgres") -> Connection:
        """A connection that commits each statement by itself."""
        return psycopg.connect(self.url(user), autocommit=True)


@contextmanager
def clone(cluster: Cluster, source: str) -> Iterator[Clone]:
    name = f"test_{uuid.uuid4().hex[:12]}"
    names = {"name": sql.Identifier(name), "source": sql.Identifier(source)}
    with psycopg.connect(cluster.url(SUPERUSER), autocommit=True) as connection:
        # Copying the files costs half of what copying the pages through the log does.
        create = "create database {name} template {source} owner postgres strategy file_copy"
        connection.execute(sql.SQL(create).format(**names))
        yield Clone(cluster, name)
        _disconnect(connection, name)
        connection.execute(sql.SQL("drop database {name} with (force)").format(**names))


def _disconnect(connection: Connection, name: str) -> None:
    """End the others' connections: dropping would look for them only every tenth of a second."""
    connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name])
    deadline = time.monotonic() + 5
    while connection.execute("select from pg_stat_activity where datname = %s", [name]).rowcount:
        if time.monotonic() > deadline:
            return  # dropping says who is left
        time.sleep(0.002)


@contextmanager
def as_role(connection: Connection, role: str, claims: dict[str, Any] | None = None) -> Iterator[Connection]:
    """A transaction as PostgREST makes it for a caller."""
    with connection.transaction():
        connection.execute(
            "select set_config('role', %s, true), set_config('request.jwt.claims', %s, true)",
            [role, json.dumps({"role": role, **(claims or {})})],
        )
        yield connection


def vector(*leading: float) -> str:
    """An embedding of the first model's length that begins with these numbers, the rest being zero."""
    return json.dumps([*leading, *[0.0] * (DIMENSIONS - len(leading))])


def finish(connection: Connection, object_id: uuid.UUID, embedding: str, version: str | None = None) -> str:
    """A worker's report that this version (the present one by default) is embedded."""
    ((result,),) = connection.execute(
        """
        select public.finish_embedding_job(%(id)s, %(model)s,
          coalesce(%(version)s, (select version from storage.objects where id = %(id)s), ''),
          %(embedding)s, 'hash', 2, 3, 'image/png')
        """,
        {"id": object_id, "model": MODEL, "version": version, "embedding": embedding},
    )
    return result


def make_crowd(
    database: Clone, embeddings: Sequence[Sequence[float]], names: Sequence[str], owners: Sequence[str | None]
) -> None:
    """Objects in the bucket `images`, and their documents of a small model `tiny`, which becomes active."""
    dimensions = len(embeddings[0])
    with database.connect("supabase_admin") as platform:
        platform.execute("set session_replication_role = 'replica'")
        platform.execute("update neural_search.models set state = 'retired'")
        platform.execute(
            "insert into neural_search.models (name, dimensions, state) values ('tiny', %s, 'active')",
            [dimensions],
        )
        objects = [(str(uuid.UUID(int=n + 1)), name, str(n)) for n, name in enumerate(names)]
        with platform.cursor().copy(
            "copy storage.objects (id, bucket_id, name, version, owner_id) from stdin"
        ) as copy:
            for (object_id, name, version), owner in zip(objects, owners, strict=True):
                copy.write_row([object_id, "images", name, version, owner])
        columns = (
            "object_id, bucket_id, content, model, embedding, object_version, owner_id, byte_size, mime_type"
        )
        with platform.cursor().copy(f"copy neural_search.documents ({columns}) from stdin") as copy:
            rows = zip(objects, embeddings, owners, strict=True)
            for n, ((object_id, name, version), embedding, owner) in enumerate(rows):
                mime_type = "image/png" if n % 100 else "image/gif"
                vector = json.dumps(list(embedding))
                copy.write_row([object_id, "images", name, "tiny", vector, version, owner, n, mime_type])
        platform.execute("""
            update neural_search.documents set
              uploaded_at = '2026-01-01'::timestamptz + id * interval '1 minute',
              metadata = jsonb_build_object('tag', id % 100), shown = 1 - (id % 100) / 200.0
        """)
        platform.execute(f"""
            create index tiny_idx on neural_search.documents
              using hnsw ((embedding::extensions.halfvec({dimensions})) extensions.halfvec_cosine_ops)
              where model = 'tiny'
        """)
        platform.execute("vacuum analyze neural_search.documents")
        platform.execute("vacuum analyze storage.objects")
