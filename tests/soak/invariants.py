"""Whether anything is lost, left behind or wrong: Storage's rows and bytes against the documents.

It reads `storage.objects`, the bytes through Storage's HTTP API and the documents, and knows nothing of
the queue. Only of an object without a document it asks the jobs, as an operator would.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import Any

import numpy as np
import psycopg
from PIL import Image
from psycopg.rows import dict_row

LOST, GHOST, WRONG = "lost", "ghost", "wrong"
LEAST_COSINE = 0.99
READERS = 8  # downloads at once
# Explanations that say something about the bytes, and are false where those bytes are a sound image.
BLAME_THE_BYTES = frozenset(
    {"ImageError", "EmptyImage", "NotAnImage", "BrokenImage", "ImageTooLarge", "TooManyPixels"}
)

Row = dict[str, Any]
Explanation = tuple[str, str]  # its class and message
Explanations = Mapping[tuple[str, str], Explanation]  # (object id, model) -> why it will have no document
Read = Callable[[str, str], bytes | None]  # bucket, name -> the bytes; None where Storage has none
Embed = Callable[[Sequence[bytes]], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Violation:
    """One promise that isn't kept."""

    kind: str  # lost, ghost or wrong
    object_id: str
    place: str  # bucket/name
    model: str
    expected: str
    found: str

    def __str__(self) -> str:
        return (
            f"{self.kind.upper()} {self.place} (object {self.object_id}, model {self.model}): "
            f"expected {self.expected}; found {self.found}"
        )


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The checked objects, and their violations."""

    objects: int  # live ones in indexed buckets
    documents: int
    vectors: int  # compared with a fresh embedding
    explained: Counter[str]  # objects without a document, by the class of their explanation
    given_up: tuple[str, ...]  # sound images among them, each with its explanation
    violations: tuple[Violation, ...]

    def count(self, kind: str) -> int:
        return sum(violation.kind == kind for violation in self.violations)


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Objects and documents at one moment."""

    objects: Mapping[str, Row]  # live ones in indexed buckets, by id
    documents: Sequence[Row]
    models: Sequence[str]  # that every image is to be searchable with

    @cached_property
    def missing(self) -> list[tuple[Row, str]]:
        """The objects without a document, with the model that they lack."""
        have = {(row["object_id"], row["model"]) for row in self.documents}
        return [
            (row, model)
            for row in self.objects.values()
            for model in self.models
            if (row["id"], model) not in have
        ]


def check(
    database: psycopg.Connection[Any],
    read: Read,
    explain: Callable[[], Explanations],
    embed: Embed | None = None,
    *,
    sample: int = 200,
    seed: int = 0,
) -> Verdict:
    """Judge the present state, while nothing changes it. `sample` documents are embedded again."""
    now = snapshot(database)
    explanations = explain() if now.missing else {}
    with ThreadPoolExecutor(READERS) as pool:
        bodies = pool.map(lambda row: read(row["bucket_id"], row["name"]), now.objects.values())
        stored = dict(zip(now.objects, bodies, strict=True))
    found = [*_ghosts(now), *_lost(now, stored, explanations), *_wrong(now, stored)]
    accused = {violation.object_id for violation in found}
    rest = [row for row in now.documents if row["object_id"] not in accused]
    chosen = random.Random(seed).sample(rest, min(sample, len(rest))) if embed else []
    found += _wrong_vectors(chosen, stored, embed) if embed else []
    said = [
        (row, explanations[row["id"], model])
        for row, model in now.missing
        if (row["id"], model) in explanations
    ]
    return Verdict(
        objects=len(now.objects),
        documents=len(now.documents),
        vectors=len(chosen),
        explained=Counter(kind for _, (kind, _) in said),
        given_up=tuple(
            f"{_place(row)}: {kind}: {message}"
            for row, (kind, message) in said
            if _is_sound(stored[row["id"]])
        ),
        violations=tuple(found),
    )


def unsettled(database: psycopg.Connection[Any], explain: Callable[[], Explanations]) -> int:
    """How many objects have neither document nor explanation right now: a quick look, without the bytes."""
    explanations: Explanations | None = None
    missing = snapshot(database).missing
    if missing:
        explanations = explain()
    return sum((row["id"], model) not in (explanations or {}) for row, model in missing)


