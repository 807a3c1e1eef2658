"""One object after the other through `embed_on_upload` on a running stack, beside its own steps."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

import psycopg
import requests
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.fresh_bucket import Bucket, fresh, webhook_paused
from benchmarks.photographs import photographs
from shared.settings import Settings

STEPS = ("download", "decode", "embed", "store")
STEP_SUM = "neural_search_step_seconds_sum"
WARM, COUNT = 5, 40  # calls that aren't counted, and that are
SIZE = (1600, 1200)
TIMEOUT = 60.0


def measure(settings: Settings, seed: int) -> tuple[float, dict[str, float]]:
    """Seconds of one call at its caller, the median; and of each step inside, the mean."""
    pictures = list(photographs(*SIZE, WARM + COUNT, seed))
    url = settings.need("database_url")
    with webhook_paused(url), fresh(settings, "whole", indexed=False) as bucket:
        bucket.upload(pictures, 2)
        bucket.index()
        ids = _ids(bucket)
        secret = settings.need("webhook_secrets")[0]
        with requests.Session() as session:
            session.headers["x-webhook-secret"] = secret
            for object_id in ids[:WARM]:
                _call(session, settings, object_id)
            before = steps(session, settings.embed_url, secret, STEPS)
            times = [_call(session, settings, object_id) for object_id in ids[WARM:]]
            after = steps(session, settings.embed_url, secret, STEPS)
    return statistics.median(times), {step: (after[step] - before[step]) / len(times) for step in STEPS}


def _ids(bucket: Bucket) -> list[str]:
    with psycopg.connect(bucket.url) as connection:
        select = "select id::text from storage.objects where bucket_id = %s order by name"
        return [row[0] for row in connection.execute(select, [bucket.name])]


def _call(session: requests.Session, settings: Settings, object_id: str) -> float:
    body = {"type": "INSERT", "schema": "storage", "table": "objects", "record": {"id": object_id}}
    began = time.perf_counter()
    answer = session.post(settings.embed_url, json=body, timeout=TIMEOUT)
    seconds = time.perf_counter() - began
    answer.raise_for_status()
    (result,) = answer.json()["results"]
    if result["status"] != "embedded":
        raise RuntimeError(f"embed_on_upload answered {result}. Expected the object to be embedded.")
    return seconds


def steps(session: requests.Session, url: str, secret: str, names: Sequence[str]) -> dict[str, float]:
    """Seconds so far in each of these steps, from the counters of the function at `url`."""
    headers = {"x-webhook-secret": secret}
    answer = session.get(f"{url.rstrip('/')}/metrics", headers=headers, timeout=TIMEOUT)
    answer.raise_for_status()
    families = text_string_to_metric_families(answer.text)
    samples = [sample for family in families for sample in family.samples if sample.name == STEP_SUM]
    return dict.fromkeys(names, 0.0) | {sample.labels["step"]: sample.value for sample in samples}
