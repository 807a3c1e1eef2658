"""The project's API: Storage, the SQL functions and the keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import requests

from cli.client.missing_policy import nothing_visible
from cli.client.project import Project, refused
from cli.console import output
from cli.console.indexing_report import age, headlines
from shared.errors import DatabaseError, DatabaseForbidden, Unauthorized
from shared.settings import ENVIRONMENT, Settings
from shared.supabase import surroundings

TIMEOUT_SECONDS = 30
MOST_ROWS = 1000  # that one call of our functions answers
STANDSTILL = 600.0  # seconds that work may be due while nobody has begun it

SHUT_OUT = "anon is shut out of all searches"

Report = Callable[[], dict[str, Any]]


def checks(target: Settings) -> Iterator[tuple[str, dict[str, Callable[[], str]]]]:
    if not target.supabase_url:
        names = (
            "publishable key",
            "exposed schemas",
            "secret key",
            "queue",
            "row limit",
            "Storage",
            "seen by anon",
        )
        yield "SUPABASE_URL is not set", dict.fromkeys(names, str)
        return
    with Project(target) as project:
        # The keys first: checks that need a refused one are skipped after them.
        missing = "" if target.publishable_key else "SUPABASE_PUBLISHABLE_KEY is not set"
        yield (
            missing,
            {
                "publishable key": lambda: publishable_key(project),
                "exposed schemas": lambda: exposed_schemas(target),
            },
        )
        missing = "" if target.secret_key else "SUPABASE_SECRET_KEY is not set"
        report = cache(lambda: project.call_as("secret_key", "embedding_report"))
        yield (
            missing,
            {
                "secret key": lambda: secret_key(report),
                "queue": lambda: queue(report, lambda: _due(project)),
                "row limit": lambda: row_limit(project),
            },
        )
        either = target.secret_key or target.publishable_key
        yield "" if either else "no key is set", {"Storage": lambda: storage(project)}
        keys = "" if target.publishable_key and target.secret_key else "both keys are not set"
        yield keys, {"seen by anon": lambda: seen_by_anon(project)}


def storage(project: Project) -> str:
    names = ", ".join(bucket.name for bucket in project.buckets())
    return f"answers; buckets that this key sees: {names or 'none'}"


def is_shut_out(error: DatabaseForbidden, function: str) -> bool:
    """Whether the operator took this function from anon, or the one that all ask for the model first: the key
    and the schema are in order."""
    denied = (f"permission denied for function {name} (42501)" for name in (function, "active_model"))
    return any(words in str(error) for words in denied)


def publishable_key(project: Project) -> str:
    rows = _active_models(project)
    if rows is None:
        return f"works; {SHUT_OUT}"
    if not rows:
        raise DatabaseError("No model is active. Run `neural-search models activate NAME`.")
    return f"works; the active model is {rows[0]['name']} ({rows[0]['dimensions']} dimensions)"


def is_anon_shut_out(project: Project) -> bool:
    """Whether the operator has shut anon out of all searches."""
    return _active_models(project) is None


def _active_models(project: Project) -> list[dict[str, Any]] | None:
    """As anon is told them; None where it is shut out."""
    try:
        rows: list[dict[str, Any]] = project.call_as("publishable_key", "active_model")
    except DatabaseForbidden as error:
        if not is_shut_out(error, "active_model"):
            raise
        return None
    return rows


def exposed_schemas(target: Settings) -> str:
    """Whether callers reach our own schema, whose planned counts tell what policies hide."""
    asked = "Asked for the schema neural_search, the database's API"
    try:
        status, code = _answer_for_our_schema(target)
    except (requests.RequestException, KeyError, TypeError) as error:
        raise DatabaseError(
            f"{asked} gave no answer of its own ({type(error).__name__}). Check SUPABASE_URL, or try again "
            "later."
        ) from error
    if code != "PGRST106":
        raise DatabaseError(
            f"{asked} answered {status} (code {code}). Expected 406 (PGRST106): take it out of the exposed "
            "schemas (Settings, API)."
        )
    return "neural_search isn't exposed"


def _answer_for_our_schema(target: Settings) -> tuple[int, str]:
    """Its status and PostgREST's code."""
    headers = {"apikey": str(target.publishable_key), "Accept-Profile": "neural_search"}
    url = f"{target.supabase_url}/rest/v1/documents?limit=0"
    with surroundings.session(url) as http:
        answer = http.get(url, headers=headers, timeout=TIMEOUT_SECONDS, allow_redirects=False)
    body = answer.json()
    if answer.status_code == 401 and "code" not in body:  # the gateway's
        variable = ENVIRONMENT["publishable_key"][0]
        raise Unauthorized(refused(target.supabase_url, variable), value=variable)
    return answer.status_code, "none" if answer.status_code == 200 else body["code"]


def row_limit(project: Project) -> str:
    """Whether the API cuts answers short: searches end there, and claimed jobs wait for their leases."""
    rows = len(project.call_as("secret_key", "object_states", bucket="", names=["none"] * MOST_ROWS))
    if rows < MOST_ROWS:
        raise DatabaseError(
            f"The database's API answers with at most {output.count(rows, 'row')}: searches end there, and "
            f"jobs claimed beyond wait for their lease. Set its max rows to {MOST_ROWS} (Settings, API)."
        )
    return f"answers have {MOST_ROWS} rows where they need them"


def seen_by_anon(project: Project) -> str:
    """Not a fault by itself: the images may be for signed-in users. `policies` asks for those as well."""
    try:
        hint = nothing_visible(project)
    except DatabaseForbidden as error:
        if not is_shut_out(error, "list_fingerprints"):
            raise
        return SHUT_OUT
    return hint or "the publishable key sees indexed images, or there are none yet"


def secret_key(report: Report) -> str:
    backlog = report()["backlog"]
    if not backlog:
        raise DatabaseError("It works, but no bucket is indexed. Run `neural-search install --bucket NAME`.")
    return f"works. {' '.join(headlines(backlog))}"


def queue(report: Report, due_jobs: Callable[[], list[dict[str, Any]]]) -> str:
    """Whether somebody works on the jobs that are due."""
    backlog = report()["backlog"]
    due, running, over = (
        sum(row[state] for row in backlog for state in states)
        for states in (("due",), ("running",), ("skipped", "failed"))
    )
    overdue = (
        0.0 if running or not due else max((age(job["next_attempt_at"]) for job in due_jobs()), default=0.0)
    )
    if overdue > STANDSTILL:
        raise DatabaseError(
            f"{output.count(due, 'image')} due for up to {output.seconds(overdue)}, and nobody works on "
            "them. Look into embed_on_upload's log, or run `neural-search worker`."
        )
    hint = f"; {over:,} given up: `neural-search jobs` says why" if over else ""
    return f"{due:,} due, {running:,} being embedded{hint}"


def _due(project: Project) -> list[dict[str, Any]]:
    """A sample: its longest wait is as good as the longest of all."""
    rows: list[dict[str, Any]] = project.call_as(
        "secret_key", "list_embedding_jobs", job_state="due", max_rows=1000
    )
    return rows
