"""The counts of pronouns and of shared names, on files made for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import prose

PYTHON = '''"""What a module does, for whoever reads it."""

# What counts is here.
what = "what is no comment"

def f():
    """`what` in code, and whatever beside it."""
'''
SQL = """\
-- What it is.
create function f() returns text as $$ select 'what' $$;
comment on function f is
  'Whom it serves, '
  'and what it does.';
"""
JS = """\
/* What a page
   does. */
const url = "https://what.test"; // whoever asks
"""


@pytest.mark.parametrize(
    ("name", "text", "what", "whoever"),
    [("a.py", PYTHON, 3, 1), ("a.sql", SQL, 2, 1), ("a.js", JS, 1, 1)],
)
def test_only_docstrings_and_comments_are_counted(
    tmp_path: Path, name: str, text: str, what: int, whoever: int
):
    path = tmp_path / name
    path.write_text(text)
    counted = prose.count(name, prose.prose(path))
    assert (counted.found["what"], counted.found["whoever, whom"]) == (what, whoever)


def test_a_rate_is_per_thousand_words():
    assert prose.count("a", "what " + "word " * 249).rate("what") == 4
    assert prose.count("a", "").rate("what") == 0


def test_modules_that_share_a_name_are_named_where_names_count():
    paths = [Path(f"{folder}/{name}.py") for folder in ("shared/a", "cli/b") for name in ("one", "__init__")]
    paths += [Path("tests/one.py"), Path("local/one.py"), Path("cli/commands/one.py"), Path("shared/two.py")]
    assert prose.namesakes(paths) == {"one": ["shared/a/one.py", "cli/b/one.py"]}


def test_the_repository_keeps_the_limits(capsys: pytest.CaptureFixture[str]):
    status = prose.main([])
    assert status == 0, capsys.readouterr().out
