"""Databases for tests: clones of a template, and the deeds of uploaders, callers and workers."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, LiteralString

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


# How often this transaction has read values that are kept outside of the documents' rows.
WIDE_READS = """
    select pg_stat_get_xact_numscans(i.indexrelid)
    from pg_class as c join pg_index as i on i.indrelid = c.reltoastrelid
    where c.oid = 'neural_search.documents'::regclass
"""
# Rows that were written, undone ones and the catalogue's among them; grants on the database and its settings,
# which are kept outside it; and numbers that were drawn.
UNWRITTEN = """
    select s.tup_inserted + s.tup_updated + s.tup_deleted = 0 and d.datacl is null
      and not exists (select from pg_db_role_setting as r where r.setdatabase = d.oid)
    from pg_database as d join pg_stat_database as s on s.datid = d.oid where d.datname = %s
"""
DRAWN = "select sum(last_value) from pg_sequences"


class Clones:
    """Clones of a template. One that its test left as it was serves the next test, too."""

    def __init__(self, cluster: Cluster, source: str):
        self._cluster, self._source = cluster, source
        self._connection = psycopg.connect(cluster.url(SUPERUSER), autocommit=True)
        self._unchanged: Clone | None = None

    def close(self) -> None:
        if self._unchanged:
            self._drop(self._unchanged)
        self._connection.close()

    @contextmanager
    def fresh(self) -> Iterator[Clone]:
        own, self._unchanged = self._unchanged or self._make(), None
        yield own
        if _disconnect(self._connection, own.name) and self._is_unchanged(own):
            self._unchanged = own
        else:
            self._drop(own)

    def _make(self) -> Clone:
        name = f"test_{uuid.uuid4().hex[:12]}"
        # Copying the files costs half as much as copying the pages through the log.
        create = "create database {} template {} owner postgres strategy file_copy"
        self._execute(create, name, self._source)
        return Clone(self._cluster, name)

    def _drop(self, own: Clone) -> None:
        self._execute("drop database {} with (force)", own.name)

    def _execute(self, statement: LiteralString, *names: str) -> None:
        self._connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    def _is_unchanged(self, own: Clone) -> bool:
        unwritten = self._connection.execute(UNWRITTEN, [own.name]).fetchone()
        return unwritten == (True,) and _drawn(own) == self._drawn

    @cached_property
    def _drawn(self) -> tuple[Any, ...] | None:
        return _drawn(Clone(self._cluster, self._source))


def _drawn(own: Clone) -> tuple[Any, ...] | None:
    with own.connect(SUPERUSER) as connection:
        return connection.execute(DRAWN).fetchone()


@contextmanager
def clone(cluster: Cluster, source: str) -> Iterator[Clone]:
    with closing(Clones(cluster, source)) as clones, clones.fresh() as own:
        yield own


def _disconnect(connection: Connection, name: str) -> bool:
    """End the others' connections: dropping looks for them only every tenth of a second. False: in vain."""
    connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name])
    deadline = time.monotonic() + 5
    while connection.execute("select from pg_stat_activity where datname = %s", [name]).rowcount:
        if time.monotonic() > deadline:
            return False  # dropping says who is left
        time.sleep(0.002)
    return True


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
            create index documents_tiny_idx on neural_search.documents
              using hnsw ((embedding::extensions.halfvec({dimensions})) extensions.halfvec_cosine_ops)
              where model = 'tiny'
        """)
        platform.execute("vacuum analyze neural_search.documents")
        platform.execute("vacuum analyze storage.objects")
