"""Methods by name."""

from __future__ import annotations

from collections.abc import Sequence

from evaluation.methods import SIDE, Method
from evaluation.methods.chance import Chance
from evaluation.methods.embedding import Embedding
from evaluation.methods.hashes import HASHES, PerceptualHash
from evaluation.methods.histogram import ColourHistogram
from evaluation.methods.local_features import OrbReranking
from shared import embedding, settings
from shared.errors import CollectionError
from shared.settings import Settings

OTHERS = (*HASHES, ColourHistogram.name, "orb", Chance.name)


def load(
    names: Sequence[str] | None = None, *, seed: int = 0, configuration: Settings | None = None
) -> list[Method]:
    """The methods of these names, by default every model of EMBEDDING_MODELS and all the others.

    `orb` brings the answers of the first embedding model, else of phash, into an order of its own.
    """
    configuration = configuration or settings.load()
    every = [*configuration.embedding_models, *OTHERS]
    unknown = [name for name in names or () if name not in every]
    if unknown:
        raise CollectionError(
            f"There is no method {unknown[0]!r}. Expected any of: {', '.join(every)}.", value=unknown[0]
        )
    chosen = [name for name in every if names is None or name in names]
    models = [
        Embedding(embedding.load(name, configuration=configuration)) for name in chosen if name not in OTHERS
    ]
    methods: list[Method] = [*models, *(_other(name, seed, models) for name in chosen if name in OTHERS)]
    present = {method.name for method in methods}
    bases = [m.base for m in methods if isinstance(m, OrbReranking) and m.base.name not in present]
    return [*bases, *methods]


def _other(name: str, seed: int, models: Sequence[Method]) -> Method:
    if name in HASHES:
        return PerceptualHash(name)
    if name == "orb":
        return OrbReranking(models[0] if models else PerceptualHash("phash"))
    return ColourHistogram() if name == ColourHistogram.name else Chance(SIDE, seed)
