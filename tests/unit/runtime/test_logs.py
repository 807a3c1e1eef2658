"""The log: one JSON object per line, with the request that it is about."""

from __future__ import annotations

import contextvars
import json
import re

import pytest

from shared import settings
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


@pytest.mark.parametrize(
    "value",
    ["n" * 240_000, "\ud83d\U0001f600\0" * 80_000, '"' * 240_000, ["id"] * 60_000, {"n" * 240_000: 1}],
)
def test_a_long_value_is_cut_in_the_middle_which_is_said(capsys: pytest.CaptureFixture[str], value: object):
    logs.write("failed", name=value, count=7)
    line = capsys.readouterr().err
    assert len(line) < 9_000
    told = json.loads(line)
    assert told["count"] == 7
    begin, left_out, end = re.split(r" \[… (\d+) characters left out …\] ", told["name"])
    whole = value if isinstance(value, str) else json.dumps(value)
    assert whole.startswith(begin) and whole.endswith(end) and 300 < len(begin) == len(end)
    assert len(begin) + int(left_out) + len(end) == len(whole)


def test_an_errors_words_are_cut_after_its_tokens_went(capsys: pytest.CaptureFixture[str]):
    try:
        raise ValueError("x" * 240_000 + "?token=hidden")
    except ValueError as error:
        logs.write("failed", severity="ERROR", error=error)
    line = capsys.readouterr().err
    told = json.loads(line)
    assert len(line) < 20_000 and "hidden" not in line
    assert told["error_message"].endswith("x?token=…") and told["traceback"].startswith("Traceback")


@pytest.mark.parametrize("value", ["n" * 8_000, ["id"] * 1_000, None, float("inf"), 1.5])
def test_any_other_value_is_told_whole(capsys: pytest.CaptureFixture[str], value: object):
    logs.write("failed", name=value)
    assert lines(capsys)[0]["name"] == value


def test_a_line_holds_none_of_our_secrets_in_any_field(capsys: pytest.CaptureFixture[str]):
    own = 'hidden-"key"-of-another-kind'
    settings.load({"SUPABASE_URL": "http://x", "SUPABASE_SECRET_KEY": own})
    try:
        raise ValueError(f"plain {own}") from OSError(f"apikey: {own}")
    except ValueError as error:
        logs.write("failed", severity="ERROR", error=error, reason=f"It answered {own!r}.", count=1)
    text = capsys.readouterr().err
    [line] = map(json.loads, text.splitlines())
    assert "hidden" not in text and (line["reason"], line["count"]) == ("It answered '…'.", 1)
    assert (line["error_message"], line["cause"]) == ("plain …", "OSError: apikey: …")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (["a", "/x?token=hidden"], ["a", "/x?token=…"]),
        (("/x?token=hidden", 1), ["/x?token=…", 1]),
        ({"a": {"/x?token=hidden": ["sb_secret_hidden", None]}}, {"a": {"/x?token=…": ["…", None]}}),
        (OSError("/x?token=hidden"), "/x?token=…"),
        ({"b": OSError("/x?token=hidden")}, {"b": "/x?token=…"}),
    ],
)
def test_a_line_holds_no_secret_at_any_depth_of_a_field(
    capsys: pytest.CaptureFixture[str], value: object, told: object
):
    logs.write("failed", field=value)
    assert lines(capsys)[0]["field"] == told


@pytest.mark.parametrize("told", ["a-request", "7f3c.1:2/3"])
def test_a_line_names_the_request_as_its_caller_does(capsys: pytest.CaptureFixture[str], told: str):
    contextvars.copy_context().run(lambda: (logs.begin_request(told), logs.write("asked")))
    assert lines(capsys)[0]["request_id"] == told


@pytest.mark.parametrize("told", ["", "a b", "x" * 129, "a\nb", "é"])
def test_a_name_that_is_none_is_replaced(capsys: pytest.CaptureFixture[str], told: str):
    contextvars.copy_context().run(lambda: (logs.begin_request(told), logs.write("asked")))
    assert len(str(lines(capsys)[0]["request_id"])) == 32
