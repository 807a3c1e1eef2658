"""Node programs of this folder, each at the end of a pipe."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


class Node:
    """A program that answers one line of JSON with another."""

    def __init__(self, process: subprocess.Popen[str]):
        self._process = process

    def ask(self, **request: Any) -> Any:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(request, default=_encoded) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the program ended; its standard error says why"
        return json.loads(answer)


@contextmanager
def running(program: str, *arguments: str) -> Iterator[Node]:
    with subprocess.Popen(
        ["node", program, *arguments], cwd=HERE, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        yield Node(process)
        assert process.stdin
        process.stdin.close()  # which ends the program
    assert process.returncode == 0


def _encoded(value: object) -> Any:
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    raise TypeError(f"{value!r} can't be sent")
