"""Commands without root's rights over other processes, as the functions run in their containers."""

from __future__ import annotations

import os
from collections.abc import Sequence

from support.prerequisites import need

NO_CAPABILITY = ("--bounding-set", "-all", "--inh-caps", "-all")


def command(program: Sequence[str]) -> list[str]:
    """As it is, unless root runs the tests."""
    if os.geteuid() != 0:
        return [*program]
    return [need("setpriv", "apt-get install util-linux"), *NO_CAPABILITY, *program]
