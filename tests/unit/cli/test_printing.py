"""Other people's words on the operator's terminal: names, metadata and errors."""

from __future__ import annotations

import json
import sys

import pytest

from cli.app import Commands, app
from cli.client.transfer import Report
from cli.commands import upload
from cli.console import output
from shared import settings

CLEAR = "\x1b[2J"  # clears the screen
TITLE = "\x9d0;owned\x9c"  # sets a window's title by C1 controls, of which UTF-8 has two bytes each
TURNED = "photo\u202egnp.exe"  # shows as photoexe.png
HOSTILE = f"{CLEAR}{TITLE}{TURNED}\r\x08\x7f\udc80"
SHOWN = r"\u001b[2J\u009d0;owned\u009cphoto\u202egnp.exe\u000d\u0008\u007f\udc80"


@pytest.mark.parametrize("prints", [output.say, output.warn])
def test_control_characters_are_shown_and_not_obeyed(prints, capsys: pytest.CaptureFixture[str]):
    prints(f"Grüße aus 東京: {HOSTILE}")
    shown = capsys.readouterr()
    assert shown.out + shown.err == f"Grüße aus 東京: {SHOWN}\n"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_cell_stays_in_its_row(
    is_terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    monkeypatch.setenv("COLUMNS", "200")
    output.print_table(("name",), [(f"{HOSTILE}\nfailed",)])
    assert f"{SHOWN}\\u000afailed" in capsys.readouterr().out


def test_a_name_stays_in_its_line_of_uploads_report(capsys: pytest.CaptureFixture[str]):
    report = Report()
    report.refused["new\nline\t.jpg"] = "refused"
    upload.print_report(report, 1.0, waited=False)
    assert capsys.readouterr().err.splitlines()[1:] == [r"  new\u000aline\u0009.jpg: refused"]


def test_json_is_the_same_value_without_control_characters(capsys: pytest.CaptureFixture[str]):
    output.print_json({"name": HOSTILE})
    text = capsys.readouterr().out
    assert json.loads(text) == {"name": HOSTILE}
    assert text.isprintable() or set(filter(lambda c: not c.isprintable(), text)) == {"\n"}


OWN = "hidden-key-of-another-kind"
LINK = "https://a.test/object/sign/b/c.png?token=eyJhbGciOiJIUzI1NiJ9.eyJ1cmwiOiJiL2MucG5nIn0.c2lnbmVk"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_nothing_that_is_printed_holds_our_secrets_and_links_are_whole(
    is_terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    settings.load({"SUPABASE_URL": "http://x", "SUPABASE_SECRET_KEY": OWN})
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    monkeypatch.setenv("COLUMNS", "200")
    line = f"{LINK} by {OWN}"
    output.say(line), output.warn(line), output.print_json({"a": line}), output.print_table(("a",), [(line,)])
    shown = capsys.readouterr()
    assert (shown.out + shown.err).count(f"{LINK} by …") == 4 and OWN not in shown.out + shown.err


def test_errors_are_shown_likewise(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def fail(*_: object) -> None:
        raise ValueError(HOSTILE.replace("\r", ""))

    monkeypatch.setattr(Commands.__mro__[1], "invoke", fail)
    with pytest.raises(SystemExit):
        app(["status"], prog_name="neural-search")
    assert SHOWN.replace(r"\u000d", "") in capsys.readouterr().err
