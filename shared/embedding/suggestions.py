"""Models to choose from, by purpose: published figures, and how much was tried here.

docs/models.md shows the same rows, which a test compares.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Purpose(StrEnum):
    """The purpose of a model."""

    cpu = "On a CPU"
    gpu = "On a GPU"
    languages = "In many languages"
    images = "Images alone"


class Known(StrEnum):
    """How a row is known."""

    loaded = "loaded with real weights"
    tried = "tried: its family with random weights"
    read = "only read"


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """One model."""

    name: str  # as in EMBEDDING_MODELS, or open_clip's where it has to be exported
    purposes: tuple[Purpose, ...]
    dimensions: int
    languages: str
    licence: str
    commercial: bool | None  # whether the licence allows commercial use; None: read it
    retrieval: str  # published figures, with their source
    shape: str  # of the image tower, as in benchmarks/baselines/shapes.py
    known: Known
    exported: bool = False  # whether it has to be exported first

    @property
    def row(self) -> tuple[str, ...]:
        """As in the docs and in `models list --suggested`; see COLUMNS."""
        name = f"{self.name} (open_clip's, to be exported)" if self.exported else self.name
        milliseconds, times = COSTS[self.shape]
        cost = f"{milliseconds} ms, {times} x"
        about = (name, str(self.dimensions), self.languages, self.terms, self.retrieval)
        return (*about, self.shape, cost, self.known.value)

    @property
    def terms(self) -> str:
        """The licence, with a warning where it doesn't let everybody use the model."""
        if self.commercial:
            return self.licence
        return f"{self.licence}: {'read it first' if self.commercial is None else 'no commercial use'}"


COLUMNS = (
    "model",
    "dimensions",
    "languages",
    "licence",
    "published",
    "image tower",
    "an image here",
    "known",
)

