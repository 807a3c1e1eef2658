"""Counts relative pronouns in docstrings and comments, and modules that share a name.

`python -m tests.support.prose [FOLDER]…` prints the worst files, of all or of some folders; exit status 1
beyond the limits. A noun names a thing, a relative clause describes it anew each time: `what` and `whoever`
give those away.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
MOST = {"what": 3.0, "whoever, whom": 0.5}  # per 1,000 words
FORMS = {"what": {"what", "whatever"}, "whoever, whom": {"whoever", "whom", "whomever"}}
PATTERNS = ("**/*.py", "supabase/sql/**/*.sql", "functions/query/page/*.js")
# Not compared by name: modules named by their folders, commands, which are named as they are typed, and the
# embedded stack, a product of its own with the same parts in each dialect.
NAMELESS = {"__init__", "__main__", "main", "conftest"}
OTHERS = ("tests/", "examples/", "local/", "cli/commands/")
WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
SQL_LINE = re.compile(r"--(.*)$", re.M)
SQL_OBJECT = re.compile(r"^comment on [^;]*? is\s+((?:'(?:[^']|'')*'\s*)+);", re.M)
JS_COMMENT = re.compile(r"/\*(.*?)\*/|(?:^|\s)//(.*)$", re.M | re.S)
WORST = 20  # files that are printed


@dataclass(frozen=True, kw_only=True)
class Count:
    """One file's words, and how many of them are pronouns of each kind."""

    path: str
    words: int
    found: Counter[str]

    def rate(self, kind: str) -> float:
        return 1000 * self.found[kind] / self.words if self.words else 0.0


def count(path: str, prose: str) -> Count:
    """The words of `prose`; code in backticks is no word."""
    words = [word.lower().removesuffix("'s") for word in WORD.findall(re.sub(r"`[^`]*`", " ", prose))]
    found = Counter(kind for word in words for kind, forms in FORMS.items() if word in forms)
    return Count(path=path, words=len(words), found=found)


def prose(path: Path) -> str:
    """The docstrings and comments of a file of Python, SQL or JavaScript."""
    if path.suffix == ".py":
        return "\n".join((*_docstrings(path), *_comments(path)))
    text = path.read_text()
    if path.suffix == ".sql":
        return "\n".join([*SQL_LINE.findall(text), *SQL_OBJECT.findall(text)])
    return "\n".join(block or line for block, line in JS_COMMENT.findall(text))


def _docstrings(path: Path) -> Iterator[str]:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, documented):
            yield ast.get_docstring(node) or ""


def _comments(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.COMMENT:
                yield token.string.lstrip("#")


def tracked(*patterns: str) -> list[Path]:
    listed = ["git", "ls-files", "-z", "--", *(f":(glob){pattern}" for pattern in patterns)]
    names = subprocess.run(listed, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    return [CHECKOUT / name for name in names.split("\0") if name]


def namesakes(paths: Iterable[Path]) -> dict[str, list[str]]:
    """The modules that share a name."""
    by_name: defaultdict[str, list[str]] = defaultdict(list)
    for path in paths:
        if path.suffix == ".py" and path.stem not in NAMELESS and not str(path).startswith(OTHERS):
            by_name[path.stem].append(str(path))
    return {name: places for name, places in sorted(by_name.items()) if len(places) > 1}


def main(folders: Sequence[str]) -> int:
    paths = [path.relative_to(CHECKOUT) for path in tracked(*PATTERNS)]
    chosen = [path for path in paths if not folders or str(path).startswith(tuple(folders))]
    counts = [count(str(path), prose(CHECKOUT / path)) for path in chosen]
    words = sum(one.words for one in counts)
    is_over = False
    for kind, most in MOST.items():
        rate = 1000 * sum(one.found[kind] for one in counts) / words
        is_over |= rate >= most
        print(f"{kind}: {rate:.2f} per 1,000 of {words:,} words (to be below {most})")
        worst = sorted(counts, key=lambda one: one.found[kind], reverse=True)[:WORST]
        for one in filter(lambda one: one.found[kind], worst):
            print(f"  {one.found[kind]:4} ({one.rate(kind):5.1f})  {one.path}")
    same = namesakes(paths)
    for name, places in same.items():
        print(f"{name}: {', '.join(places)}")
    return int(is_over or bool(same))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
