"""The report as one HTML file that needs nothing else: no script, no font, no picture from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

from evaluation.report import sections, table
from evaluation.report.charts import Look
from evaluation.report.sheets import Thumbnails

HERE = Path(__file__).parent


def render(report: dict[str, Any], thumbnails: Thumbnails, command: str) -> str:
    """The whole page. `command` made the report, and can repeat it."""
    look = Look(list(dict.fromkeys(result["method"] for result in report["results"])))
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,  # names come from strangers' files
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.jinja").render(
        report=report,
        style=(HERE / "page.css").read_text(),
        summary=sections.summary(report),
        tasks=[sections.task_section(report, kind, look, thumbnails) for kind in table.tasks(report)],
        indexes=sections.index_section(report, look),
        glossary=sections.glossary(report),
        command=command,
    )
