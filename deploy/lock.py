"""`python -m deploy.lock`: writes requirements.lock, the packages that the images install to serve, by hash.

Needs uv (https://docs.astral.sh/uv). The versions are those of constraints.txt.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from deploy.requirements import requirements

CHECKOUT = Path(__file__).resolve().parents[1]
LOCK = CHECKOUT / "deploy" / "requirements.lock"
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
    wanted = "\n".join(requirements(CHECKOUT / "pyproject.toml", []))
    command = ["uv", "pip", "compile", "-", *OPTIONS, "--python-version", "3.11", "-c", "constraints.txt"]
    done = subprocess.run(command, input=wanted, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit("uv could not compile the lock; its message is above.")
    LOCK.write_text(HEADER + done.stdout)


if __name__ == "__main__":
    main()
