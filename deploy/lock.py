"""`python -m deploy.lock`: writes the packages that the images' builds install, by hash.

requirements.lock has what serves, sbom.lock what lists the packages of an image.

Needs uv (https://docs.astral.sh/uv). The versions are those of constraints.txt.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from deploy.requirements import requirements

CHECKOUT = Path(__file__).resolve().parents[1]
LOCK = CHECKOUT / "deploy" / "requirements.lock"
LISTING_LOCK = CHECKOUT / "deploy" / "sbom.lock"
LISTING = ["cyclonedx-bom==7.5.0"]
HEADER = "# Written by `python -m deploy.lock` from pyproject.toml and constraints.txt.\n"
OPTIONS = (
    "--generate-hashes",
    "--universal",
    "--no-header",
    "--no-annotate",
    "--no-emit-index-url",
    "--quiet",
)


def main() -> None:
    _write(LOCK, requirements(CHECKOUT / "pyproject.toml", []))
    _write(LISTING_LOCK, LISTING)


def _write(lock: Path, wanted: list[str]) -> None:
    command = ["uv", "pip", "compile", "-", *OPTIONS, "--python-version", "3.11", "-c", "constraints.txt"]
    done = subprocess.run(command, input="\n".join(wanted), cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit("uv could not compile the lock; its message is above.")
    lock.write_text(HEADER + done.stdout)


if __name__ == "__main__":
    main()
