"""The precision that OpenVINO serves a model in on this processor, checked once and kept in the cache.

OpenVINO can answer quickly and wrongly: its issue 38256 reports wrong bfloat16 products on a processor.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import asdict
from pathlib import Path

from tokenizers import Tokenizer

from shared.embedding import artifacts
from shared.embedding.artifacts import Artifact
from shared.embedding.embedder import Engine
from shared.embedding.engines.openvino_compilation import core, native_precision
from shared.embedding.engines.openvino_engine import OpenVinoEngine
from shared.embedding.engines.openvino_runtime import ov
from shared.embedding.precision_check import Verdict, accepted, compare
from shared.runtime import logs

SECONDS = 2.0  # for the check where its answer can't be kept
FOLDER = "checks"  # within a conversion's

MakeEngine = Callable[[Artifact, str], Engine]


def trusted_native(artifact: Artifact, tokenizer: Tokenizer | None) -> str:
    """The processor's fastest precision that computes this model rightly."""
    return trusted(artifact, native_precision(), tokenizer)


def compile_trusted(name: str, cache: Path) -> None:
    """Compile a model just converted, in the precision that will serve it, for the next start to be fast."""
    artifact = artifacts.find(name, cache)
    assert artifact, "a conversion that was just written must be there"
    OpenVinoEngine(artifact, trusted_native(artifact, artifacts.tokenizer(artifact))).compile()


def trusted(
    artifact: Artifact, precision: str, tokenizer: Tokenizer | None, make: MakeEngine = OpenVinoEngine
) -> str:
    """`precision`, or f32 where its vectors are wrong on this processor, which the log then says."""
    if precision == "f32":
        return precision
    verdict = _kept(artifact, precision) or _checked(artifact, precision, tokenizer, make)
    right = verdict is None or accepted(verdict, precision, artifact.record.model)
    return precision if right else "f32"


def _checked(
    artifact: Artifact, precision: str, tokenizer: Tokenizer | None, make: MakeEngine
) -> Verdict | None:
    """None where the answer can't be kept and the check took too long: it would delay each start."""

    def check() -> Verdict:
        return compare(make(artifact, precision), make(artifact, "f32"), artifact.record, tokenizer)

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
