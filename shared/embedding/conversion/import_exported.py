"""`python -m shared.embedding.conversion.import_exported FOLDER`: make the files that serve an exported
model.
"""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

from shared import settings
from shared.embedding import artifacts, exported, openvino_precision
from shared.embedding.conversion import converter_process, exported_checks
from shared.embedding.engines.openvino_runtime import ov
from shared.embedding.exported import Exported
from shared.images.sandbox import pool


def import_folder(name: str, cache: Path) -> None:
    """Check the model and write it. With its lock alone."""
    model = exported.open_folder(name)
    mine = settings.load()
    with closing(pool.start(mine)) as decoders:
        exported_checks.check(model, decoders.decode, mine.max_image_bytes)
    write(model, cache)


def write(model: Exported, cache: Path) -> None:
    """A checked model's graphs, tokenizer and record, compiled for this processor. With its lock alone."""
    name = model.record.model
    with artifacts.written(name, cache) as folder:
        ov.save_model(model.image, folder / artifacts.IMAGE_GRAPH, compress_to_fp16=False)
        if model.text and model.tokenizer:
            ov.save_model(model.text, folder / "text.xml", compress_to_fp16=True)
            model.tokenizer.save(str(folder / artifacts.TOKENIZER))
        (folder / artifacts.RECORD).write_text(model.record.to_json(), "utf-8")
    openvino_precision.compile_trusted(name, cache)


if __name__ == "__main__":
    sys.exit(converter_process.main(import_folder))
