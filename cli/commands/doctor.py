"""`neural-search doctor`: every part checked, with the remedy for each fault."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import typer

from cli.console import output
from cli.console.output import AsJson
from shared import settings
from shared.errors import NeuralSearchError, StorageForbidden, Unauthorized

OK, WRONG, SKIPPED = "OK", "WRONG", "SKIPPED"
NO_PROJECT = (
    "No embedded stack runs, and SUPABASE_URL is not set. Run `neural-search up`, or set it and the keys."
)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A check's finding."""

    check: str
    state: str  # OK, WRONG or SKIPPED
    detail: str  # the finding, or the fault with its remedy, or the missing setting


def register(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor(as_json: AsJson = False) -> None:
    """Check every part of the target project and of this machine; exit status 1 when anything is wrong."""
    findings = []
    for finding in _examine():
        findings.append(finding)
        if not as_json:
            output.say(f"{finding.state:8} {finding.check}: {finding.detail}")
    if as_json:
        output.print_json([asdict(finding) for finding in findings])
    if any(finding.state == WRONG for finding in findings):
        raise typer.Exit(1)


def _examine() -> Iterator[Finding]:
    # They import psycopg, supabase and requests.
    from cli.checks import api, functions, host, loaded_models, one_project, schema

    try:
        target = settings.load()
    except NeuralSearchError as error:
        yield Finding(check="settings", state=WRONG, detail=str(error))
        return
    if target.supabase_url:
        yield Finding(check="project", state=OK, detail=_address(target.supabase_url))
    else:
        yield Finding(check="project", state=WRONG, detail=NO_PROJECT)
    refused: dict[str, str] = {}
    for part in (host, api, one_project, schema, loaded_models, functions):
        for missing, checks in part.checks(target):
            yield from (_run(name, check, missing, refused) for name, check in checks.items())


def _address(url: str) -> str:
    from shared.supabase.surroundings import is_loopback  # requests

    if url.startswith("https:") or is_loopback(url):
        return url
    return f"{url}, without encryption: outside of a network of yours others read the keys"


def _run(name: str, check: Callable[[], Any], missing: str, refused: dict[str, str]) -> Finding:
    """`refused`: the keys that earlier checks found wrong, by their variable; each is a fault once."""
    if missing:
        return Finding(check=name, state=SKIPPED, detail=missing)
    try:
        return Finding(check=name, state=OK, detail=str(check()))
    except NeuralSearchError as error:
        key = error.value if isinstance(error, Unauthorized | StorageForbidden) else None
        if key and refused.setdefault(key, name) != name:
            return Finding(check=name, state=SKIPPED, detail=f"{key} is refused: see {refused[key]!r}")
        return Finding(check=name, state=WRONG, detail=" ".join(str(error).split()))
    except Exception as error:  # the other checks are made all the same
        text = f"ended with {type(error).__name__}: {error}. Compare the addresses with those of the project."
        return Finding(check=name, state=WRONG, detail=" ".join(text.split()))
