"""`python -m deploy.try`: build both containers, and take images through them from upload to search result.

Takes buildah, the right to run it, and the project's virtual environment; no Docker, and no registry once the
base is a local image. The containers run beside an embedded stack of their own, which ends with
them; the images stay.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import requests

from deploy import buildah
from deploy.buildah import Container
from deploy.environment import encoders
from shared import settings
from shared.settings import CHECKOUT, Settings
from shared.testing import free_port

FUNCTIONS = ("embed_on_upload", "query")
PICTURE = CHECKOUT / "examples/images/energy/windmill_1.jpg"
LEFT_BEHIND = """
from importlib.util import find_spec
print([name for name in ("torch", "transformers", "sentence_transformers", "pip") if find_spec(name)])
"""
UNBAKED = "google/siglip2-base-patch16-224"
START_SECONDS = 120.0
REPOSITORY = "localhost/neural-search"


def main() -> None:
    options = _options()
    os.chdir(CHECKOUT)
    for function in FUNCTIONS:
        _build(function, options)
        _look_inside(function)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="neural-search-containers-")))
        folder.chmod(0o711)  # Postgres runs as another user
        project = stack.enter_context(_embedded_stack(folder, options.port))
        urls = {name: f"http://127.0.0.1:{free_port()}" for name in FUNCTIONS}
        _refuses_an_unbaked_model(folder)
        started = {
            name: stack.enter_context(_running(name, urls[name], project, folder)) for name in FUNCTIONS
        }
        _upload_and_search(project, urls)
        for name, container in started.items():
            _report_memory(name, container)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deploy.try", description=__doc__)
    parser.add_argument("--base", help="the base image (default: the Dockerfile's)")
    parser.add_argument(
        "--models", default="efficientnet-lite0-concepts", help="EMBEDDING_MODELS to build in"
    )
    parser.add_argument("--torch-index", help="package index of torch (default: PyTorch's for CPUs)")
    parser.add_argument(
        "--build-options", default="", help="more for `buildah bud`, such as --volume of a pip.conf"
    )
    parser.add_argument("--port", type=int, default=56321, help="of the embedded stack")
    return parser.parse_args()


def _build(function: str, options: argparse.Namespace) -> None:
    given = {"BASE": options.base, "TORCH_INDEX": options.torch_index, "EMBEDDING_MODELS": options.models}
    arguments = {name: value for name, value in given.items() if value is not None}
    began = time.monotonic()
    buildah.build(
        Path("functions", function, "Dockerfile"),
        f"{REPOSITORY}/{function}",
        arguments,
        shlex.split(options.build_options),
    )
    _say(f"{function}: built in {time.monotonic() - began:.0f} s, {buildah.size(f'{REPOSITORY}/{function}')}")


def _look_inside(function: str) -> None:
    """Looks in the image itself for files that it must not hold."""
    with _container(function, {}, Path(os.devnull)) as container:
        found = container.run("python3", "-c", LEFT_BEHIND).strip()
        assert found == "[]", f"the image holds what only building needs: {found}"
        uid = container.run("python3", "-c", "import os; print(os.getuid(), os.access('/app', os.W_OK))")
        assert uid.split() == ["65532", "False"], f"expected uid 65532 that can't write, found {uid}"
        others = [path for path in (container.root / "app/functions").iterdir() if path.name != function]
        assert not others, f"the image of {function} holds {others}"
        left = encoders(container.root / "opt/venv")
        assert not left, f"the image of {function} holds encoders under the GPL: {left}"
    _say(f"{function}: uid 65532, no torch, transformers or pip, no encoder under the GPL, no other function")


def _refuses_an_unbaked_model(folder: Path) -> None:
    log = folder / "unbaked.log"
    with _container("query", {"EMBEDDING_MODELS": UNBAKED}, log) as container:
        container.start()
        status = container.wait(START_SECONDS)
        said = [line for line in container.log().splitlines() if line.startswith("error: ")]
        assert status != 0 and said, container.log()
        _say(f"query with EMBEDDING_MODELS={UNBAKED}: exit status {status}\n  {said[0]}")


@contextmanager
def _embedded_stack(folder: Path, port: int) -> Iterator[Settings]:
    """Its own processes of the functions are not called: `install` names the containers to the database."""
    place = {"LOCAL_DATA": str(folder / "stack"), "LOCAL_PORT": str(port)}
    _command(["up", "--detach"], place)
    try:
        yield settings.load(place)
    finally:
        _command(["down"], place)


@contextmanager
def _running(function: str, url: str, project: Settings, folder: Path) -> Iterator[Container]:
    values = {"SUPABASE_URL": project.supabase_url, "SUPABASE_PUBLISHABLE_KEY": project.publishable_key}
    if function == "embed_on_upload":
        secret = project.webhook_secrets[0]
        values |= {"SUPABASE_SECRET_KEY": project.secret_key, "EMBED_WEBHOOK_SECRET": secret}
    values |= {"PORT": url.rsplit(":", 1)[1]}
    with _container(function, values, folder / f"{function}.log") as container:
        marker = folder / f"{function}.start"
        marker.touch()
        began = time.monotonic()
        container.start()
        _wait_until_live(container, url)
        _say(f"{function}: /live answers {time.monotonic() - began:.1f} s after the start, a model loaded")
        yield container
        _say(f"{function}: wrote {_written(container, marker) or 'nothing'} outside /tmp")
        began = time.monotonic()
    _say(f"{function}: stopped by SIGTERM in {time.monotonic() - began:.1f} s")


@contextmanager
def _container(function: str, environment: Mapping[str, str], log: Path) -> Iterator[Container]:
    container = Container(f"{REPOSITORY}/{function}", environment, log)
    try:
        yield container
    finally:
        container.remove()


def _wait_until_live(container: Container, url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and not container.has_ended():
        try:
            if requests.get(f"{url}/live", timeout=START_SECONDS).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.02)
    sys.exit(f"{url}/live never answered. The container's log:\n{container.log()}")


def _upload_and_search(project: Settings, urls: Mapping[str, str]) -> None:
    names = {"QUERY_URL": urls["query"], "EMBED_URL": urls["embed_on_upload"]}
    place = settings.environment(project) | names
    _command(["install"], place)
    began = time.monotonic()
    _command(["upload", "--wait", str(PICTURE)], place)
    _say(f"{PICTURE.name}: searchable {time.monotonic() - began:.1f} s after the command to upload it")
    _command(["upload", "--wait", str(PICTURE.parent)], place)
    answers = {"image": ["--image", str(PICTURE)], "text": ["--text", "a windmill"]}
    for kind, arguments in answers.items():
        found = json.loads(_command(["query", "--json", "--limit", "3", *arguments], place))
        assert found["results"] and found["results"][0]["name"].startswith("windmill"), found
        best = [(one["name"], round(one["similarity"], 3)) for one in found["results"]]
        _say(f"query by {kind}, answered by {found['model']}: {best}")
    secret = {"x-webhook-secret": project.webhook_secrets[0]}
    for name, url in urls.items():
        _say(f"{name}/health: {requests.get(f'{url}/health', headers=secret, timeout=60).text}")
    counters = requests.get(f"{urls['embed_on_upload']}/metrics", headers=secret, timeout=60).text
    (embedded,) = [line for line in counters.splitlines() if 'objects_total{status="embedded"}' in line]
    _say(f"embed_on_upload/metrics: {embedded}")


def _report_memory(name: str, container: Container) -> None:
    pss = [process.memory_full_info().pss for process in container.processes()]
    _say(f"{name}: {sum(pss) / 1e6:.0f} MB (summed PSS of {len(pss)} processes)")


def _written(container: Container, marker: Path) -> list[str]:
    """The files that the container has written since, but for those in /tmp and the kernel's own."""
    since, root = marker.stat().st_mtime, container.root
    ours = [path for path in root.iterdir() if path.name not in ("dev", "proc", "run", "sys", "tmp")]
    files = (file for path in ours for file in path.rglob("*") if file.is_file() and not file.is_symlink())
    new = {file.relative_to(root).as_posix() for file in files if file.stat().st_mtime > since}
    return sorted(new - {"etc/hosts", "etc/resolv.conf"})  # those are buildah's


def _command(arguments: list[str], environment: Mapping[str, str]) -> str:
    """The output of a `neural-search` command."""
    command = [sys.executable, "-m", "cli", *arguments]
    done = subprocess.run(
        command, env=settings.child_environment(environment), capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"neural-search {arguments[0]}: {done.stdout}{done.stderr}")
    return done.stdout


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    if shutil.which("buildah") is None:
        sys.exit("buildah is missing. On Debian or Ubuntu: apt-get install buildah")
    main()
