"""The queue as its workers see it: one line per SQL function. Needs the service key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from shared.errors import ImageError
from shared.supabase.database import Database, foreign_answer

LEASE_SECONDS = 120  # longer than an image takes, Storage's slowest answer included


@dataclass(frozen=True, kw_only=True)
class Job:
    """One object to embed with one model, leased to us."""

    object_id: str
    model: str
    version: str  # of the bytes that are wanted
    bucket_id: str
    name: str
    size: int | None  # bytes, as Storage recorded them
    mime_type: str | None  # as the uploader declared it
    etag: str | None
    attempt: int
    waited_seconds: float  # since these bytes were queued, until it was claimed
    lease_id: str
    known_hashes: list[str] | None  # of documents whose files have this size; None: too many to tell


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The answer to a claim of one object: its jobs, or the status and reason why there are none."""

    jobs: tuple[Job, ...]
    bucket_id: str | None  # None where there is no such object
    name: str | None
    status: str  # claimed, unchanged, waiting, skipped, failed, gone or ignored
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """A job's vector, and the facts of its file as a document keeps them."""

    job: Job
    embedding: np.ndarray
    content_hash: str
    width: int
    height: int
    mime_type: str
    perceptual_hash: str  # 64 binary digits
    shown: float  # share of the rows that the file has
    decoder_version: int


def claim(database: Database, models: Sequence[str], limit: int, claim_id: str) -> list[Job]:
    """Up to `limit` jobs that are due, for models that this process can load.

    `claim_id` is a uuid of the caller's: the leases of a claim whose answer is lost can be given back.
    """
    rows = database.rows(
        "claim_embedding_jobs",
        loaded_models=list(models),
        max_jobs=limit,
        lease_seconds=LEASE_SECONDS,
        claim_id=claim_id,
    )
    return [_job(row) for row in rows]


def claim_object(database: Database, object_id: str, models: Sequence[str], claim_id: str) -> Claim:
    """The jobs of this object, made first where it has neither a job nor an up-to-date document."""
    rows = database.rows(
        "claim_object",
        target_object_id=object_id,
        loaded_models=list(models),
        lease_seconds=LEASE_SECONDS,
        claim_id=claim_id,
    )
    jobs = tuple(_job(row) for row in rows if row["status"] == "claimed")
    about = {field: rows[0][field] for field in ("bucket_id", "name", "status", "reason")}
    return Claim(jobs=jobs, **about)


def finish(database: Database, made: Embedded) -> str:
    """Stores the vector if the object still has the job's version: embedded, superseded or gone."""
    return _status("finish_embedding_job", database.call("finish_embedding_job", **_columns(made)))


def finish_all(database: Database, batch: Sequence[Embedded]) -> list[str]:
    """As `finish` for up to 64 in one round trip, a status for each.

    It may also be busy, while somebody else holds the image's rows, or refused: `finish` tells more of it.
    """
    rows = [_columns(made) for made in batch]
    statuses = database.call(
        "finish_embedding_jobs", **{PLURAL[name]: [row[name] for row in rows] for name in rows[0]}
    )
    if not isinstance(statuses, list) or len(statuses) != len(batch):
        raise foreign_answer("finish_embedding_jobs", f"{statuses!r:.100}, not {len(batch)} statuses")
    return [_status("finish_embedding_jobs", status) for status in statuses]


def reuse(database: Database, job: Job, content_hash: str, decoder_version: int) -> str:
    """As `finish`, with the vector that a document of the same bytes has, decoded alike; unknown where there
    is none."""
    answer = database.call(
        "reuse_embedding",
        object_id=job.object_id,
        model=job.model,
        object_version=job.version,
        content_hash=content_hash,
        decoder_version=decoder_version,
    )
    return _status("reuse_embedding", answer)


def fail(
    database: Database, job: Job, outcome: str, error: BaseException, decoder_version: int | None = None
) -> str:
    """Records why: `outcome` is skipped, failed, retry or doubtful. Returns the new status, or superseded.

    A doubtful failure may lie with the surroundings: a retry that isn't charged the first times.
    `decoder_version`: of the decoder that refused the bytes, if one did.
    """
    answer = database.call(
        "fail_embedding_job",
        object_id=job.object_id,
        model=job.model,
        lease_id=job.lease_id,
        outcome=outcome,
        error_class=type(error).__name__,
        error_message=_text(error),
        decoder_version=decoder_version,
    )
    return _status("fail_embedding_job", answer)


def release(
    database: Database, leases: Sequence[str], claims: Sequence[str], delay_seconds: int, error: BaseException
) -> int:
    """Gives leases back, and those of whole claims, without charging attempts: no image is at fault."""
    answer: int = database.call(
        "release_embedding_jobs",
        lease_ids=list(leases),
        claim_ids=list(claims),
        delay_seconds=delay_seconds,
        error_class=type(error).__name__,
        error_message=_text(error),
    )
    return answer


def _status(function: str, answer: Any) -> str:
    """A status; DatabaseUnavailable for anything else, which is a gateway's."""
    if not isinstance(answer, str) or not answer.isalpha():
        raise foreign_answer(function, f"{answer!r:.100}, not a status")
    return answer


def _columns(made: Embedded) -> dict[str, Any]:
    """The arguments of finish_embedding_job."""
    about = {field.name: getattr(made, field.name) for field in fields(Embedded) if field.name != "job"}
    job = {"object_id": made.job.object_id, "model": made.job.model, "object_version": made.job.version}
    return job | about | {"embedding": _vector(made.embedding)}


# Of each argument of finish_embedding_job the name of finish_embedding_jobs' array.
PLURAL = {
    "object_id": "object_ids",
    "model": "models",
    "object_version": "object_versions",
    "embedding": "embeddings",
    "content_hash": "content_hashes",
    "width": "widths",
    "height": "heights",
    "mime_type": "mime_types",
    "perceptual_hash": "perceptual_hashes",
    "shown": "shown",
    "decoder_version": "decoder_versions",
}


def _job(row: dict[str, Any]) -> Job:
    return Job(**{field.name: row[field.name] for field in fields(Job)})


def _vector(embedding: np.ndarray) -> str:
    """pgvector's own notation. A float32 has nine digits; JSON of floats takes twice as long."""
    return f"[{','.join(['%.9g'] * len(embedding))}]" % tuple(embedding.tolist())


def _text(error: BaseException) -> str:
    # Uploaders read an image's own faults. The words of all others are for the operator: see state_of in SQL.
    text = error.detail if isinstance(error, ImageError) else str(error)
    # Postgres has no NUL in text, and UTF-8 no half of a surrogate pair. With a cause that can't be recorded
    # an image would be tried for ever.
    return text.replace("\0", "").encode(errors="replace").decode()[:1000]
