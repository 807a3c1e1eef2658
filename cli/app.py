"""The command line's frame: its help, and how errors are shown."""

from __future__ import annotations

import signal
from importlib.metadata import version
from traceback import format_exc
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from cli.console import output
from shared.errors import NeuralSearchError
from shared.secrets.masking import without_secrets

INTERRUPTED = 130  # a shell's exit status for a process ended by Ctrl-C


class Commands(TyperGroup):
    """Shows an error as one line on stderr with exit status 1; with --traceback, where it comes from."""

    def invoke(self, ctx: Any) -> Any:  # a click.Context of the click that typer carries
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            raise typer.Exit(*(interrupt.args or [INTERRUPTED])) from None
        except (TyperException, typer.Exit, typer.Abort, BrokenPipeError):
            raise
        except Exception as error:
            text = format_exc() if ctx.params.get("traceback") else f"error: {one_line(error)}"
            output.warn(without_secrets(text))
            raise typer.Exit(1) from None


def end_in_order() -> None:
    """From now on SIGTERM and SIGHUP, which a closed terminal sends, end a command as Ctrl-C does, with its
    clean-up. What `nohup` ignores stays ignored."""

    def interrupt(number: int, _frame: object) -> None:
        for one in handled:
            signal.signal(one, lambda *_: None)  # another one doesn't break off the clean-up
        raise KeyboardInterrupt(128 + number)

    handled = [one for one in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(one) == signal.SIG_DFL]
    for one in handled:
        signal.signal(one, interrupt)


def one_line(error: Exception) -> str:
    """The fault and its remedy, without line breaks."""
    if isinstance(error, NeuralSearchError):
        return " ".join(str(error).split())
    text = " ".join(str(error).split()) or "no message"
    return f"{text} ({type(error).__name__}). Run `neural-search --traceback …` to see where it comes from."


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"neural-search {version('neural-search')}")
        raise typer.Exit()


@app.callback()
def options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    traceback: Annotated[bool, typer.Option("--traceback", help="Show where an error comes from.")] = False,
) -> None:
    """Image search for Supabase: drop images into a bucket, find them by image, text or examples.

    The target project and its keys come from the environment (SUPABASE_URL, SUPABASE_PUBLISHABLE_KEY,
    SUPABASE_SECRET_KEY, QUERY_URL, DATABASE_URL, …). Without SUPABASE_URL it is the embedded stack that
    `neural-search up` runs on this machine.
    """
