"""The models: whether each has its index and a process that loads it, and the remains of removed ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from cli.checks.schema import fetched
from cli.client.project import Project
from cli.console.indexing_report import age
from cli.console.output import count
from shared.errors import DatabaseError, ModelNotLoaded
from shared.settings import Settings

SILENCE = 600.0  # seconds; while jobs are due, a process that can load the model asks for some every 15

Row = dict[str, Any]


def checks(target: Settings) -> Iterator[tuple[str, dict[str, Callable[[], str]]]]:
    missing = "" if target.supabase_url and target.secret_key else "SUPABASE_SECRET_KEY is not set"
    yield missing, {"models": partial(models, target)}
    yield (
        "" if target.database_url else "DATABASE_URL is not set",
        {"models' indexes": partial(indexes, target)},
    )


def models(target: Settings) -> str:
    with Project(target) as project:
        return judged(project.call_as("secret_key", "list_models"))


def judged(registered: list[Row]) -> str:
    """The answer of `list_models` in a line; an error with the remedy where a model isn't as it should be."""
    for row in registered:
        _judge(row)
    if not any(row["state"] == "active" for row in registered):
        raise DatabaseError("No model is active. Run `neural-search models activate NAME`.")
    return ", ".join(f"{row['name']} ({row['state']}, {row['documents']:,} documents)" for row in registered)


def _judge(row: Row) -> None:
    name, state = row["name"], row["state"]
    if state == "retired":
        raise DatabaseError(
            f"{name} is retired, with {count(row['documents'], 'document')} left. "
            f"`neural-search models remove {name}` ends its removal, `… add {name}` takes it back."
        )
    if row["index_valid"] is False:
        raise DatabaseError(
            f"The index {row['index_name']} of {name} is missing or incomplete. "
            f"Run `neural-search models add {name}`."
        )
    silent = age(row["asked_at"] or row["created_at"])
    if row["pending"] and silent > SILENCE:
        raise ModelNotLoaded(
            f"{count(row['pending'], 'image')} to be embedded with {name} ({state}), and nobody who can load "
            f"it has asked for work for {silent / 60:.0f} minutes. Where the check `kicks` is in order, add "
            f"it to EMBEDDING_MODELS of embed_on_upload; or run `neural-search worker --model {name}`."
        )


def indexes(target: Settings) -> str:
    """Whether each index of a model's kind has its model."""
    found = fetched(
        target,
        """
        select c.relname::text,
          exists (select from neural_search.models m
            where neural_search.index_name(m.name, m.search_strategy) = c.relname)
        from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am a on a.oid = c.relam
        where i.indrelid = 'neural_search.documents'::regclass and a.amname = 'hnsw'
          -- The migrations make those of the packaged models, for which there may be no document.
          and obj_description(c.oid, 'pg_class') is distinct from
            'For match_documents while this model is active.'
          and c.relname ~ '^documents_.*_idx$'
        order by 1
        """,
    )
    orphans = [name for name, wanted in found if not wanted]
    if orphans:
        raise DatabaseError(
            f"No model uses {', '.join(orphans)}, but every write pays for it. Run: drop index concurrently "
            f"neural_search.{orphans[0]}"
        )
    return ", ".join(name for name, _ in found) or "none"
