"""The vectors that two models made of the same images, from the database."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from cli.installer.connection import Database
from shared.errors import CollectionError

Vectors = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """Images that both models have, by their names."""

    keys: tuple[str, ...]  # bucket/path, ascending
    labels: tuple[str | None, ...]  # the folder that it lies in; None: in none
    vectors: tuple[Vectors, Vectors]  # of each model (n, dimensions)
    of: int  # how many images both models have


def read(database: Database, models: tuple[str, str], most: int) -> Sample:
    """`most` images at most, always the same of the same; CollectionError where there are fewer than two."""
    values = dict(zip(("one", "other"), models, strict=True))
    both = """
        from neural_search.documents d join neural_search.documents e
          on e.object_id = d.object_id and e.object_version = d.object_version and e.model = %(other)s
        where d.model = %(one)s
    """
    ((of,),) = database.execute(f"select count(*) {both}", values)
    if of < 2:
        raise CollectionError(
            f"Both {models[0]!r} and {models[1]!r} have vectors of {of} images, expected at least 2. "
            "`neural-search models list` shows how far each is."
        )
    rows = database.cursor(binary=True).execute(
        f"""
        select d.bucket_id, d.content, d.embedding::real[], e.embedding::real[] {both}
        order by md5(d.object_id::text) limit %(most)s
        """,
        values | {"most": most},
    )
    ordered = sorted((f"{bucket}/{name}", one, other) for bucket, name, one, other in rows)
    return Sample(
        keys=tuple(key for key, *_ in ordered),
        labels=tuple(_folder(key) for key, *_ in ordered),
        vectors=(_unit([row[1] for row in ordered]), _unit([row[2] for row in ordered])),
        of=of,
    )


def _folder(key: str) -> str | None:
    parent = PurePosixPath(key).parent
    return str(parent) if len(parent.parts) > 1 else None


def _unit(rows: list[list[float]]) -> Vectors:
    vectors = np.array(rows, np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)
