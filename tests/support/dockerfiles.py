"""Dockerfiles as data: stages with their instructions. Only as much of the language as ours use."""

from __future__ import annotations

import fnmatch
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
    """Whether .dockerignore lets this file into the build: the last line that fits decides."""
    included = True
    lines = (CHECKOUT / ".dockerignore").read_text().splitlines()
    for line in filter(None, (line.strip() for line in lines if not line.startswith("#"))):
        pattern = line.lstrip("!").removeprefix("**/")
        parents = [*Path(name).parents, Path(name)]
        within = line.lstrip("!").startswith("**/")
        if any(_fits(part.as_posix(), pattern, within) for part in parents if part != Path()):
            included = line.startswith("!")
    return included


def _fits(name: str, pattern: str, within: bool) -> bool:
    if within:
        return any(fnmatch.fnmatch(part, pattern) for part in name.split("/"))
    parts, patterns = name.split("/"), pattern.split("/")
    return len(parts) == len(patterns) and all(map(fnmatch.fnmatch, parts, patterns))
