"""`neural-search models import`: an exported model, checked and made ready to serve."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.console import output
from cli.console.output import AsJson
from shared import settings
from shared.settings import Settings

Row = dict[str, Any]


def import_model(
    folder: Annotated[
        Path, typer.Argument(help="With image.onnx, model.json and, for texts, text.onnx and tokenizer.json.")
    ],
    as_json: AsJson = False,
) -> None:
    """Check an exported model and make it ready to serve. Its name is the folder's path.

    Its towers must give finite vectors of the dimensions that model.json says, the same each time, alone and
    in a batch, and those of the reference in model.json. Where anything is wrong, nothing is kept.
    """
    found = imported(folder.resolve(), settings.load())
    if as_json:
        output.print_json(found)
    else:
        show(found)


def imported(folder: Path, target: Settings) -> Row:
    """The output of `models import --json`."""
    from shared.embedding import artifacts, catalogue, exported
    from shared.embedding.conversion import exported_checks, import_exported  # openvino
    from shared.images.sandbox import pool

    name, cache = str(folder), target.embedding_cache
    model = exported.open_folder(name)
    with closing(pool.start(target)) as decoders:
        cosines = exported_checks.check(model, decoders.decode, target.max_image_bytes)
    with artifacts.lock(name, cache):
        artifacts.sweep(name, cache)
        import_exported.write(model, cache)
    known = catalogue.look_up(name, cache)
    assert known.record, "it was just written"
    return {
        "name": name,
        "dimensions": known.record.dimensions,
        "size": known.record.image.size,
        "tokens": known.record.text and known.record.text.max_length,
        "licence": known.licence,
        "least_cosines": {what: round(cosine, 5) for what, cosine in cosines.items()},
        "has_reference": any("authors" in what for what in cosines),
    }


def show(found: Row) -> None:
    """The findings, and the next step."""
    texts = f"texts of {found['tokens']} tokens" if found["tokens"] else "no texts"
    height, width = found["size"]
    output.say(
        f"{found['dimensions']} dimensions, pictures of {width} x {height}, {texts}, {found['licence']}."
    )
    rows = [(what, f"{cosine:.5f}") for what, cosine in found["least_cosines"].items()]
    output.print_table(("compared", "least cosine"), rows)
    if not found["has_reference"]:
        output.say(
            "Whether pictures and texts are prepared as in training is unknown: model.json has no reference."
        )
    name = found["name"]
    output.say(
        f"\nEMBEDDING_MODELS={name} serves it; `neural-search models add {name}` adds it beside another."
    )
