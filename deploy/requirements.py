"""`requirements.py [EXTRA …]`: the packages that serving needs, or those that these extras add, one a line.

pip can't install a project's dependencies without the project, and a container holds only serving packages.
Needs nothing but Python 3.11, since it runs before anything is installed.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path


def requirements(project: Path, extras: list[str]) -> list[str]:
    """The lines of [project.dependencies], or those of the named [project.optional-dependencies]."""
    table = tomllib.loads(project.read_text())["project"]
    optional = table["optional-dependencies"]
    if unknown := sorted(set(extras) - set(optional)):
        sys.exit(
            f"There is no extra {', '.join(unknown)} in {project}. Expected one of {', '.join(optional)}."
        )
    return [line for extra in extras for line in optional[extra]] if extras else list(table["dependencies"])


if __name__ == "__main__":
    print(*requirements(Path("pyproject.toml"), sys.argv[1:]), sep="\n")
