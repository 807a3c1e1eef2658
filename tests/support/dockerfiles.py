"""Dockerfiles as data: stages with their instructions. Only as much of the language as ours use."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from shared.settings import CHECKOUT

FUNCTIONS = ("embed_on_upload", "query")
WORDS = re.compile(r"^(\w+) +(.*)$", re.S)


@dataclass
class Stage:
    name: str
    base: str
    instructions: list[tuple[str, str]] = field(default_factory=list)  # (COPY, its arguments) and so on

    def arguments(self, word: str) -> list[str]:
        return [text for name, text in self.instructions if name == word]


def path(function: str) -> Path:
    return CHECKOUT / "functions" / function / "Dockerfile"


def stages(function: str) -> dict[str, Stage]:
    """In the file's order."""
    text = re.sub(r"^#.*\n", "", path(function).read_text(), flags=re.M).replace("\\\n", " ")
    found: dict[str, Stage] = {}
    for line in filter(None, (line.strip() for line in text.splitlines())):
        word, rest = WORDS.match(line).groups()
        if word == "FROM":
            base, _, name = rest.split()
            found[name] = stage = Stage(name, base)
        elif found:
            stage.instructions.append((word, " ".join(rest.split())))
    return found


def copied(stage: Stage) -> list[str]:
    """The stage's sources in the build's context."""
    own = [text.split() for text in stage.arguments("COPY") if "--from=" not in text]
    return [source for *sources, _ in own for source in sources]


def taken(stage: Stage) -> set[str]:
    """The stages it copies from."""
    return {name for text in stage.arguments("COPY") for name in re.findall(r"--from=(\w+)", text)}


def reaches_the_build(name: str) -> bool:
    """Whether .dockerignore lets this file into the build."""
    lines = (CHECKOUT / ".dockerignore").read_text().splitlines()
    rules = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    above = [parent.as_posix() for parent in Path(name).parents if parent != Path()]
    return _included(name, rules) and all(_is_entered(folder, rules) for folder in above)


def _included(name: str, rules: list[str]) -> bool:
    """The last line that fits it or a folder above it decides."""
    above = [parent.as_posix() for parent in Path(name).parents if parent != Path()]
    fitting = [rule for rule in rules if any(map(_pattern(rule).fullmatch, [*above, name]))]
    return not fitting or fitting[-1].startswith("!")


def _is_entered(folder: str, rules: list[str]) -> bool:
    """Docker looks into a left-out folder only where a line that takes files in begins with its name."""
    return _included(folder, rules) or any(rule.startswith(f"!{folder}/") for rule in rules)


def _pattern(rule: str) -> re.Pattern[str]:
    """`**/` is any number of folders, `*` stays within one."""
    parts = re.split(r"(\*\*/|\*)", rule.lstrip("!"))
    return re.compile("".join({"**/": "(.*/)?", "*": "[^/]*"}.get(part, re.escape(part)) for part in parts))
