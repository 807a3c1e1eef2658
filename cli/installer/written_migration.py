"""The one migration that carries the whole project into a user's own repository."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cli.installer import migrations
from shared.errors import SettingsError

TOPIC = "neural_search"
VERSION = "%Y%m%d%H%M%S"


def write(folder: Path) -> tuple[Path, bool]:
    """Writes it, newer than all that is in `folder`; its path, and False where it is there already.

    SettingsError where there is no such folder, or where it is this project's own.
    """
    if not folder.is_dir():
        raise SettingsError(
            f"There is no folder {folder}. Run this in your repository, or name its folder of migrations."
        )
    if folder.resolve() == migrations.FOLDER.resolve():
        raise SettingsError(
            f"{folder} is neural-search's own folder, whose migrations `supabase db push` takes as they are."
        )
    statements = migrations.text()
    for path in folder.glob(f"[0-9]*_{TOPIC}.sql"):
        if path.read_text() == statements:
            return path, False
    path = folder / f"{_next_version(folder)}_{TOPIC}.sql"
    path.write_text(statements)
    return path, True


def _next_version(folder: Path) -> str:
    """Now, or a second after the newest: the Supabase CLI pushes nothing older without being told to."""
    now = datetime.now(UTC).strftime(VERSION)
    newest = max((path.name[:14] for path in folder.glob(f"{'[0-9]' * 14}_*.sql")), default="")
    if newest < now:
        return now
    return (datetime.strptime(newest, VERSION) + timedelta(seconds=1)).strftime(VERSION)