IMMICH = "XM3600 English / German, mean of recall@1, 5, 10 (immich)"
CPU, GPU, LANGUAGES, IMAGES = Purpose
# Image tower -> milliseconds of processor time an image, and how many times the default model's in the same
# run: python -m benchmarks.baselines.shapes on an AMD EPYC with AVX512-BF16, in bfloat16 on one thread, with
# random weights, while others used its 2 cores as well.
COSTS = {
    "EfficientNet-Lite0, 224": (7, 1),
    "FastViT-MCi0, 256": (42, 6.7),
    "ViT-S/16, 224": (55, 9.2),
    "ViT-S/14, 224": (72, 11),
    "ViT-B/32, 224": (56, 9.2),
    "ViT-B/32, 256": (70, 11),
    "ViT-B/16, 224": (206, 33),
    "ViT-B/14, 224": (259, 42),
    "ViT-L/16, 256": (895, 142),
    "ViT-L/14, 336": (2116, 327),
    "ViT-H/14, 224": (1802, 279),
    "So400m/14, 384": (3648, 581),
}
SUGGESTIONS = (
    Suggestion(
        name="efficientnet-lite0-concepts",
        purposes=(CPU,),
        dimensions=1408,
        languages="English nouns",
        licence="Apache-2.0, text MIT",
        commercial=True,
        retrieval="see docs/evaluation.md",
        shape="EfficientNet-Lite0, 224",
        known=Known.loaded,
    ),
    Suggestion(
        name="efficientnet-lite0",
        purposes=(CPU,),
        dimensions=1280,
        languages="English nouns",
        licence="Apache-2.0, text MIT",
        commercial=True,
        retrieval="see docs/evaluation.md",
        shape="EfficientNet-Lite0, 224",
        known=Known.loaded,
    ),
    Suggestion(
        name="laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
        purposes=(CPU,),
        dimensions=512,
        languages="English",
        licence="MIT",
        commercial=True,
        retrieval=f"68.8 / 36.6 {IMMICH}; COCO recall@1 39.3 (open_clip)",
        shape="ViT-B/32, 224",
        known=Known.tried,
    ),
    Suggestion(
        name="google/siglip2-base-patch32-256",
        purposes=(CPU, LANGUAGES),
        dimensions=768,
        languages="109; Bengali fails",
        licence="Apache-2.0",
        commercial=True,
        retrieval=f"73.2 / 84.4 {IMMICH}; COCO recall@1 47.2 (big_vision)",
        shape="ViT-B/32, 256",
        known=Known.tried,
    ),
    Suggestion(
        name="google/siglip2-base-patch16-224",
        purposes=(CPU, GPU, LANGUAGES),
        dimensions=768,
        languages="109; Bengali fails",
        licence="Apache-2.0",
        commercial=True,
        retrieval=f"75.2 / 86.4 {IMMICH}; COCO recall@1 52.1 (big_vision)",
        shape="ViT-B/16, 224",
        known=Known.tried,
    ),
    Suggestion(
        name="MobileCLIP2-S0",
        purposes=(CPU,),
        dimensions=512,
        languages="English",
        licence="Apple's, for research",
        commercial=False,
        retrieval="none that we have read",
        shape="FastViT-MCi0, 256",
        known=Known.read,
        exported=True,
    ),
    Suggestion(
        name="google/siglip2-large-patch16-256",
        purposes=(GPU, LANGUAGES),
        dimensions=1024,
        languages="109; Bengali fails",
        licence="Apache-2.0",
        commercial=True,
        retrieval=f"74.3 / 88.8 {IMMICH}; COCO recall@1 54.7 (big_vision)",
        shape="ViT-L/16, 256",
        known=Known.tried,
    ),
    Suggestion(
        name="google/siglip2-so400m-patch14-384",
        purposes=(GPU, LANGUAGES),
        dimensions=1152,
        languages="109; Bengali fails",
        licence="Apache-2.0",
        commercial=True,
        retrieval=f"75.1 / 89.8 {IMMICH}; COCO recall@1 55.8 (big_vision)",
        shape="So400m/14, 384",
        known=Known.tried,
    ),
    Suggestion(
        name="PE-Core-L-14-336",
        purposes=(GPU,),
        dimensions=1024,
        languages="English",
        licence="Apache-2.0",
        commercial=True,
        retrieval="COCO recall@1 57.1 (its paper)",
        shape="ViT-L/14, 336",
        known=Known.read,
        exported=True,
    ),
    Suggestion(
        name="facebook/metaclip-2-worldwide-huge-quickgelu",
        purposes=(LANGUAGES,),
        dimensions=1024,
        languages="300 and more",
        licence="see its card; MetaCLIP 1's is CC-BY-NC-4.0",
        commercial=None,
        retrieval="none that we have read",
        shape="ViT-H/14, 224",
        known=Known.tried,
    ),
    Suggestion(
        name="xlm-roberta-base-ViT-B-32",
        purposes=(LANGUAGES,),
        dimensions=512,
        languages="100",
        licence="MIT",
        commercial=True,
        retrieval=f"68.3 / 81.6 {IMMICH}",
        shape="ViT-B/32, 224",
        known=Known.read,
        exported=True,
    ),
    Suggestion(
        name="nllb-clip-large",
        purposes=(LANGUAGES,),
        dimensions=1024,
        languages="201, Bengali too",
        licence="CC-BY-NC-4.0 (v1)",
        commercial=False,
        retrieval=f"72.4 / 88.6 {IMMICH}",
        shape="ViT-H/14, 224",
        known=Known.read,
        exported=True,
    ),
    Suggestion(
        name="OFA-Sys/chinese-clip-vit-base-patch16",
        purposes=(LANGUAGES,),
        dimensions=512,
        languages="Chinese",
        licence="see its card",
        commercial=None,
        retrieval="none that we have read",
        shape="ViT-B/16, 224",
        known=Known.tried,
    ),
    Suggestion(
        name="facebook/dinov2-small",
        purposes=(IMAGES,),
        dimensions=384,
        languages="no texts",
        licence="Apache-2.0",
        commercial=True,
        retrieval="Oxford medium / hard, mAP 67.2 / 41.9 (MIEB)",
        shape="ViT-S/14, 224",
        known=Known.tried,
    ),
    Suggestion(
        name="facebook/dinov2-base",
        purposes=(IMAGES,),
        dimensions=768,
        languages="no texts",
        licence="Apache-2.0",
        commercial=True,
        retrieval="Oxford medium / hard, mAP 69.5 / 45.0 (MIEB)",
        shape="ViT-B/14, 224",
        known=Known.tried,
    ),
    Suggestion(
        name="facebook/dinov3-vits16-pretrain-lvd1689m",
        purposes=(IMAGES,),
        dimensions=384,
        languages="no texts",
        licence="DINOv3 License",
        commercial=None,
        retrieval="none that we have read",
        shape="ViT-S/16, 224",
        known=Known.tried,
    ),
)


def of(purpose: Purpose) -> list[Suggestion]:
    """Those for a purpose, the cheapest first."""
    return sorted((one for one in SUGGESTIONS if purpose in one.purposes), key=lambda one: COSTS[one.shape])


def terms(name: str) -> str | None:
    """The licence of a model, with its warning, where it is one of these."""
    return next((one.terms for one in SUGGESTIONS if one.name == name), None)
