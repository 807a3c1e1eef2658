"""Texts asked before: embedded once for each caller, and so many at most are kept."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest
from PIL import ImageColor

from shared import images
from shared.errors import Busy, ClientClosedRequest
from shared.images import DecodedImage
from shared.runtime import disconnect
from shared.runtime.limiter import ConcurrencyLimiter
from shared.runtime.metrics import Metrics
from shared.runtime.model_registry import ModelRegistry
from shared.search.index import ActiveModel
from shared.search.query_examples import Example
from shared.search.query_vectors import TEXTS, Embedding
from shared.search.text_vectors import TextVectors
from shared.settings import Secret
from shared.supabase import credentials
from shared.testing import ColourEmbedder, picture

COLOURS, OTHER = (ActiveModel(name=name, dimensions=4) for name in ("colours", "other"))
ANN, BEN = (
    credentials.caller({"Authorization": f"Bearer {token}"}, Secret("ours")) for token in ("ann", "ben")
)
RED = Example(kind="text", value="red", field="text", index=0)
LIME = Example(kind="text", value="lime", field="like", index=0)


@pytest.fixture
def embedded() -> list[str]:
    """The texts that models were given, each after its model's name."""
    return []


@pytest.fixture
def limiter() -> ConcurrencyLimiter:
    return ConcurrencyLimiter(running=1, waiting=0)


@pytest.fixture
def embedding(embedded: list[str], limiter: ConcurrencyLimiter) -> Embedding:
    class Telling(ColourEmbedder):
        def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
            embedded.extend(f"{self.name}: {text}" for text in texts)
            return super().embed_texts(texts)

    return Embedding(
        models=ModelRegistry(["colours", "other"], Telling),
        file_limiter=ConcurrencyLimiter(running=1, waiting=0),
        text_limiter=limiter,
        metrics=Metrics(),
        decode=partial(images.decode, max_bytes=10_000, max_pixels=10_000),
    )


def test_a_text_asked_again_waits_for_no_place_and_has_the_same_vector(
    embedding: Embedding, embedded: list[str], limiter: ConcurrencyLimiter
):
    first = embedding.embed(ANN, COLOURS, [RED])
    with limiter.enter():  # the only place is taken
        again = embedding.embed(ANN, COLOURS, [RED])
    assert embedded == ["colours: red"]
    assert np.array_equal(first[RED], again[RED])


def test_another_caller_or_model_finds_nothing_that_others_asked(embedding: Embedding, embedded: list[str]):
    for caller, model in ((ANN, COLOURS), (BEN, COLOURS), (ANN, OTHER)):
        embedding.embed(caller, model, [RED])
    assert embedded == ["colours: red", "colours: red", "other: red"]


def test_known_and_new_texts_and_files_of_one_query_get_their_own_vectors(
    embedding: Embedding, embedded: list[str]
):
    embedding.embed(ANN, COLOURS, [RED])
    twice = Example(kind="text", value="lime", field="unlike", index=0)
    file = Example(kind="image", value=picture("blue"), field="image", index=0)
    found = embedding.embed(ANN, COLOURS, [file, LIME, RED, twice])
    assert embedded == ["colours: red", "colours: lime"]
    model = ColourEmbedder()
    for example, colour in ((file, "blue"), (LIME, "lime"), (RED, "red"), (twice, "lime")):
        assert np.allclose(found[example], model.embed_texts([colour])[0], atol=0.01)


def test_no_decoded_picture_waits_for_the_others_of_its_query(limiter: ConcurrencyLimiter):
    """Eight of 60 megapixels, which a megabyte of PNG may have, would take 1.4 GB."""
    decoded: list[weakref.ref[DecodedImage]] = []

    def decode(data: bytes, *, min_side: int | None) -> DecodedImage:
        assert not any(one() for one in decoded)
        made = images.decode(data, max_bytes=10_000, max_pixels=10_000, min_side=min_side)
        decoded.append(weakref.ref(made))
        return made

    embedding = Embedding(
        models=ModelRegistry(["colours"], ColourEmbedder),
        file_limiter=limiter,
        text_limiter=limiter,
        metrics=Metrics(),
        decode=decode,
    )
    files = [
        Example(kind="image", value=picture(colour), field="image", index=index)
        for index, colour in enumerate(("red", "lime", "blue"))
    ]
    assert len(embedding.embed(ANN, COLOURS, files)) == 3


def test_texts_and_files_wait_for_places_of_their_own():
    full, free = (ConcurrencyLimiter(running=running, waiting=0) for running in (0, 1))
    file = Example(kind="image", value=picture("blue"), field="image", index=0)
    for example, file_limiter, text_limiter in ((file, free, full), (RED, full, free)):
        embedding = Embedding(
            models=ModelRegistry(["colours"], ColourEmbedder),
            file_limiter=file_limiter,
            text_limiter=text_limiter,
            metrics=Metrics(),
            decode=partial(images.decode, max_bytes=10_000, max_pixels=10_000),
        )
        assert example in embedding.embed(ANN, COLOURS, [example])
        with pytest.raises(Busy):
            embedding.embed(ANN, COLOURS, [file, LIME])


def test_no_more_texts_are_embedded_once_the_client_has_hung_up(embedding: Embedding, embedded: list[str]):
    colours = [*ImageColor.colormap][: 3 * TEXTS]
    texts = [Example(kind="text", value=colour, field="text", index=0) for colour in colours]
    with disconnect.ends_work(lambda: not embedded), pytest.raises(ClientClosedRequest):
        embedding.embed(ANN, COLOURS, texts)
    assert len(embedded) == TEXTS


def test_the_longest_unused_texts_make_room():
    vectors = TextVectors(most=2)
    for text in ("a", "b"):
        vectors.keep(b"ann", "m", {text: np.zeros(4)})
    vectors.find(b"ann", "m", ["a"])
    vectors.keep(b"ann", "m", {"c": np.zeros(4)})
    assert list(vectors.find(b"ann", "m", ["a", "b", "c"])) == ["a", "c"]


def test_a_kept_vector_keeps_no_other_alive():
    kept = TextVectors()
    kept.keep(ANN.digest, "colours", {"red": np.zeros((32, 4))[0]})
    assert kept.find(ANN.digest, "colours", ["red"])["red"].base is None
