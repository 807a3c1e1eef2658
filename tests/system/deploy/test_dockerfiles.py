"""The images, without building them; `python -m deploy.try` builds and runs them."""

from __future__ import annotations

import ast
import json
import re
import subprocess

import pytest
from support.dockerfiles import FUNCTIONS, copied, path, reaches_the_build, stages, taken

from shared.settings import CHECKOUT, ENVIRONMENT

EACH = pytest.mark.parametrize("function", FUNCTIONS)


def closure(modules: set[str]) -> set[str]:
    """The files of `shared` that these modules need, by every import anywhere in them."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        file = CHECKOUT / waiting.pop()
        name = file.relative_to(CHECKOUT).as_posix()
        if name in found or not file.exists():
            continue
        found.add(name)
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "shared":
                place = node.module.replace(".", "/")
                waiting += [f"{place}.py", f"{place}/__init__.py"]
                waiting += [f"{place}/{alias.name}.py" for alias in node.names]
    return found


def test_the_two_dockerfiles_differ_in_nothing_but_the_functions_name():
    texts = {path(function).read_text().replace(function, "FUNCTION") for function in FUNCTIONS}
    assert len(texts) == 1


@EACH
def test_what_is_built_unless_another_target_is_named_is_for_a_cpu(function):
    assert list(stages(function))[-1] == "cpu"


@EACH
def test_the_cpu_image_takes_nothing_from_a_stage_that_has_torch(function):
    every = stages(function)
    cpu = every["cpu"]
    assert taken(cpu) == {"slim", "models", "app"} and cpu.base == "runtime"
    assert every["slim"].base == "packages" and every["runtime"].base == "${BASE}"
    assert [text for text in cpu.arguments("COPY") if "--from=models" in text] == [
        "--from=models /models /models"
    ]
    assert not any("requirements.py torch" in text for text in every["packages"].arguments("RUN"))


@EACH
@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_a_container_runs_as_a_numbered_user_who_is_not_root(function, target):
    every = stages(function)
    assert every[target].base == "runtime" and not every[target].arguments("USER")
    (user,) = every["runtime"].arguments("USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)  # a name would not satisfy runAsNonRoot


@EACH
@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_the_server_gets_its_signals_itself_and_serves_this_function_on_port(function, target):
    every = stages(function)
    (entry,) = every["runtime"].arguments("ENTRYPOINT")
    assert json.loads(entry) == ["python3", "/app/start.py"]
    assert "PORT=8080" in every["runtime"].arguments("ENV")[0]
    names = f"FUNCTION_TARGET={function} FUNCTION_SOURCE=/app/functions/{function}/main.py"
    assert every[target].arguments("ENV")[-1] == names


@EACH
@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_what_differs_between_the_functions_comes_after_the_large_layers(function, target):
    own = stages(function)[target].instructions
    assert [word for word, text in own if function in text] == ["ENV"]
    assert own[-2] == ("COPY", "--from=app /app /app")


@EACH
def test_whatever_is_copied_is_there_and_reaches_the_build(function):
    sources = [source for stage in stages(function).values() for source in copied(stage)]
    assert len(sources) > 5
    for source in sources:
        files = [CHECKOUT / source] if (CHECKOUT / source).is_file() else (CHECKOUT / source).rglob("*.py")
        names = [file.relative_to(CHECKOUT).as_posix() for file in files]
        assert names and all(map(reaches_the_build, names)), source


@EACH
def test_the_image_holds_shared_and_this_function_and_nothing_else_of_ours(function):
    assert copied(stages(function)["app"]) == [
        "deploy/start.py",
        "shared",
        f"functions/{function}",
    ]


@EACH
def test_our_code_is_readable_for_the_containers_user_whatever_modes_the_checkout_has(function):
    """A clone under umask 077 has 0600, which COPY keeps."""
    assert stages(function)["app"].arguments("RUN")[-1].endswith(" && chmod -R a+rX /app")


@pytest.mark.parametrize(
    "name",
    [
        ".env",
        ".git/config",
        ".local/stack.env",
        "examples/images/energy/dam_1.jpg",
        "functions/query/Dockerfile",
        "functions/query/README.md",
        "shared/__pycache__/settings.cpython-311.pyc",
        "tests/conftest.py",
        "cli/app.py",
        # an operator's own beside our code, where git ignores it or not
        "functions/.env",
        "functions/query/.env",
        "functions/query/.env.local",
        "functions/query/page/vendor/.env",
        "functions/query/page/key.pem",
        "functions/query/key.pem",
        "functions/embed_on_upload/service-account.json",
        "shared/.env",
        "shared/id_rsa",
        "shared/settings/.mypy_cache/3.11/builtins.data.json",
    ],
)
def test_what_no_image_needs_stays_out_of_the_build(name):
    assert not reaches_the_build(name)


def test_all_that_git_knows_of_our_code_and_its_data_reaches_the_build():
    command = ["git", "ls-files", "-z", "shared", "functions"]
    known = subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True, text=True).stdout.split(
        "\0"
    )
    ours = [name for name in known if name and not name.endswith(("/Dockerfile", "/README.md"))]
    assert len(ours) > 100 and [name for name in ours if not reaches_the_build(name)] == []


@EACH
def test_the_conversion_has_every_module_that_it_imports(function):
    sources = copied(stages(function)["models"])
    there = {
        file.relative_to(CHECKOUT).as_posix()
        for source in sources
        for file in ([CHECKOUT / source] if source.endswith(".py") else (CHECKOUT / source).rglob("*.py"))
    }
    assert closure({"shared/embedding/conversion/convert.py", "shared/embedding/__init__.py"}) <= there


@EACH
def test_the_image_sets_no_variable_that_nothing_reads(function):
    every = stages(function)
    lines = [text for name in ("runtime", "cpu", "gpu") for text in every[name].arguments("ENV")]
    names = {word.split("=")[0] for line in lines for word in line.split()}
    foreign = {"PATH", "HOME", "PORT", "HF_HOME", "HF_HUB_OFFLINE"}
    others = {name for name in names - foreign if not name.startswith(("PYTHON", "FUNCTION_", "NVIDIA_"))}
    assert others <= {name for alternatives in ENVIRONMENT.values() for name in alternatives}


@EACH
@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_a_builders_cache_cannot_give_an_image_the_names_of_another_ones_models(function, target):
    words = [text for _, text in stages(function)[target].instructions]
    names = words.index("EMBEDDING_MODELS=${EMBEDDING_MODELS}")
    assert names > next(place for place, text in enumerate(words) if text.endswith("/models /models"))


def test_every_build_argument_is_documented():
    documented = (CHECKOUT / "docs/deploy.md").read_text()
    arguments = set(re.findall(r"^ARG (\w+)", path("query").read_text(), flags=re.M))
    assert arguments and {name for name in arguments if f"`{name}`" not in documented} == set()
