"""A container that can't serve as it was told says so at once, and ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from shared.embedding import artifacts
from shared.embedding.model_config import ImageInput, ModelConfig, Resize
from shared.settings import CHECKOUT

# A CPU image has no torch; this process must not see the one that is installed here.
START = """
import runpy, sys
sys.modules["torch"] = None
sys.argv = ["start.py"]
runpy.run_path("deploy/start.py", run_name="{name}")["check"]()
print("serves")
"""
IMAGE = ImageInput(
    resize=Resize.stretch, size=(8, 8), edge=8, resample=2, mean=(0.0,) * 3, std=(1.0,) * 3, pooling=""
)


@pytest.fixture
def baked(tmp_path: Path) -> Path:
    """A cache with the conversion of `our-own`, as far as starting looks at it."""
    folder = tmp_path / "our-own" / "0123"
    folder.mkdir(parents=True)
    record = ModelConfig(model="our-own", architecture="vit", dimensions=8, image=IMAGE, text=None)
    (folder / artifacts.RECORD).write_text(record.to_json())
    artifacts.seal(folder)
    return tmp_path


def start(cache: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    own = {"PYTHONPATH": str(CHECKOUT), "EMBEDDING_CACHE": str(cache), "EMBEDDING_ENGINE": "openvino"}
    return subprocess.run(
        [sys.executable, "-c", START.format(name="start")],
        env=own | environment,
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_model_that_is_built_in_is_served(baked):
    done = start(baked, EMBEDDING_MODELS="our-own")
    assert (done.returncode, done.stdout.strip()) == (0, "serves"), done.stderr


@pytest.mark.parametrize("wanted", ["google/siglip2-base-patch16-224", "our-own,efficientnet-lite0"])
def test_a_model_that_is_not_built_in_stops_the_container_with_what_it_has(baked, wanted):
    done = start(baked, EMBEDDING_MODELS=wanted)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("error: A model isn't converted in ")
    assert (
        f"(there: our-own): {wanted.split(',')[-1]!r}. " in done.stderr and len(done.stderr.splitlines()) == 1
    )


@pytest.mark.parametrize("secret", ["Zq3-x91Lm_70w.hTf2K8vP", "9fXc0/aPq44Lw-2Ztb81Nk"])
def test_a_secret_in_the_place_of_a_model_stops_the_container_and_is_not_told(baked, secret):
    done = start(baked, EMBEDDING_MODELS=secret)
    assert done.returncode == 1 and "(there: our-own): a text of 22 characters." in done.stderr
    assert secret not in done.stderr


def test_a_model_whose_files_are_damaged_stops_the_container(baked):
    record = baked / "our-own" / "0123" / artifacts.RECORD
    record.write_text(record.read_text() + " ")
    done = start(baked, EMBEDDING_MODELS="our-own")
    assert done.returncode == 1 and "there: none" in done.stderr


def test_a_setting_that_makes_no_sense_stops_the_container(baked):
    done = start(baked, EMBEDDING_MODELS="our-own", SUPABASE_URL="my-project")
    assert done.returncode == 1 and done.stderr.startswith("error: SUPABASE_URL is a text of 10 characters")


def serve(target: str, **environment: str) -> subprocess.CompletedProcess[str]:
    source = CHECKOUT / "functions" / target / "main.py"
    return subprocess.run(
        [sys.executable, "-m", "shared.http.server", "--target", target, "--source", str(source)],
        env={"PYTHONPATH": str(CHECKOUT), "SUPABASE_URL": "http://127.0.0.1:9"} | environment,
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


SECRETS = {
    "SUPABASE_SECRET_KEY": "sb_secret_of_the_project",
    "SUPABASE_SECRET_KEYS": '{"default": "sb_secret_of_the_project"}',
    "DATABASE_URL": "postgresql://postgres:hunter22@127.0.0.1:9/postgres",
}


@pytest.mark.parametrize("name", SECRETS)
def test_query_doesnt_start_with_what_its_callers_havent(name):
    done = serve("query", **{name: SECRETS[name]})
    assert done.returncode == 1 and done.stderr.startswith(f"error: {name} in the environment of a function")
    assert "of_the_project" not in done.stderr and "hunter22" not in done.stderr


@pytest.mark.parametrize(
    ("name", "value"), [("WORKERS", "0"), ("WORKERS", "abc"), ("THREADS", "-1"), ("THREADS", "")]
)
def test_a_server_without_workers_or_threads_doesnt_start(name, value):
    done = serve("query", **{name: value})
    assert done.returncode == 1 and done.stderr.startswith(f"error: {name} is ")


def test_a_port_beyond_the_last_is_refused_by_name():
    done = serve("query", PORT="99999")
    assert done.returncode == 2 and "--port" in done.stderr and "Traceback" not in done.stderr
