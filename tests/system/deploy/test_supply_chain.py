"""The images' sources are named, pinned by hash, and licensed as the notices say."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

import pytest
import yaml
from support.dockerfiles import FUNCTIONS, stages

from deploy import environment, notices
from deploy.lock import LISTING, LISTING_LOCK, LOCK
from deploy.requirements import requirements
from shared.settings import CHECKOUT

PIN = re.compile(r"^([\w.-]+)==([^\s\\;]+)", re.MULTILINE)


def pins(text: str) -> set[tuple[str, str]]:
    return {(name.lower().replace("_", "-"), version) for name, version in PIN.findall(text)}


def test_the_lock_holds_what_serves_in_the_versions_that_are_tested():
    locked = pins(LOCK.read_text())
    wanted = pins("\n".join(requirements(CHECKOUT / "pyproject.toml", [])))
    assert wanted <= locked, "run python -m deploy.lock"
    tested = pins((CHECKOUT / "constraints.txt").read_text())
    assert {one for one in locked if one[0] in {name for name, _ in tested}} <= tested


@pytest.mark.parametrize("lock", [LOCK, LISTING_LOCK], ids=lambda lock: lock.name)
def test_every_locked_package_has_hashes(lock: Path):
    for entry in re.split(r"\n(?=\S)", lock.read_text().strip()):
        assert entry.startswith("#") or "--hash=sha256:" in entry


def test_the_notices_are_those_of_the_locked_packages():
    assert notices.NOTICES.read_text() == notices.text(), "run python -m deploy.notices"
    rows = [line.split(" | ") for line in notices.NOTICES.read_text().splitlines() if line.count(" | ") == 2]
    assert [row for row in rows if not row[2].strip(" |")] == []


def test_the_notices_lead_to_every_licence_beside_our_code():
    found = [
        path.relative_to(CHECKOUT).as_posix()
        for folder in ("functions", "shared")
        for path in (CHECKOUT / folder).rglob("*")
        if re.search("LICEN[CS]E|NOTICE|COPYING", path.name) and path.suffix in ("", ".txt", ".md")
    ]
    assert len(found) >= 4
    assert set(found) == set(re.findall(r"\]\((.*?)\)", notices.NOTICES.read_text()))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_an_image_installs_by_hash_and_lists_what_it_holds(function: str):
    built = (CHECKOUT / "functions" / function / "Dockerfile").read_text()
    # A source archive would be built by packages that no hash is checked of.
    by_hash = "install --only-binary :all: --require-hashes -r deploy/"
    assert f"{by_hash}requirements.lock" in built and f"{by_hash}sbom.lock" in built
    assert "cyclonedx-py environment" in built and "sbom.cdx.json" in built
    assert pins("\n".join(LISTING)) <= pins(LISTING_LOCK.read_text())
    installing = [line for line in built.splitlines() if "pip install" in line]
    assert installing and all(by_hash in line for line in installing)
    assert "BASE=docker.io/library/python:3.13-slim@sha256:" in built


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("image", ["cpu", "gpu"])
def test_an_image_lists_all_that_is_installed_in_it(function: str, image: str):
    built = stages(function)
    [source] = re.findall(r"--from=(\w+) /opt/venv /opt/venv", " ".join(built[image].arguments("COPY")))
    commands = []
    while source in built:
        commands = built[source].arguments("RUN") + commands
        source = built[source].base
    steps = " && ".join(commands)
    assert steps.rfind("cyclonedx-py environment") > steps.rfind("--python /opt/venv/bin/python3 install")


def test_the_public_forge_runs_what_developers_run():
    workflow = yaml.safe_load((CHECKOUT / ".github/workflows/ci.yml").read_text())
    assert ".ci/run" in [step.get("run") for step in workflow["jobs"]["test"]["steps"]]
    assert workflow["permissions"] == {"contents": "read"}


def test_the_public_forge_s_actions_are_pinned_by_their_commits():
    """An action's owner can move its tags."""
    text = (CHECKOUT / ".github/workflows/ci.yml").read_text()
    used = re.findall(r"uses: (.*)", text)
    assert used
    assert [line for line in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v[\d.]+", line)] == []


def test_an_encoder_under_the_gpl_is_found_where_it_is():
    """pillow-heif makes test files; pi-heif serves."""
    site = Path(str(importlib.metadata.distribution("pillow-heif").locate_file("")))
    [found] = environment.encoders(site / "pillow_heif.libs")
    assert found.name.startswith("libx265")
    assert environment.encoders(site / "pi_heif.libs") == []


def test_the_environment_is_built_by_the_dockerfiles_own_steps(tmp_path: Path):
    made = environment.steps(environment.DOCKERFILE.read_text(), tmp_path, "/base/python3")
    assert made[0].startswith(f"/base/python3 -m venv {tmp_path}/pip && /base/python3 -m venv --without-pip")
    assert f"{tmp_path}/pip/bin/pip --python {tmp_path}/venv/bin/python3 install --only-binary" in made[1]
    assert made[-1].startswith(f"{tmp_path}/venv/bin/python3 deploy/slim.py {tmp_path}/venv/lib")
    assert not any("/opt/" in step for step in made)
