"""A user's repository with migrations of its own, and the real Supabase CLI at work in it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from shared.settings import child_environment


@dataclass(frozen=True)
class Repository:
    folder: Path
    program: Path
    database_url: str

    @property
    def migrations(self) -> Path:
        return self.folder / "supabase" / "migrations"

    def write(self, name: str, statements: str) -> None:
        (self.migrations / f"{name}.sql").write_text(statements)

    def push(self) -> list[str]:
        """The names of the migrations that it brought."""
        done = self.run("db", "push")
        assert done.returncode == 0, done.stderr
        lines = [line for line in done.stderr.splitlines() if line.startswith("Applying migration ")]
        return [line.removeprefix("Applying migration ").removesuffix(".sql...") for line in lines]

    def error(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode != 0, done.stdout
        return done.stdout + done.stderr

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.program, *arguments, "--yes", f"--remote={self.database_url}"],
            cwd=self.folder,
            env=child_environment({"HOME": str(self.folder), "SUPABASE_TELEMETRY_DISABLED": "1"}),
            capture_output=True,
            text=True,
            timeout=60,
        )
