"""Both functions as one writes them by hand: everything imported at once, no queue, no decoder of its own.

python -m functions_framework --source benchmarks/baselines/naive_function.py --target embed_on_upload
"""

from __future__ import annotations

import io
from typing import Any

import flask
import functions_framework
import numpy as np
from PIL import Image
from supabase import create_client

from benchmarks.baselines.ways import Eager
from shared import settings

configuration = settings.load()
client = create_client(configuration.supabase_url, configuration.secret_key)
model = Eager(configuration.embedding_models[0])


@functions_framework.http
def embed_on_upload(request: flask.Request) -> dict[str, Any]:
    """One object of a database webhook: downloaded, embedded and stored."""
    record = request.get_json()["record"]
    data = client.storage.from_(record["bucket_id"]).download(record["name"])
    row = {"bucket_id": record["bucket_id"], "content": record["name"], "embedding": _embed(data).tolist()}
    client.table("documents").upsert(row).execute()
    return {"status": "ok"}


@functions_framework.http
def query(request: flask.Request) -> dict[str, Any]:
    """The documents most like the image in the body; of a bucket that is named, with their addresses."""
    arguments = {"query_embedding": _embed(request.get_data()).tolist(), "similarity_threshold": 0.0}
    bucket = request.args.get("bucket")
    of_bucket = {"filter": {"bucket": bucket}} if bucket else {}
    rows: Any = client.rpc("match_documents", arguments | {"match_count": 10} | of_bucket).execute().data
    if bucket and rows:
        signed = client.storage.from_(bucket).create_signed_urls([row["content"] for row in rows], 600)
        rows = [row | {"url": one["signedURL"]} for row, one in zip(rows, signed, strict=True)]
    return {"results": rows}


def _embed(data: bytes) -> np.ndarray:
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    return np.asarray(model.embed_pictures([picture])[0])
