"""This machine's models, read without loading any: names, records and files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from shared.embedding import artifacts, registry, suggestions
from shared.embedding.model_config import ModelConfig
from shared.settings import Settings

CARD = "README.md"  # of a checkpoint, as the hub has it
FRONT_MATTER = re.compile(r"\A---\s*\n(.*?)^---\s*$", re.DOTALL | re.MULTILINE)
LICENCE = re.compile(r"^license:[ \t]*['\"]?([\w.+-]+)", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Known:
    """One model."""

    name: str
    record: ModelConfig | None  # None: it hasn't been converted on this machine
    size: int | None  # bytes on disk, of the conversion or else of the checkpoint's folder
    licence: str | None  # as its authors name it; None: they don't say here


def known(configuration: Settings) -> list[Known]:
    """The packaged models, those of EMBEDDING_MODELS, and others that this machine has converted."""
    cache = configuration.embedding_cache
    names = dict.fromkeys([*registry.PACKAGED, *configuration.embedding_models, *artifacts.converted(cache)])
    return [look_up(name, cache) for name in names]


def look_up(name: str, cache: Path) -> Known:
    """The facts known of the model `name`, whether or not there is such a model."""
    artifact = artifacts.find(name, cache)
    folder = artifact.folder if artifact else Path(name) if Path(name).is_dir() else None
    return Known(
        name=name,
        record=artifact.record if artifact else None,
        size=_size(folder) if folder else None,
        licence=(artifact and artifact.record.licence) or _licence(name) or suggestions.terms(name),
    )


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _licence(name: str) -> str | None:
    if packaged := registry.PACKAGED.get(name):
        return packaged.licence
    card = Path(name) / CARD
    if not card.is_file():
        return None
    front = FRONT_MATTER.match(card.read_text("utf-8", errors="replace"))
    found = LICENCE.search(front[1]) if front else None
    return found[1] if found else None
