"""The models of a process: loaded once, and checked by a canary that is honest."""

from __future__ import annotations

import gc
import threading
import traceback
import weakref
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import pytest
from support.waiting import PATIENCE, eventually

from shared.errors import ModelBroken, ModelNotLoaded, ModelUnresponsive, NeuralSearchError
from shared.runtime import self_test
from shared.runtime.model_registry import ModelRegistry
from shared.testing import ColourEmbedder


def test_many_threads_load_a_model_once():
    loads = []
    models = ModelRegistry(["colours"], lambda name: loads.append(name) or ColourEmbedder(name))  # type: ignore[func-returns-value]
    threads = [threading.Thread(target=models.get, args=("colours",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loads == ["colours"] == models.loaded()


def test_a_model_that_the_settings_do_not_name_is_refused_with_the_remedy():
    models = ModelRegistry(["colours"], ColourEmbedder)
    with pytest.raises(ModelNotLoaded, match="'shapes' isn't loaded here, only colours"):
        models.get("shapes")
    assert models.loaded() == []


def test_the_canary_loads_the_models_and_is_remembered_for_a_moment():
    class Counting(ColourEmbedder):
        calls = 0

        def embed_images(self, images):  # type: ignore[no-untyped-def]
            Counting.calls += 1
            return super().embed_images(images)

    models = ModelRegistry(["colours"], Counting)
    for _ in range(3):
        models.self_test("colours")
    assert (models.loaded(), Counting.calls) == (["colours"], 1)


def test_a_model_is_proven_once_and_again_after_it_was_found_broken():
    class Moody(ColourEmbedder):
        calls, broken = 0, False

        def embed_images(self, images):  # type: ignore[no-untyped-def]
            Moody.calls += 1
            if Moody.broken:
                raise RuntimeError("the GPU is gone")
            return super().embed_images(images)

    models = ModelRegistry(["colours"], Moody)
    for _ in range(3):
        models.proven("colours")
    assert Moody.calls == 1
    models.self_test("colours")
    Moody.broken = True
    models.self_test("colours")  # the last answer still holds
    with pytest.raises(ModelBroken):
        models.self_test("colours", anew=True)
    with pytest.raises(ModelBroken):
        models.proven("colours")
    Moody.broken = False
    assert models.proven("colours").name == "colours"


@pytest.mark.parametrize("answer", [np.full((1, 4), np.nan), np.zeros((1, 4)), np.ones((1, 3)) / 3**0.5])
def test_a_model_that_answers_nonsense_is_broken(answer: np.ndarray):
    class Broken(ColourEmbedder):
        def embed_images(self, images):  # type: ignore[no-untyped-def]
            return answer

    models = ModelRegistry(["colours"], Broken)
    for _ in range(2):  # a failure isn't remembered
        with pytest.raises(ModelBroken, match="Expected"):
            models.self_test("colours")


def test_a_model_that_can_embed_nothing_any_more_is_broken():
    class Gone(ColourEmbedder):
        def embed_images(self, images):  # type: ignore[no-untyped-def]
            raise RuntimeError("the GPU is gone")

    with pytest.raises(ModelBroken, match=r"test picture: RuntimeError: the GPU is gone\. Restart"):
        ModelRegistry(["colours"], Gone).self_test("colours")


def test_a_model_that_hangs_is_told_after_a_while_and_then_at_once_by_one_thread():
    release, calls = threading.Event(), []

    class Hanging(ColourEmbedder):
        def embed_images(self, images):  # type: ignore[no-untyped-def]
            calls.append(threading.current_thread())
            release.wait(PATIENCE)
            return super().embed_images(images)

    models = ModelRegistry(["colours"], Hanging, patience=0.05)
    for _ in range(20):
        with pytest.raises(ModelUnresponsive, match="restart"):
            models.self_test("colours")
    assert len(calls) == 1
    release.set()
    calls[0].join()
    models.self_test("colours")  # it came round, and its answer counts
    assert len(calls) == 1


class Choosy:
    """Loads one model and refuses the others."""

    def __init__(self, good: str = "colours"):
        self.good, self.asked = good, list[str]()

    def __call__(self, name: str) -> ColourEmbedder:
        self.asked.append(name)
        if name != self.good:
            raise ModelBroken(f"{name} is cut off.")
        return ColourEmbedder(name)


@pytest.mark.parametrize("names", [["standby", "colours"], ["colours", "standby"]])
def test_a_model_that_cant_be_loaded_beside_one_that_serves_ends_no_process(names: list[str]):
    load = Choosy()
    models = ModelRegistry(names, load)
    for _ in range(3):
        models.check_live()
    assert list(models.failures()) == ["standby"]
    assert load.asked.count("standby") == 1  # not loaded in vain again and again
    with pytest.raises(ModelBroken, match="standby is cut off"):
        models.self_test("standby")


def test_a_process_without_any_model_that_can_be_loaded_is_not_live():
    with pytest.raises(ModelBroken, match="colours is cut off"):
        ModelRegistry(["colours", "standby"], Choosy(good="none")).check_live()


def refuses(name: str) -> ColourEmbedder:
    raise ModelBroken(f"{name} is cut off.") from OSError("no such file")


def fails(name: str) -> ColourEmbedder:
    raise LookupError(name)


def length(error: BaseException) -> int:
    """The lines that the log would get."""
    return len(traceback.format_exception(error))


@pytest.mark.parametrize("ask", [ModelRegistry.check_live, lambda models: models.self_test("colours")])
@pytest.mark.parametrize("load", [refuses, fails])
def test_a_failure_that_holds_is_told_the_hundredth_time_as_the_first(
    ask: Callable[[ModelRegistry], None], load: Callable[[str], ColourEmbedder]
):
    models, lengths = ModelRegistry(["colours"], load), []
    for _ in range(100):
        with pytest.raises(NeuralSearchError) as told:
            ask(models)
        assert isinstance(told.value.__cause__, OSError if load is refuses else LookupError)
        lengths.append(length(told.value))
    assert len(set(lengths)) == 1


def test_a_failure_that_holds_keeps_nothing_of_those_who_asked():
    class Request:
        """As a caller has it in hand."""

    def ask() -> weakref.ref[Request]:
        mine = Request()
        with suppress(ModelBroken):
            models.check_live()
        return weakref.ref(mine)

    models = ModelRegistry(["colours"], refuses)
    gc.disable()
    try:
        assert ask()() is None
    finally:
        gc.enable()


def test_a_process_whose_model_does_not_embed_any_more_is_not_live(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(self_test, "HOLD_SECONDS", 0.0)
    models = ModelRegistry(["colours", "standby"], ColourEmbedder)
    models.check_live()
    standby = models.get("standby")
    monkeypatch.setattr(standby, "embed_images", lambda images: np.zeros((1, 4)))
    with pytest.raises(ModelBroken, match="Expected"):
        models.check_live()


def test_what_could_not_be_loaded_is_tried_again_in_the_background(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(self_test, "RETRY_SECONDS", 0.0)
    load = Choosy()
    models = ModelRegistry(["colours", "standby"], load)
    assert list(models.failures()) == ["standby"]
    load.good = "standby"
    eventually(lambda: not models.failures())
    assert models.loaded() == ["colours", "standby"]


def test_a_search_does_not_wait_while_another_model_is_loading():
    release = threading.Event()

    def load(name: str) -> ColourEmbedder:
        if name == "standby":
            release.wait(PATIENCE)
        return ColourEmbedder(name)

    models = ModelRegistry(["colours", "standby"], load, patience=0.05)
    models.get("colours")
    with pytest.raises(ModelUnresponsive):  # the process has only begun
        models.check_live()
    assert models.get("colours").name == "colours"
    release.set()
    assert models.get("standby").name == "standby"
