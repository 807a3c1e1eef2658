"""Duplicated, late, reordered and lost webhooks change nothing but latency. The soak has the real model."""

from __future__ import annotations

from functools import partial

import pytest
import requests
from soak.fuzz import ACTS, Played, play
from soak.project import Project
from soak.proxy import webhook_proxy
from support.databases import DIMENSIONS, MODEL, clone
from support.running_project import running

from local.postgres import Cluster
from shared import images, settings
from shared.indexing.worker import build_worker
from shared.runtime.metrics import Metrics
from shared.runtime.model_registry import ModelRegistry
from shared.settings import Settings
from shared.supabase import credentials
from shared.supabase.database import Database, http_client
from shared.supabase.storage import Storage
from shared.testing import ColourEmbedder

SEED = 7
OPERATIONS = 60
EMBEDDER = ColourEmbedder(MODEL, DIMENSIONS)


@pytest.fixture(scope="module")
def played(cluster: Cluster, template: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Played]:
    """All acts, one after the other."""
    folder = tmp_path_factory.mktemp("fuzz")
    with (
        clone(cluster, template) as database,
        running(database.url, folder) as served,
        webhook_proxy(f"{served.url}/functions/v1/embed_on_upload", SEED) as proxy,
    ):
        told = settings.load(
            {
                "SUPABASE_URL": served.url,
                "SUPABASE_SECRET_KEY": served.keys.secret,
                "DATABASE_URL": database.url(),
            }
        )
        project = Project(told)
        project.prepare()
        with project.connect() as connection:
            connection.execute("select neural_search.limit_kicks(100)")  # a webhook for each event
            project.reschedule(connection, "neural-search-kick", "1 second")
            project.reschedule(connection, "neural-search-reconcile", "2 seconds")
        project.send_webhooks_to(proxy.url)
        play_here = partial(
            play,
            project=project,
            proxy=proxy,
            drain=partial(work_off, told),
            embed=EMBEDDER.embed_images,
            rate=100,
        )
        return {
            act.name: play_here(act, operations=round(OPERATIONS * act.share), within=20, seed=SEED + number)
            for number, act in enumerate(ACTS)
        }


def work_off(told: Settings) -> None:
    """`neural-search worker --once`, with a model that weighs nothing."""
    service = credentials.service(told)
    models = ModelRegistry([MODEL], lambda model: EMBEDDER)
    with requests.Session() as session, http_client() as http:
        build_worker(
            database=partial(Database, told.supabase_url, service, http),
            storage=Storage(told.supabase_url, service, session),
            models=models,
            decode=partial(images.decode, max_bytes=told.max_image_bytes, max_pixels=told.max_image_pixels),
            metrics=Metrics(),
            max_bytes=told.max_image_bytes,
            concurrency=2,
        ).run(lambda _: None)


@pytest.mark.parametrize("act", [act.name for act in ACTS])
def test_whatever_happens_to_webhooks_nothing_is_lost_left_behind_or_wrong(
    played: dict[str, Played], act: str
):
    verdict = played[act].verdict
    assert [str(violation) for violation in verdict.violations] == []
    assert verdict.given_up == ()
    assert verdict.documents > 10
    assert verdict.vectors == verdict.documents


def test_every_mishap_happened(played: dict[str, Played]):
    mishaps = played["30% of each"].mishaps
    assert all(mishaps[mishap] > 0 for mishap in ("drop", "duplicate", "delay", "reorder")), mishaps


def test_in_the_last_act_no_webhook_came_through(played: dict[str, Played]):
    assert played["no webhooks"].delivered == 0
    assert played["no webhooks"].mishaps["drop"] > 0
