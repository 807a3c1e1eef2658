"""Whether this processor computes a model's vectors rightly in the precision that serves it.

An engine can answer quickly and wrongly: OpenVINO issue 38256 reports wrong bfloat16 products on a processor.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tokenizers import Tokenizer

from shared import logs
from shared.embedding import artifacts, preprocessing, tokens
from shared.embedding.artifacts import Artifact
from shared.embedding.compilation import core, native_precision
from shared.embedding.embedder import Engine
from shared.embedding.openvino_engine import OpenVinoEngine
from shared.embedding.runtime import ov

MEAN, LEAST = 0.99, 0.95  # cosines to float32's vectors that a precision must reach to be served
SECONDS = 2.0  # for the check where its answer can't be kept
PICTURES = Path(__file__).with_name("precision_pictures")  # public domain, from examples/images
TEXTS = (
    "a castle",
    "renewable energy",
    "solar panels on the roof of a house",
    "Zwei Fische in einem Aquarium",
)
FOLDER = "checks"  # within a conversion's

MakeEngine = Callable[[Artifact, str], Engine]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How far a precision's vectors are from float32's: cosines, over pictures and texts."""

    mean: float
    least: float

    @property
    def good(self) -> bool:
        return self.mean >= MEAN and self.least >= LEAST  # NaN isn't


def trusted_native(artifact: Artifact, tokenizer: Tokenizer | None) -> str:
    """The processor's fastest precision that computes this model rightly."""
    return trusted(artifact, native_precision(), tokenizer)


def compile_trusted(artifact: Artifact) -> None:
    """Compile the model in the precision that will serve it, for the next start to be fast."""
    OpenVinoEngine(artifact, trusted_native(artifact, artifacts.tokenizer(artifact))).compile()


def trusted(
    artifact: Artifact, precision: str, tokenizer: Tokenizer | None, make: MakeEngine = OpenVinoEngine
) -> str:
    """`precision`, or f32 where its vectors are wrong on this processor, which the log then says."""
    if precision == "f32":
        return precision
    verdict = _kept(artifact, precision) or _checked(artifact, precision, tokenizer, make)
    if verdict is None or verdict.good:
        return precision
    logs.write(
        f"{precision} gives wrong vectors on this processor, so float32 serves: expected a mean cosine of "
        f"{MEAN} and none below {LEAST}",
        severity="WARNING",
        model=artifact.record.model,
        mean_cosine=round(verdict.mean, 4),
        least_cosine=round(verdict.least, 4),
    )
    return "f32"


def pictures() -> list[Image.Image]:
    """A few photographs of unlike things."""
    return [Image.open(path).convert("RGB") for path in sorted(PICTURES.glob("*.jpg"))]


def compare(served: Engine, exact: Engine, artifact: Artifact, tokenizer: Tokenizer | None) -> Verdict:
    """Both engines' vectors of the same inputs."""
    cosines = np.concatenate(list(_cosines(served, exact, artifact, tokenizer)))
    return Verdict(mean=float(cosines.mean()), least=float(cosines.min()))


def _cosines(
    served: Engine, exact: Engine, artifact: Artifact, tokenizer: Tokenizer | None
) -> Iterator[NDArray[np.float64]]:
    images = preprocessing.batch(pictures(), artifact.record.image)
    yield _cosine(served.images(images), exact.images(images))
    if artifact.record.text and tokenizer:
        texts = tokens.batch(TEXTS, tokenizer, artifact.record.text)
        yield _cosine(served.texts(texts), exact.texts(texts))


def _cosine(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.float64]:
    a, b = one.astype(np.float64), other.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines: NDArray[np.float64] = np.einsum("nd,nd->n", a, b) / lengths
    return cosines


def _checked(
    artifact: Artifact, precision: str, tokenizer: Tokenizer | None, make: MakeEngine
) -> Verdict | None:
    """None where the answer can't be kept and the check took too long: it would delay each start."""

    def check() -> Verdict:
        return compare(make(artifact, precision), make(artifact, "f32"), artifact, tokenizer)

    if os.access(artifact.folder, os.W_OK):
        return _keep(artifact, precision, check())
    answer = _in_background(check)
    if wait([answer], SECONDS).done:
        return answer.result()
    logs.write(
        f"{precision} wasn't compared with float32 on this processor: it took more than {SECONDS:.0f} s, and "
        "the answer can't be kept. Let EMBEDDING_CACHE be writable once",
        severity="WARNING",
        model=artifact.record.model,
    )
    return None


def _in_background(check: Callable[[], Verdict]) -> Future[Verdict]:
    answer: Future[Verdict] = Future()

    def run() -> None:
        try:
            answer.set_result(check())
        except Exception as error:
            answer.set_exception(error)

    # A daemon, in no pool: the process ends without waiting for it.
    threading.Thread(target=run, name="precision check", daemon=True).start()
    return answer


def _kept(artifact: Artifact, precision: str) -> Verdict | None:
    try:
        return Verdict(**json.loads(_path(artifact, precision).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _keep(artifact: Artifact, precision: str, verdict: Verdict) -> Verdict:
    path = _path(artifact, precision)
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(asdict(verdict)))
    temporary.replace(path)
    return verdict


def _path(artifact: Artifact, precision: str) -> Path:
    """Another processor or runtime may compute otherwise."""
    machine = f"{core().get_property('CPU', 'FULL_DEVICE_NAME')} {ov.get_version()} {precision}"
    return artifact.folder / FOLDER / f"{hashlib.sha256(machine.encode()).hexdigest()[:16]}.json"
