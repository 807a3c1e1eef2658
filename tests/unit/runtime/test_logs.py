"""The log: one JSON object per line, with the request that it is about."""

from __future__ import annotations

import contextvars
import json

import pytest

from shared.runtime import logs


@pytest.fixture(autouse=True)
def outside_any_request() -> None:
    """Other tests of this process may have named one."""
    logs.request_id.set("")


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_has_time_severity_event_and_fields(capsys: pytest.CaptureFixture[str]):
    logs.write("embedded", name="a\n.png", count=7)
    [line] = lines(capsys)
    assert line.pop("time")
    assert line == {"severity": "INFO", "event": "embedded", "name": "a\n.png", "count": 7}


def test_only_an_error_that_nobody_expected_has_its_traceback(capsys: pytest.CaptureFixture[str]):
    try:
        raise ValueError("why")
    except ValueError as error:
        logs.write("foreseen", severity="WARNING", error=error)
        logs.write("failed", severity="ERROR", error=error)
    foreseen, failed = lines(capsys)
    assert (foreseen["error_class"], foreseen["error_message"]) == ("ValueError", "why")
    assert "traceback" not in foreseen and "raise ValueError" in str(failed["traceback"])


def test_a_foreseen_error_has_its_cause_without_its_tokens(capsys: pytest.CaptureFixture[str]):
    try:
        raise ValueError("plain") from OSError("http://kong.internal/a?token=hidden")
    except ValueError as error:
        logs.write("foreseen", severity="WARNING", error=error)
    [line] = lines(capsys)
    assert line["cause"] == "OSError: http://kong.internal/a?token=…"


@pytest.mark.parametrize("told", ["a-request", "7f3c.1:2/3"])
def test_a_line_names_the_request_as_its_caller_does(capsys: pytest.CaptureFixture[str], told: str):
    contextvars.copy_context().run(lambda: (logs.begin_request(told), logs.write("asked")))
    assert lines(capsys)[0]["request_id"] == told


@pytest.mark.parametrize("told", ["", "a b", "x" * 129, "a\nb", "é"])
def test_a_name_that_is_none_is_replaced(capsys: pytest.CaptureFixture[str], told: str):
    contextvars.copy_context().run(lambda: (logs.begin_request(told), logs.write("asked")))
    assert len(str(lines(capsys)[0]["request_id"])) == 32
