"""Requests made of openapi.json, at the edges of each field and beyond: none breaks the contract."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from soak.outcome import Outcome
from support import api_contract
from support.embedded_stacks import temporary_stack


def run(examples: int = 100) -> Outcome:
    """Asks for each operation's edges, and `examples` of all that its schema allows."""
    began = time.monotonic()
    with temporary_stack() as stack, tempfile.TemporaryDirectory() as folder:
        url = f"{stack.url}/functions/v1/query"
        phases = "examples,coverage,fuzzing"
        found = api_contract.violations(url, Path(folder), phases=phases, examples=examples)
    evidence = (found,) if found else ()
    return Outcome(part="contract", operations=examples, seconds=time.monotonic() - began, evidence=evidence)
