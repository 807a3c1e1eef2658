"""A project's rows for the search benchmark: objects of many owners, and their documents, made by COPY.

Of every 1000 objects, 1 is the first owner's, 10 the second's, 100 the third's, the rest are many others'.
Buckets and albums (in `metadata`) have the same shares, each drawn by itself; an object's first folder is its
owner, so that a policy or a prefix by folder has them too.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import psycopg
from psycopg.types.json import Jsonb

from benchmarks.mixture import Vectors

Connection = psycopg.Connection[tuple[Any, ...]]
Show = Callable[[str, int, int], None]  # the step's name, how many are done, of how many

SHARES = {"0.1%": 0.001, "1%": 0.01, "10%": 0.1}  # of all objects; the callers and filters that are measured
TELL_EVERY = 5000
OTHERS = 100  # owners, buckets and albums of the rest
OBJECTS = (
    *(("id", "uuid"), ("bucket_id", "text"), ("name", "text"), ("owner_id", "text"), ("version", "text")),
    *(("metadata", "jsonb"), ("user_metadata", "jsonb"), ("created_at", "timestamptz")),
)
DOCUMENTS = (
    *(("object_id", "uuid"), ("bucket_id", "text"), ("content", "text"), ("model", "text")),
    *(("embedding", "bytea"), ("object_version", "text"), ("content_hash", "text"), ("width", "int4")),
    *(("height", "int4"), ("mime_type", "text"), ("byte_size", "int8"), ("owner_id", "text")),
    *(("uploaded_at", "timestamptz"), ("metadata", "jsonb")),
)
FIRST_UPLOAD = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One object, as both tables have it."""

    id: uuid.UUID
    bucket: str
    name: str
    owner: str
    album: str
    size: int
    uploaded: datetime

    def as_object(self) -> tuple[Any, ...]:
        stored = {"size": self.size, "mimetype": "image/jpeg", "eTag": f'"{self.id.hex}"'}
        about = Jsonb({"album": self.album})
        return (
            *(self.id, self.bucket, self.name, self.owner, str(self.id)),
            *(Jsonb(stored), about, self.uploaded),
        )

    def as_document(self, model: str, embedding: bytes) -> tuple[Any, ...]:
        return (
            *(self.id, self.bucket, self.name, model, embedding, str(self.id), self.id.hex, 640, 480),
            *("image/jpeg", self.size, self.owner, self.uploaded, Jsonb({"album": self.album})),
        )


def owner(share: str) -> str:
    """The owner of that share of all objects."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, share))


def fill(connection: Connection, model: str, vectors: Vectors, *, seed: int, show: Show) -> None:
    """As many objects as `vectors`, with documents of `model`, past all triggers.

    For a superuser, in a database of its own. An index of the model had better be made after it.
    """
    count = len(vectors)
    made = list(rows(count, seed))
    with connection.transaction():
        connection.execute("set local session_replication_role = replica")
        _make_buckets(connection)
        _copy(connection, "storage.objects", OBJECTS, (row.as_object() for row in made))
        documents = (
            row.as_document(model, binary(vector))
            for row, vector in zip(made, _told(vectors, show), strict=True)
        )
        _copy(connection, "neural_search.documents", DOCUMENTS, documents)
    connection.execute("vacuum (analyze) storage.objects")
    connection.execute("vacuum (analyze) neural_search.documents")
    show("storing vectors", count, count)


def rows(count: int, seed: int) -> Iterator[Row]:
    """The same for the same seed."""
    random = np.random.default_rng([seed, count])
    owners, buckets, albums = (_shares(count, random) for _ in range(3))
    sizes = random.lognormal(13, 1, count).astype(int)
    for number in range(count):
        who = owner(owners[number])
        yield Row(
            id=uuid.UUID(bytes=random.bytes(16), version=4),
            bucket=f"bucket {buckets[number]}",
            name=f"{who}/{number}.jpg",
            owner=who,
            album=albums[number],
            size=int(sizes[number]),
            uploaded=FIRST_UPLOAD + timedelta(minutes=number),
        )


def binary(vector: Vectors) -> bytes:
    """As pgvector receives it."""
    return len(vector).to_bytes(2, "big") + b"\0\0" + vector.astype(">f4").tobytes()


def _shares(count: int, random: np.random.Generator) -> list[str]:
    """Each object's owner: one of SHARES or one of the others."""
    names = [*SHARES, *(f"other {number}" for number in range(OTHERS))]
    rest = (1 - sum(SHARES.values())) / OTHERS
    return [names[one] for one in random.choice(len(names), count, p=[*SHARES.values(), *[rest] * OTHERS])]


def _make_buckets(connection: Connection) -> None:
    names = [f"bucket {share}" for share in (*SHARES, *(f"other {number}" for number in range(OTHERS)))]
    connection.execute(
        "insert into storage.buckets (id, name) select n, n from unnest(%s::text[]) as n", [names]
    )
    connection.execute(
        "insert into neural_search.buckets (bucket_id) select n from unnest(%s::text[]) as n", [names]
    )


def _copy(
    connection: Connection,
    table: str,
    columns: tuple[tuple[str, str], ...],
    values: Iterator[tuple[Any, ...]],
) -> None:
    names = ", ".join(name for name, _ in columns)
    with connection.cursor().copy(f"copy {table} ({names}) from stdin (format binary)".encode()) as copy:
        copy.set_types([kind for _, kind in columns])
        for row in values:
            copy.write_row(row)


def _told(vectors: Vectors, show: Show) -> Iterator[Vectors]:
    for number, vector in enumerate(vectors):
        if number % TELL_EVERY == 0:
            show("storing vectors", number, len(vectors))
        yield vector


def number_of(name: str) -> int:
    """Which of the rows has this name."""
    return int(name.rpartition("/")[2].removesuffix(".jpg"))