def snapshot(database: psycopg.Connection[Any]) -> Snapshot:
    with database.transaction(), database.cursor(row_factory=dict_row) as cursor:
        cursor.execute("set transaction isolation level repeatable read, read only")
        objects = cursor.execute(
            "select o.id::text, o.bucket_id, o.name, coalesce(o.version, '') as version "
            "from storage.objects as o where o.archived_at is null and not o.is_delete_marker "
            "and o.bucket_id in (select b.bucket_id from neural_search.buckets as b) order by o.id"
        ).fetchall()
        documents = cursor.execute(
            "select d.object_id::text, d.model, d.bucket_id, d.content, d.object_version, d.content_hash, "
            "d.embedding::text from neural_search.documents as d order by d.id"
        ).fetchall()
        models = cursor.execute(
            "select m.name from neural_search.models as m where m.state in ('active', 'standby') order by 1"
        ).fetchall()
    return Snapshot(
        objects={row["id"]: row for row in objects},
        documents=documents,
        models=[row["name"] for row in models],
    )


def _ghosts(now: Snapshot) -> Iterator[Violation]:
    for row in now.documents:
        if row["object_id"] not in now.objects:
            yield _about_document(GHOST, row, "no document, as there is no such live object", "a document")
    for (object_id, model), copies in Counter(
        (row["object_id"], row["model"]) for row in now.documents
    ).items():
        if copies > 1:
            row = next(row for row in now.documents if (row["object_id"], row["model"]) == (object_id, model))
            yield _about_document(GHOST, row, "one document", f"{copies} documents")


def _lost(
    now: Snapshot, stored: Mapping[str, bytes | None], explanations: Explanations
) -> Iterator[Violation]:
    for row, model in now.missing:
        kind, message = explanations.get((row["id"], model), ("", ""))
        data = stored[row["id"]]
        if data is None:
            yield _about_object(row, model, "its bytes in Storage", "none")
        elif not kind:
            yield _about_object(row, model, "a document, or a terminal reason", "neither")
        elif kind in BLAME_THE_BYTES and _is_sound(data):
            yield _about_object(row, model, "a document, as the image is sound", f"{kind}: {message}")


def _wrong(now: Snapshot, stored: Mapping[str, bytes | None]) -> Iterator[Violation]:
    for row in now.documents:
        present = now.objects.get(row["object_id"])
        if present is None:
            continue
        told = {"bucket": row["bucket_id"], "name": row["content"], "version": row["object_version"]}
        true = {"bucket": present["bucket_id"], "name": present["name"], "version": present["version"]}
        data = stored[row["object_id"]]
        told["sha256"] = row["content_hash"]
        true["sha256"] = (
            "that of bytes which Storage hasn't" if data is None else hashlib.sha256(data).hexdigest()
        )
        if wrong := [key for key in told if told[key] != true[key]]:
            expected, found = ({key: side[key] for key in wrong} for side in (true, told))
            yield _about_document(WRONG, row, str(expected), str(found))


def _wrong_vectors(
    rows: Sequence[Row], stored: Mapping[str, bytes | None], embed: Embed
) -> Iterator[Violation]:
    pictures = [stored[row["object_id"]] or b"" for row in rows]
    for start in range(0, len(rows), 32):
        part = rows[start : start + 32]
        fresh = embed(pictures[start : start + 32])
        kept = np.array([json.loads(row["embedding"]) for row in part], dtype=np.float32)
        cosines = np.sum(fresh * kept, axis=1) / np.linalg.norm(fresh, axis=1) / np.linalg.norm(kept, axis=1)
        for row, cosine in zip(part, cosines, strict=True):
            if not cosine >= LEAST_COSINE:  # NaN is wrong too
                yield _about_document(
                    WRONG, row, f"the vector of these bytes (cosine ≥ {LEAST_COSINE})", f"cosine {cosine:.4f}"
                )


def _about_object(row: Row, model: str, expected: str, found: str) -> Violation:
    place = _place(row)
    return Violation(kind=LOST, object_id=row["id"], place=place, model=model, expected=expected, found=found)


def _about_document(kind: str, row: Row, expected: str, found: str) -> Violation:
    place = f"{row['bucket_id']}/{row['content']}"
    return Violation(
        kind=kind, object_id=row["object_id"], place=place, model=row["model"], expected=expected, found=found
    )


def _place(row: Row) -> str:
    return f"{row['bucket_id']}/{row['name']}"


def _is_sound(data: bytes | None) -> bool:
    """Whether Pillow itself, told to tolerate nothing, reads all of it."""
    try:
        with Image.open(BytesIO(data or b"")) as image:
            image.load()
    except Exception:  # a hostile file makes Pillow raise anything
        return False
    return True


def terminal(rows: Iterable[Row]) -> dict[tuple[str, str], Explanation]:
    """The answer of `list_embedding_jobs` as explanations: the skipped and the failed ones."""
    return {
        (str(row["object_id"]), row["model"]): (row["error_class"] or "", row["error_message"] or "")
        for row in rows
        if row["state"] in ("skipped", "failed")
    }
