"""`neural-search migrations`: the project's SQL as migrations."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import output, releases

commands = typer.Typer(no_args_is_help=True, help="Make the project's migrations.")


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="migrations")


@commands.command()
def generate(
    freeze: Annotated[
        bool, typer.Option("--freeze", help="List it as released: from then on it can't change.")
    ] = False,
) -> None:
    """Write the newest migration from the sources in supabase/sql. For those who develop neural-search."""
    path = releases.freeze() if freeze else releases.generate()
    output.say(f"Written: {path.relative_to(releases.SUPABASE.parent)}")
