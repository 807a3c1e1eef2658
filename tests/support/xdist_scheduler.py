"""How parallel processes share the tests (`pytest -n 2`): by file, and by costly fixture."""

from __future__ import annotations

import functools
import re

from xdist.scheduler import LoadScopeScheduling

from shared.settings import CHECKOUT

POSTGRES = re.compile(r"\[(\d\d)[\]-]")  # the first parameter of a test that runs on each PostgreSQL


class Sharing(LoadScopeScheduling):  # type: ignore[misc]
    """xdist's own groups go by a mark that it writes into the test's id, which pytest 9 doesn't let it do."""

    def _split_scope(self, nodeid: str) -> str:
        """The group that a test belongs to; a group runs in one process."""
        path = nodeid.split("::")[0]
        major = POSTGRES.search(nodeid)
        if path.startswith("tests/database/") and major:
            return f"postgres-{major[1]}"  # changing it takes a start of the other
        if path.startswith("tests/system/embedding/"):
            return "embedding"  # one converted model for all
        return "embedded stack" if _needs_the_stack(path) else path


@functools.cache
def _needs_the_stack(path: str) -> bool:
    return "embedded_stack" in (CHECKOUT / path).read_text()
