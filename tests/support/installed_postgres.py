"""A PostgreSQL of this machine, beside those that are carried."""

from __future__ import annotations

import re
import subprocess

from local import installation


def installed(folder: str) -> int:
    """The major of the one in `folder`, which holds `bin`; from then on a Cluster of this major is of it."""
    told = subprocess.run([f"{folder}/bin/postgres", "--version"], capture_output=True, text=True, check=True)
    major = int(re.findall(r"\d+", told.stdout)[0])
    installation.INSTALLATIONS[major] = folder
    return major
