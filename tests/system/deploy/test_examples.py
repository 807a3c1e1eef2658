"""The deployment examples name only things that exist."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import yaml
from support.dockerfiles import FUNCTIONS
from support.echo_server import Echo
from support.http_servers import free_port

from shared.indexing.webhook_handler import CONCURRENCY
from shared.search import json_body
from shared.settings import CHECKOUT, DEFAULTS, ENVIRONMENT, LEAST_DECODE_MEMORY

DEPLOY = CHECKOUT / "deploy"
MIB = 1024**2
# Beside its decoders a function takes its processes, with texts of a whole batch those of query, and the
# files or the bodies and the previews at work.
BESIDE = {
    "embed_on_upload": 225 * MIB + CONCURRENCY * int(DEFAULTS["max_image_bytes"]),
    "query": (480 + 450 + 275) * MIB,
}
LIMITS = {"embed_on_upload": ("1536Mi", 1536 * MIB), "query": ("2Gi", 2048 * MIB)}
SECRET = {"SUPABASE_SECRET_KEY", "EMBED_WEBHOOK_SECRET"}
KNOWN = {name for names in ENVIRONMENT.values() for name in names}
NEEDED = {
    "query": {"SUPABASE_URL", "SUPABASE_PUBLISHABLE_KEY"},
    "embed_on_upload": {"SUPABASE_URL", "SUPABASE_PUBLISHABLE_KEY"} | SECRET,
}


def cloud_run(function: str) -> dict:
    service = yaml.safe_load((DEPLOY / "cloud_run" / f"{function}.yaml").read_text())
    (container,) = service["spec"]["template"]["spec"]["containers"]
    return container


def compose(function: str) -> dict:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"][function.replace("_", "-")]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_each_function_is_given_what_it_needs_and_no_more(function):
    beside = {"SUPABASE_PUBLIC_URL"} if function == "query" else set()  # another name than the container's
    assert set(compose(function)["environment"]) == NEEDED[function] | beside <= KNOWN
    assert {one["name"] for one in cloud_run(function)["env"]} == NEEDED[function] | {"MAX_DECODE_MEMORY"}


def test_the_function_that_works_on_after_its_answer_keeps_its_processor():
    service = yaml.safe_load((DEPLOY / "cloud_run" / "embed_on_upload.yaml").read_text())
    annotations = service["spec"]["template"]["metadata"]["annotations"]
    assert annotations["run.googleapis.com/cpu-throttling"] == "false"


def test_each_cloud_run_service_has_an_account_of_its_own():
    accounts = {
        yaml.safe_load(path.read_text())["spec"]["template"]["spec"]["serviceAccountName"]
        for path in (DEPLOY / "cloud_run").glob("*.yaml")
    }
    assert len(accounts) == 2


@pytest.mark.parametrize("function", FUNCTIONS)
def test_cloud_run_starts_a_bounded_number_of_containers(function):
    service = yaml.safe_load((DEPLOY / "cloud_run" / f"{function}.yaml").read_text())
    annotations = service["spec"]["template"]["metadata"]["annotations"]
    assert 1 <= int(annotations["autoscaling.knative.dev/maxScale"]) <= 100


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_decoder_is_stopped_before_a_container_of_limited_memory_is(function):
    container = cloud_run(function)
    told, limit = LIMITS[function]
    assert container["resources"]["limits"] == {"cpu": "2", "memory": told}  # so two decoders
    [memory] = [int(one["value"]) for one in container["env"] if one["name"] == "MAX_DECODE_MEMORY"]
    assert LEAST_DECODE_MEMORY <= memory <= (limit - BESIDE[function]) / 2


@pytest.mark.parametrize("function", FUNCTIONS)
def test_secrets_come_from_a_secret_store_or_the_environment(function):
    values = {one["name"]: one for one in cloud_run(function)["env"]}
    assert all("secretKeyRef" in values[name]["valueFrom"] for name in SECRET & values.keys())
    mine = compose(function)["environment"]
    assert all(mine[name].startswith("${") for name in SECRET & mine.keys())


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_health_check_asks_the_container_itself_whatever_proxy_is_set(function):
    _, _, *program = compose(function)["healthcheck"]["test"]
    with Echo() as container:
        own = [text.replace("http://127.0.0.1:8080", container.url) for text in program]
        done = subprocess.run([sys.executable, *own], env={"http_proxy": f"http://127.0.0.1:{free_port()}"})
    assert done.returncode == 0 and [one.path for one in container.received] == ["/live"]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_container_gets_traffic_only_once_its_models_answer(function):
    assert cloud_run(function)["startupProbe"]["httpGet"]["path"] == "/live"
    assert "/live" in compose(function)["healthcheck"]["test"][-1]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_compose_builds_our_dockerfiles_and_leaves_the_containers_no_right_to_write(function):
    service = compose(function)
    folder = (DEPLOY / service["build"]["context"]).resolve()
    assert (folder / service["build"]["dockerfile"]).samefile(
        CHECKOUT / "functions" / function / "Dockerfile"
    )
    assert service["read_only"] and service["tmpfs"] == ["/tmp"] and service["cap_drop"] == ["ALL"]


def test_no_container_of_compose_gains_rights():
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    assert {tuple(service["security_opt"]) for service in services.values()} == {("no-new-privileges:true",)}


def test_compose_bounds_the_logs():
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    for service in services.values():
        assert {"max-size", "max-file"} <= service["logging"]["options"].keys()


def test_compose_publishes_query_behind_a_proxy_that_buffers_requests():
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    published = [name for name, service in services["services"].items() if "ports" in service]
    assert published == ["proxy"]
    proxy = services["configs"]["proxy"]["content"]
    assert "proxy_request_buffering on" in proxy and "set $$query query:8080" in proxy
    [most] = re.findall(r"client_max_body_size (\d+)m", proxy)
    assert int(most) * 1024**2 > int(DEFAULTS["max_image_bytes"]) * 4 / 3 + json_body.MAX_BYTES
