"""A report as files in a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from evaluation import baseline
from evaluation.report import page
from evaluation.report.sheets import Thumbnails
from evaluation.run import Report
from shared.errors import SettingsError
from shared.images import Decode

PAGE, DATA, BASELINE = "report.html", "report.json", "baseline.json"


def write(report: Report, folder: Path, *, command: str, decode: Decode) -> Path:
    """report.html for people, report.json for programs, baseline.json for `--baseline`. Returns the page."""
    thumbnails = Thumbnails(report.items, report.data["seed"], decode)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / DATA).write_text(_json(report.data))
        (folder / BASELINE).write_text(_json(baseline.kept(report.data)))
        (folder / PAGE).write_text(page.render(report.data, thumbnails, command))
    except OSError as error:
        raise SettingsError(
            f"The report can't be written to {folder}: {error.strerror}. Name another folder with --output."
        ) from error
    return folder / PAGE


def _json(data: dict[str, Any]) -> str:
    """One line for each part of the report, so that two of them can be compared line by line."""
    lines = [f"{json.dumps(name)}: {_value(value)}" for name, value in data.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _value(value: Any) -> str:
    if isinstance(value, list):
        return "[\n" + ",\n".join(json.dumps(one, ensure_ascii=False) for one in value) + "\n]"
    if isinstance(value, dict):
        rows = (f"{json.dumps(name)}: {json.dumps(one, ensure_ascii=False)}" for name, one in value.items())
        return "{\n" + ",\n".join(rows) + "\n}"
    return json.dumps(value, ensure_ascii=False)
