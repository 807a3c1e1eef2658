"""Converted models on disk: `<cache>/<model>/<fingerprint>/`, whole and unchanged, or not used at all."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from shared.embedding import registry
from shared.embedding.model_config import ModelConfig
from shared.errors import ModelBroken, SettingsError

RECORD = "record.json"
DIGESTS = "digests.json"
TOKENIZER = "tokenizer.json"
STAGING, REPLACED = ".new-", ".old-"
QUANTISED = "int8"  # folder within a conversion's: its image side in 8 bits
IMAGE_GRAPH = "image.xml"


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """One converted model."""

    folder: Path
    record: ModelConfig


def find(name: str, cache: Path) -> Artifact | None:
    """The intact conversion of `name` as it is now.

    Where the original isn't here, as in a container made for serving, the newest conversion counts.
    """
    root = cache / registry.slug(name)
    fingerprint = registry.fingerprint(name)
    return next(_intact([root / fingerprint] if fingerprint else _newest_first(root)), None)


def former(artifact: Artifact) -> list[Artifact]:
    """Earlier intact conversions of the same model that are still on this machine."""
    folders = _newest_first(artifact.folder.parent)
    return [*_intact(folder for folder in folders if folder != artifact.folder)]


def converted(cache: Path) -> list[str]:
    """The names of the models that have an intact conversion."""
    records = [_intact_record(path.parent) for path in sorted(cache.glob(f"*/*/{RECORD}"))]
    return sorted({record.model for record in records if record})


def tokenizer(artifact: Artifact) -> Tokenizer | None:
    """Its text side's; None where it has none."""
    return Tokenizer.from_file(str(artifact.folder / TOKENIZER)) if artifact.record.text else None


def written(name: str, cache: Path) -> AbstractContextManager[Path]:
    """A folder to write a conversion into. ModelBroken where its original is gone."""
    fingerprint = registry.fingerprint(name)
    if not fingerprint:
        raise ModelBroken(f"The files of {name!r} went away while it was being converted. Put them back.")
    return _staged(cache / registry.slug(name) / fingerprint)


def quantised(artifact: Artifact) -> Path | None:
    """The graph of its image side in 8 bits, where that is there and intact."""
    graph = artifact.folder / QUANTISED / IMAGE_GRAPH
    return graph if graph.is_file() and not altered(graph.parent) else None


def need_quantised(artifact: Artifact) -> Path:
    """As `quantised`; SettingsError where there is none."""
    if graph := quantised(artifact):
        return graph
    model = artifact.record.model
    raise SettingsError(
        f"EMBEDDING_PRECISION is int8, and the model {model!r} has no intact image side in 8 bits in "
        f"{str(artifact.folder)!r}. Make one with `neural-search models quantise {model}`, or set "
        "EMBEDDING_PRECISION=auto."
    )


def add_quantised(artifact: Artifact, graph: Path) -> None:
    """Keep a copy of `graph` and its weights, which lie beside it, as the image side in 8 bits."""
    with _staged(artifact.folder / QUANTISED) as folder:
        for suffix in (".xml", ".bin"):
            shutil.copy(graph.with_suffix(suffix), (folder / IMAGE_GRAPH).with_suffix(suffix))


def remove_quantised(artifact: Artifact) -> None:
    """Keep none, where one was kept before."""
    _discard(artifact.folder / QUANTISED)


@contextmanager
def _staged(target: Path) -> Iterator[Path]:
    """A folder that gets the name `target` and its digests when all of it is written."""
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=target.parent, prefix=STAGING))
    try:
        yield staging
        seal(staging)
        _discard(target)
        staging.chmod(0o755)  # mkdtemp's 0700 would lock out a function that runs as another user
        staging.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process at a time writes here: two would do the same work in twice the memory. Makes the folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise SettingsError(
            f"{str(folder)!r} can't be written: {error.strerror}. Set EMBEDDING_CACHE to one that can be."
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def lock(name: str, cache: Path) -> AbstractContextManager[None]:
    """Only one process at a time converts this model."""
    return locked(cache / registry.slug(name))


def sweep(name: str, cache: Path) -> None:
    """Remove the remains of killed conversions. Only with the lock: they might be another's work."""
    folder = cache / registry.slug(name)
    for kind in (STAGING, REPLACED):
        for leftover in (*folder.glob(f"{kind}*"), *folder.glob(f"*/{kind}*")):
            shutil.rmtree(leftover, ignore_errors=True)


def seal(folder: Path) -> None:
    """Write down the digests of the folder's files: after a crash or a full disk they won't match."""
    digests = {path.name: _digest(path) for path in _files(folder)}
    temporary = folder / f".{DIGESTS}"
    temporary.write_text(json.dumps(digests, indent=2))
    temporary.replace(folder / DIGESTS)


def altered(folder: Path) -> set[str]:
    """The files of a sealed folder that are missing, changed, or not sealed."""
    try:
        digests = json.loads((folder / DIGESTS).read_text())
    except (OSError, ValueError):
        digests = {}
    found = {path.name: _digest(path) for path in _files(folder)}
    return {name for name in digests.keys() | found.keys() if digests.get(name) != found.get(name)}


def _intact(folders: Iterable[Path]) -> Iterator[Artifact]:
    for folder in folders:
        if record := _intact_record(folder):
            yield Artifact(folder=folder, record=record)


def _intact_record(folder: Path) -> ModelConfig | None:
    try:
        record = ModelConfig.from_json((folder / RECORD).read_text())
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return None if altered(folder) else record


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.glob("[!.]*") if path.is_file() and path.name != DIGESTS]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _newest_first(root: Path) -> list[Path]:
    folders = [path.parent for path in root.glob(f"[!.]*/{RECORD}")]
    return sorted(folders, key=lambda folder: folder.stat().st_mtime, reverse=True)


def _discard(folder: Path) -> None:
    if folder.exists():
        trash = folder.with_name(f"{REPLACED}{folder.name}-{os.getpid()}")
        folder.rename(trash)
        shutil.rmtree(trash)
