"""The one migration that carries the whole project into a user's own repository."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cli.installer import migrations
from shared.errors import SettingsError
from shared.runtime import whole_files

TOPIC = "neural_search"
VERSION = "%Y%m%d%H%M%S"
DIGITS = 14  # of a version by this form
MIGRATION = re.compile(r"([0-9]+)_.*\.sql")  # for the Supabase CLI, which compares versions as texts


def write(folder: Path) -> tuple[Path, bool]:
    """Writes it, newer than all that is in `folder`; its path, and False where it is there already.

    SettingsError where there is no such folder, where it is this project's own, or can't be read or written.
    """
    if not folder.is_dir():
        raise SettingsError(
            f"There is no folder {folder}. Run this in your repository, or name its folder of migrations."
        )
    if folder.resolve() == migrations.FOLDER.resolve():
        raise SettingsError(
            f"{folder} is neural-search's own folder, whose migrations `supabase db push` takes as they are."
        )
    statements = migrations.text().encode()
    with _usable(folder):
        for path in folder.glob(f"[0-9]*_{TOPIC}.sql"):
            if path.is_file() and path.read_bytes() == statements:
                return path, False
        path = folder / f"{_next_version(folder)}_{TOPIC}.sql"
        whole_files.write(path, statements)  # of half a migration `supabase db push` runs the half
    return path, True


@contextmanager
def _usable(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SettingsError(
            f"{error.filename or folder}: {error.strerror}. Nothing was written: repair that, and try again."
        ) from error


def _next_version(folder: Path) -> str:
    """Now, or a second after the newest: the Supabase CLI pushes nothing older without being told to."""
    now = datetime.now(UTC).strftime(VERSION)
    found = filter(None, map(MIGRATION.fullmatch, (path.name for path in folder.iterdir())))
    newest = max((match[1] for match in found), default="")
    if newest < now:
        return now
    try:
        return (datetime.strptime(newest[:DIGITS], VERSION) + timedelta(seconds=1)).strftime(VERSION)
    except (ValueError, OverflowError) as error:
        raise SettingsError(
            f"A migration in {folder} has the version {newest}, which is no time and comes after all times, "
            "so `supabase db push` would take none of now. Rename it, with a version as `supabase migration "
            "new` gives them."
        ) from error
