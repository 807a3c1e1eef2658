"""A report as files in a folder."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evaluation import baseline
from evaluation.report import page
from evaluation.report.sheets import Thumbnails
from evaluation.run import Report
from shared.errors import SettingsError
from shared.images import Decode
from shared.runtime import whole_files

PAGE, DATA, BASELINE = "report.html", "report.json", "baseline.json"


def prepare(folder: Path) -> None:
    """Makes the folder, its user's alone: a report shows pictures that others may not see.

    SettingsError, before the work that the report takes, where nothing can be written there or a file of
    something else would be overwritten.
    """
    with _writable(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        others = _others(folder)
    if others:
        raise SettingsError(
            f"{others[0]} is no report of `evaluate`. Move it, or name another folder with --output."
        )


def _others(folder: Path) -> list[Path]:
    """Files that have a report's names, and are none: a page is one beside its data."""
    data = [path for name in (DATA, BASELINE) if (path := folder / name).exists()]
    page = [folder / PAGE] if (folder / PAGE).exists() and folder / DATA not in data else []
    return [*page, *(path for path in data if not _is_report(path))]


def _is_report(path: Path) -> bool:
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and {"format", "collection"} <= found.keys()


@contextmanager
def _writable(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SettingsError(
            f"The report can't be written to {folder}: {error.strerror}. Name another folder with --output."
        ) from error


def write(report: Report, folder: Path, *, command: str, decode: Decode) -> Path:
    """report.html for people, report.json for programs, baseline.json for `--baseline`. Returns the page."""
    thumbnails = Thumbnails(report.items, report.data["seed"], decode)
    prepare(folder)
    with _writable(folder):
        for name, text in (
            (DATA, _json(report.data)),
            (BASELINE, _json(baseline.kept(report.data))),
            (PAGE, page.render(report.data, thumbnails, command)),
        ):
            whole_files.write(folder / name, text.encode(), mode=0o600)
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
