"""The documentation's export from open_clip, run on random weights, gives open_clip's own vectors."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support import reference_packages

from cli.models import importing
from shared import embedding
from shared.settings import CHECKOUT, Settings

TEXTS = ["A Castle", "What is this (an apple, 100%)?", "naïve café", "solar panels ☀ 🏠", "rock " * 200]
TOWER = {"layers": 2, "width": 64}
TINY = {
    "embed_dim": 32,
    "vision_cfg": TOWER | {"image_size": 224, "patch_size": 32, "head_width": 16},
    "text_cfg": TOWER | {"context_length": 77, "vocab_size": 49408, "heads": 4},
}
CHANGES = {
    '"ViT-B-32", "laion2b_s34b_b79k", "MIT"': '"tiny", None, "MIT"',
    'Path("examples/': f'Path("{CHECKOUT}/examples/',
}
# Before and after the documentation's lines.
BEFORE = "import open_clip; open_clip.add_model_config('tiny.json'); torch.manual_seed(0)\n"
AFTER = """
with torch.inference_mode():
    vectors = model.encode_text(tokenize(json.loads(Path("texts.json").read_text()))).tolist()
Path("vectors.json").write_text(json.dumps(vectors))
"""


def documented() -> str:
    """The code, for a tiny model of random weights and a picture whose path doesn't depend on the folder."""
    found = re.search(r"```python\n(import json\n.*?)```", (CHECKOUT / "docs/models.md").read_text(), re.S)
    assert found
    code = found[1]
    for there, here in CHANGES.items():
        assert there in code
        code = code.replace(there, here)
    return code


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the documentation's code was run."""
    folder = tmp_path_factory.mktemp("open-clip")
    (folder / "tiny.json").write_text(json.dumps(TINY))
    (folder / "texts.json").write_text(json.dumps(TEXTS))
    reference_packages.run(BEFORE + documented() + AFTER, folder)
    return folder


def test_it_is_imported_and_agrees_with_its_reference(
    exported: Path, configuration: Settings, tmp_path: Path
) -> None:
    own = replace(configuration, embedding_cache=tmp_path)
    found = importing.imported(exported / "vit-b-32", own)
    assert found["has_reference"] and min(found["least_cosines"].values()) >= 0.9999
    assert (found["dimensions"], found["tokens"], found["licence"]) == (32, 77, "MIT")


def test_texts_get_open_clips_own_vectors(exported: Path, configuration: Settings, tmp_path: Path) -> None:
    own = replace(configuration, embedding_cache=tmp_path)
    embedder = embedding.load(str(exported / "vit-b-32"), configuration=own, precision="f32")
    theirs = np.array(json.loads((exported / "vectors.json").read_text()))
    cosines = np.einsum("nd,nd->n", embedder.embed_texts(TEXTS), theirs) / np.linalg.norm(theirs, axis=1)
    assert cosines.min() >= 0.9999
