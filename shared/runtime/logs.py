"""The functions' log: the standard library's, as one JSON object per line on stderr."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TextIO

from shared.secrets.masking import without_secrets

VALUE_BYTES = 8 * 1024  # of JSON, for each value: callers choose names, and other software its messages
WELL_FORMED = re.compile(r"[\w.:/+=-]{1,128}", re.ASCII)

logger = logging.getLogger("neural_search")
request_id: ContextVar[str] = ContextVar("request_id", default="")  # of the request that this thread works on


def write(event: str, *, severity: str = "INFO", error: BaseException | None = None, **fields: Any) -> None:
    """One line. `error` adds its class and message, and its traceback where nobody expected it (ERROR)."""
    level = logging.getLevelNamesMapping()[severity]
    logger.log(level, event, extra={"fields": fields}, exc_info=error)


def set_level(name: str) -> None:
    """Leaves out events below `name`: debug, info or warning."""
    logger.setLevel(name.upper())


def begin_request(told: str) -> None:
    """Names the request in all later lines: as the caller does, if that makes a name."""
    request_id.set(told if WELL_FORMED.fullmatch(told) else uuid.uuid4().hex)


def end_request() -> str:
    """The request's name, which this thread has no more: the framework answers some without asking us."""
    name = request_id.get() or uuid.uuid4().hex
    request_id.set("")
    return name


@contextmanager
def silenced() -> Iterator[None]:
    """For a command that tells the same in its own words."""
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        line = {"time": when, "severity": record.levelname, "event": record.getMessage()}
        if name := request_id.get():
            line["request_id"] = name
        line |= getattr(record, "fields", {}) | self._error(record)
        return json.dumps({name: _bounded(_masked(value)) for name, value in line.items()})

    def _error(self, record: logging.LogRecord) -> dict[str, str]:
        error = record.exc_info[1] if record.exc_info else None
        if error is None or record.exc_info is None:
            return {}
        told = {"error_class": type(error).__name__, "error_message": str(error)}
        if error.__cause__ is not None:
            told["cause"] = f"{type(error.__cause__).__name__}: {error.__cause__}"
        expected = record.levelno < logging.ERROR
        return told if expected else told | {"traceback": self.formatException(record.exc_info)}


def _masked(value: Any) -> Any:
    """`value` as JSON can hold it, without secrets at any depth."""
    match value:
        case None | bool() | int() | float():
            return value
        case dict():
            return {_masked(name): _masked(one) for name, one in value.items()}
        case list() | tuple():
            return [_masked(one) for one in value]
        case _:
            return without_secrets(str(value))


def _bounded(value: Any) -> Any:
    """`value`, or its beginning and end as text where it takes more than VALUE_BYTES."""
    written = json.dumps(value)
    if len(written) <= VALUE_BYTES:
        return value
    text = value if isinstance(value, str) else written
    kept = VALUE_BYTES * 2 // 5
    while len(json.dumps(_ends(text, kept))) > VALUE_BYTES:  # a character takes up to 12 bytes
        kept //= 2
    return _ends(text, kept)


def _ends(text: str, kept: int) -> str:
    return f"{text[:kept]} [… {len(text) - 2 * kept} characters left out …] {text[-kept:]}"


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to the current stderr, and fails nobody where that can't be written, as on a full disk."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        pass


_handler = _Stderr()
_handler.setFormatter(JsonFormatter())
logger.addHandler(_handler)
logger.setLevel(logging.INFO)
logger.propagate = False  # a test or a web framework has handlers of its own
