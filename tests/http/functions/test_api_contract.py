"""The query function keeps to openapi.json with any request: `make soak SOAK_ARGS=contract` asks more."""

from __future__ import annotations

from pathlib import Path

from support import api_contract
from support.embedded_stacks import temporary_stack
from support.memory_folder import quick_folder


def test_schemathesis_finds_no_violation(tmp_path: Path):
    with temporary_stack(quick_folder) as stack:  # its own: uploads are among the requests
        url = f"{stack.url}/functions/v1/query"
        assert api_contract.violations(url, tmp_path, phases="examples,fuzzing", examples=20) == ""
