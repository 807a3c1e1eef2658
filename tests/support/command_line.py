"""The command line as a user has it, with no settings but those given."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from typer.testing import CliRunner

from cli.__main__ import app
from shared.settings import ENVIRONMENT, Settings, bare_environment, load


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    status: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class CommandLine:
    """Runs `neural-search` on one data folder and port."""

    folder: Path
    port: int
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        own = {"LOCAL_DATA": str(self.folder), "LOCAL_PORT": str(self.port)}
        return bare_environment(own | self.settings)

    @property
    def target(self) -> Settings:
        """The settings that the commands load."""
        return load(self.environment)

    def spawn(self, *arguments: str | Path, status: int = 0) -> Done:
        """The command in a process of its own; AssertionError, with its output, for another status."""
        process = subprocess.run(
            [sys.executable, "-m", "cli", *map(str, arguments)],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        return _checked(Done(process.returncode, process.stdout, process.stderr), status)

    def run(self, *arguments: str | Path, status: int = 0) -> Done:
        """The same within this process, which saves a second of imports."""
        unset = {name: None for names in ENVIRONMENT.values() for name in names}
        result = CliRunner().invoke(app, list(map(str, arguments)), env=unset | self.environment)
        return _checked(Done(result.exit_code, result.stdout, result.stderr), status)

    def json(self, *arguments: str | Path, status: int = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", status=status).stdout)

    def error(self, *arguments: str | Path, status: int = 1) -> str:
        """The one line on stderr of a command that fails."""
        lines = self.run(*arguments, status=status).stderr.splitlines()
        assert len(lines) == 1 and lines[0].startswith("error: "), lines
        return lines[0]


def _checked(done: Done, status: int) -> Done:
    assert done.status == status, f"status {done.status}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stdout + done.stderr
    return done


def write_picture(path: Path, colour: str = "red") -> Path:
    """A picture in two halves, so that each colour embeds differently."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.new("RGB", (64, 64), colour)
    picture.paste(Image.linear_gradient("L").resize((32, 64)).convert("RGB"), (0, 0))
    picture.save(path)
    return path
