"""The form of the SQL functions' answers, checked where they arrive: another server answers any JSON."""

from __future__ import annotations

from typing import Any

from shared.errors import DatabaseUnavailable

CHECK = "Check SUPABASE_URL."

# By their answers' form, the functions that commands call.
ROWS = frozenset(
    {
        "activate_model",
        "active_model",
        "confirm_duplicates",
        "list_embedding_jobs",
        "list_fingerprints",
        "list_models",
        "object_states",
        "remove_model",
    }
)
OBJECTS = frozenset({"embedding_report", "explain_object"})
NUMBERS = frozenset({"backfill_documents", "index_bucket", "retry_embedding_jobs", "unindex_bucket"})
TEXTS = frozenset({"add_model"})


class Row(dict[str, Any]):
    """An object of an answer. DatabaseUnavailable for a field that it lacks."""

    __slots__ = ("_source",)

    def __init__(self, source: str, fields: dict[str, Any]):
        super().__init__({name: _whole(source, value) for name, value in fields.items()})
        self._source = source

    def __missing__(self, name: str) -> Any:
        raise DatabaseUnavailable(f"{self._source} answered without {name!r}. {CHECK}")


def checked(function: str, answer: Any, url: str) -> Any:
    """The answer of `function` at `url`; DatabaseUnavailable where it has another form."""
    source = f"{function} at {url}"
    if not _fits(function, answer):
        raise DatabaseUnavailable(f"{source} answered {answer!r:.100}, which no such function does. {CHECK}")
    return _whole(source, answer)


def _fits(function: str, answer: Any) -> bool:
    if function in ROWS:
        return isinstance(answer, list) and all(isinstance(row, dict) for row in answer)
    if function in OBJECTS:
        return isinstance(answer, dict)
    if function in NUMBERS:
        return isinstance(answer, int) and not isinstance(answer, bool)
    if function in TEXTS:
        return isinstance(answer, str)
    raise KeyError(function)


def _whole(source: str, value: Any) -> Any:
    """`value`, with all objects in it as rows."""
    if isinstance(value, dict):
        return Row(source, value)
    return [_whole(source, one) for one in value] if isinstance(value, list) else value
