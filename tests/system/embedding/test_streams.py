"""The CPU engine's streams: everybody gets their own vectors, and nobody waits for another for ever."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support import interpreter

from shared.embedding import Embedder
from shared.embedding.engines.in_flight import LASTS, InFlight

PIXELS = np.random.default_rng(0).integers(0, 256, (8, 224, 224, 3), dtype=np.uint8)

# Threads that all start at once and change places all the time, in a process that ends, with status 1 and
# everybody's stack, instead of hanging.
WATCHED = """
import faulthandler, sys, threading
faulthandler.dump_traceback_later(90, exit=True)
sys.setswitchinterval(1e-6)
def at_once(count, work):
    gate = threading.Barrier(count)
    threads = [threading.Thread(target=lambda i=i: (gate.wait(), work(i))) for i in range(count)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
"""
FIRST_TYPES = """
from shared.embedding.engines.openvino_runtime import ov
at_once(4, lambda _: ov.Type.u8.to_dtype())
print("done")
"""
FIRST_BATCHES = """
import numpy
from shared.embedding import load
engine, lengths = load().engine, []
def work(i):
    for size in range(1, 4):
        ids = numpy.full((size, 4), 2000)
        lengths.append(len(engine.images([numpy.zeros((size + i % 2, 224, 224, 3), numpy.uint8)])) - i % 2)
        lengths.append(len(engine.texts([ids, numpy.ones_like(ids)])))
at_once(8, work)
print(sorted(lengths) == sorted([1, 2, 3] * 16))
"""


def watched(code: str, environment: dict[str, str]) -> str:
    return interpreter.output(WATCHED + code, environment).strip()


def test_threads_that_ask_for_their_first_types_at_the_same_time_do_not_wait_for_each_other(
    child_environment: dict[str, str],
) -> None:
    assert watched(FIRST_TYPES, child_environment) == "done"


def test_callers_that_come_first_at_the_same_time_with_images_and_texts_are_all_answered(
    child_environment: dict[str, str],
) -> None:
    assert watched(FIRST_BATCHES, child_environment) == "True"


def test_callers_with_batches_of_any_size_get_their_own_vectors_in_order(served: Embedder) -> None:
    alone = np.concatenate([served.engine.images([PIXELS[i : i + 1]]) for i in range(8)])
    sizes = [1, 2, 3, 5, 8] * 6
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda size: served.engine.images([PIXELS[:size]]), sizes))
    assert [len(vectors) for vectors in found] == sizes
    for vectors in found:
        assert ((vectors * alone[: len(vectors)]).sum(axis=1) > 0.9999).all()


def test_an_input_that_the_streams_refuse_leaves_all_of_them_usable(served: Embedder) -> None:
    for count in (1, 4, 4, 4):
        with pytest.raises(RuntimeError):
            served.engine.images([np.zeros((count, 224, 224, 1), np.uint8)])
    assert served.engine.images([PIXELS]).shape == (8, 1408)
    assert served.engine.images([PIXELS[:1]]).shape == (1, 1408)


def test_a_lone_image_takes_all_cores_and_batches_and_company_a_share_each(
    served: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    tower: Any = served.engine._towers["image"]  # type: ignore[attr-defined]
    used: list[str] = []
    monkeypatch.setattr(tower, "_in_flight", InFlight())
    for name in ("_whole", "_shared"):
        monkeypatch.setattr(tower, name, SimpleNamespace(run=lambda _, name=name: used.append(name)))
    tower.run([PIXELS[:1]])
    tower.run([PIXELS[:2]])
    with tower._in_flight.entered():
        tower.run([PIXELS[:1]])
    assert used == ["_whole", "_shared", "_shared"]


def test_a_brief_text_takes_one_core_and_a_longer_one_all(
    served: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    tower: Any = served.engine._towers["text"]  # type: ignore[attr-defined]
    used: list[str] = []
    for name in ("_whole", "_brief"):
        streams = getattr(tower, name)
        monkeypatch.setattr(
            tower,
            name,
            SimpleNamespace(run=lambda inputs, run=streams.run, name=name: used.append(name) or run(inputs)),
        )
    brief = served.embed_texts(["a small dog"])
    assert used == ["_brief"]
    served.embed_texts(["a small dog in a large garden " * 10])
    assert used == ["_brief", "_whole"]
    monkeypatch.setattr(tower, "_brief", tower._whole)
    assert (brief * served.embed_texts(["a small dog"])).sum() > 0.9999


@pytest.fixture
def now() -> list[float]:
    return [100.0]


@pytest.fixture
def in_flight(now: list[float]) -> InFlight:
    return InFlight(clock=lambda: now[0])


def test_a_caller_is_alone_again_when_the_one_before_has_left(in_flight: InFlight) -> None:
    for _ in range(2):
        with in_flight.entered() as alone:
            assert alone


def test_callers_that_met_expect_each_other_for_a_while(in_flight: InFlight, now: list[float]) -> None:
    with in_flight.entered() as first, in_flight.entered() as second:
        assert (first, second) == (True, False)
    now[0] += LASTS / 2
    with in_flight.entered() as alone:
        assert not alone
    now[0] += LASTS
    with in_flight.entered() as alone:
        assert alone
