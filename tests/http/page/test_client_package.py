"""The npm client in Node, Deno and Chromium, on the embedded stack; and that its types are the API's."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser
from support import npm_packages
from support.http_servers import QuietHandler, threaded

from local import keys
from local.stack import Stack
from shared.settings import CHECKOUT, bare_environment

HERE = Path(__file__).parent
PACKAGE = CHECKOUT / "packages" / "client"
PANDA = CHECKOUT / "examples" / "images" / "animals" / "panda.jpg"

Given = dict[str, Any]
Run = Callable[[Given], dict[str, Any]]


@pytest.fixture(scope="module")
def package() -> Path:
    """The package, built."""
    npm_packages.install(PACKAGE)
    return PACKAGE


@pytest.fixture(scope="module")
def given(embedded_stack: Stack) -> Given:
    target = embedded_stack.settings
    token = keys.load(target.local_data).mint(
        "authenticated", {"sub": "3f0c6a5e-0000-4000-8000-000000000001"}
    )
    return {
        "url": target.query_url,
        "key": str(target.publishable_key),
        "token": str(token),
        "picture": base64.b64encode(PANDA.read_bytes()).decode(),
    }


@pytest.fixture(params=["node", "deno", "chromium"])
def run(request: pytest.FixtureRequest, package: Path) -> Run:
    if request.param == "chromium":
        site, browser = (request.getfixturevalue(name) for name in ("checkout_site", "chromium"))
        return partial(in_chromium, site, browser)
    deno = [package / "node_modules" / ".bin" / "deno", "run", "--allow-net", "--allow-env", "--allow-read"]
    command = {"node": ["node"], "deno": deno}[request.param]
    return partial(in_process, [*command, HERE / "client_program.mjs", (package / "dist/index.js").as_uri()])


@pytest.fixture(scope="module")
def checkout_site() -> Iterator[str]:
    """The checkout's files at an origin of their own, as a bundler's server would have them."""
    handler = partial(QuietHandler, directory=str(CHECKOUT))
    with threaded(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as url:
        yield url


def in_process(command: list[str | Path], given: Given) -> dict[str, Any]:
    environment = bare_environment({"SCENARIO": json.dumps(given)})
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def in_chromium(site: str, browser: Browser, given: Given) -> dict[str, Any]:
    page = browser.new_page()
    page.goto(f"{site}/docs/")
    answer: dict[str, Any] = page.evaluate(
        """async (given) => {
            const client = await import('/packages/client/dist/index.js')
            const { scenario } = await import('/tests/http/page/client_scenario.js')
            return scenario(client, given)
        }""",
        given,
    )
    page.close()
    return answer


def test_it_uploads_and_searches_in_every_runtime(run: Run, given: Given):
    name = f"client/{PANDA.name}"
    told = run(given | {"name": name})
    assert told["uploaded"] == "searchable" and told["found"] == dict.fromkeys(
        ("base64", "bytes", "buffer", "blob"), name
    )
    assert told["preview"] == "image/webp"
    assert name not in told["next"] and told["signedIn"] == [name] and told["aborted"] == "AbortError"
    assert len(set(map(tuple, told["similar"]))) == 1 and name not in told["similar"][0]
    errors = told["errors"]
    types = {kind: (error["type"], error["status"]) for kind, error in errors.items()}
    assert types == {
        "problem": ("invalid-limit", 400),
        "forged": ("unauthorized", 401),
        "unsendable": ("unauthorized", 401),
        "notAnImage": ("not-an-image", 422),
        "unreachable": ("unreachable", 0),
        "another": ("unreachable", 0),
        "escaped": ("about:blank", 500),
        "noResults": ("unreachable", 0),
        "long": ("about:blank", 502),
        "password": ("unreachable", 0),
        "echoed": ("about:blank", 429),
    }
    assert "1000" in errors["problem"]["detail"]
    assert errors["long"]["detail"] == "HTTP 502: more than 65536 bytes"
    assert told["read"]["cancelled"] and told["read"]["chunks"] < 10, "an error's body is read to its bound"
    everything = json.dumps(errors)
    assert given["token"][-20:] not in everything and given["token"][:40] not in everything
    assert given["key"] not in everything and "secret-word" not in everything


def test_its_types_are_those_of_the_function(package: Path, tmp_path: Path):
    written = tmp_path / "openapi.ts"
    generate(package, written)
    assert written.read_text() == (package / "src" / "openapi.ts").read_text(), (
        "openapi.json has changed: run `npm run generate` in packages/client"
    )


def generate(package: Path, target: Path) -> None:
    command = json.loads((package / "package.json").read_text())["scripts"]["generate"].split()
    program, *arguments = [*command[:-1], str(target)]
    subprocess.run([package / "node_modules/.bin" / program, *arguments], cwd=package, check=True, timeout=60)


WRONG = """
import { createClient } from '../dist/index.js'
const client = createClient('u', { key: 'k' })
client.search({ text: 'a', limit: 'ten' })
client.search({ txt: 'a' })
client.similar({ name: 'a' })
client.upload(new Blob([]), { name: 'a' })
client.search({ text: 'a' }).then(({ results }) => results[0]?.similarity.toUpperCase())
"""


def test_a_wrong_call_is_a_type_error(package: Path):
    program = package / "build" / "wrong.ts"
    program.parent.mkdir(exist_ok=True)
    program.write_text(WRONG)
    flags = ("--noEmit", "--strict", "--module", "es2022", "--moduleResolution", "bundler")
    done = subprocess.run(
        [package / "node_modules/.bin/tsc", *flags, "--target", "es2022", program],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    lines = sorted(
        {int(line.split("(")[1].split(",")[0]) for line in done.stdout.splitlines() if "error" in line}
    )
    assert lines == [4, 5, 6, 7, 8], done.stdout


def test_what_is_published_is_small_and_depends_on_nothing(package: Path):
    packed = subprocess.run(
        ["npm", "pack", "--dry-run", "--json", "--ignore-scripts"],
        cwd=package, capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    [told] = json.loads(packed) if packed.lstrip().startswith("[") else [json.loads(packed)]
    code = sum(file["size"] for file in told["files"] if file["path"].endswith(".js"))
    assert code < 8_000 and "dependencies" not in json.loads((package / "package.json").read_text())
