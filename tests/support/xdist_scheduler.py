"""How parallel processes share the tests (`pytest -n 3`): by file, and by costly fixture."""

from __future__ import annotations

import functools
import re
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from shared.settings import CHECKOUT

ORDER = ("system", "database", "unit")  # many short tests fill up the time until all processes end
POSTGRES = re.compile(r"\[(\d\d)[\]-]")  # the first parameter of a test that runs on each PostgreSQL


class Sharing(LoadScopeScheduling):  # type: ignore[misc]
    """xdist's own groups go by a mark that it writes into the test's id, which pytest 9 doesn't let it do.

    Its own order, the groups of most tests first, ends with single tests of half a minute.
    """

    def __init__(self, config: pytest.Config, log: Any):
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        """The group that a test belongs to; a group runs in one process."""
        path = nodeid.split("::")[0]
        major = POSTGRES.search(nodeid)
        if path.startswith("tests/database/") and major:
            return f"{path} on {major[1]}"  # all on one come first: changing it takes a start of the other
        if path.startswith("tests/system/embedding/"):
            return "embedding"  # one converted model for all
        if shared := _stack(path):
            return shared
        # Starting a browser takes a second, importing scikit-learn, matplotlib and torch some more.
        return next((folder for folder in ("/page/", "/evaluation/") if folder in path), path)


def order(items: list[pytest.Item]) -> None:
    """The tiers of real processes and models come first, as one of their groups may take minutes."""
    items.sort(key=lambda item: [item.get_closest_marker(tier) is None for tier in ORDER])


@functools.cache
def _stack(path: str) -> str:
    """The embedded stack that a file shares with others, or none."""
    text = (CHECKOUT / path).read_text()
    if "embedded_stack" in text:
        return "embedded stack"
    return "stack of the commands" if "stack: CommandLine" in text and "def stack(" not in text else ""
