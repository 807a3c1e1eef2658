"""`neural-search migrations`: the project's SQL as migrations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.console import output
from cli.installer import releases

HERE = Path("supabase") / "migrations"

commands = typer.Typer(no_args_is_help=True, help="Put the project's SQL into your own migrations.")


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="migrations")


@commands.command()
def write(
    folder: Annotated[
        Path, typer.Argument(metavar="[FOLDER]", help="Your repository's folder of migrations.")
    ] = HERE,
) -> None:
    """Write one migration into your own repository, for `supabase db push` to bring with your own.

    It holds everything and does the part that isn't done yet, whether `neural-search install` or an earlier
    such file did the rest. The function's address, the secret and the buckets remain for
    `neural-search install`.
    """
    from cli.installer import written_migration  # imports psycopg

    path, is_new = written_migration.write(folder)
    output.say(f"Written: {path}" if is_new else f"Nothing to write: {path} is up to date.")
    if is_new:
        output.say("Next: `supabase db push`, then `neural-search install --bucket NAME`.")


@commands.command()
def generate(
    freeze: Annotated[
        bool, typer.Option("--freeze", help="List it as released: from then on it can't change.")
    ] = False,
) -> None:
    """Write the newest migration from the sources in supabase/sql. For those who develop neural-search."""
    path = releases.freeze() if freeze else releases.generate()
    output.say(f"Written: {path.relative_to(releases.SUPABASE.parent)}")
