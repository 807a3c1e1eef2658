"""supabase-py as an app uses it, on the embedded stack as `make demo` starts it, with the default model."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from supabase import Client, create_client
from supabase.lib.client_options import SyncClientOptions
from support.waiting import eventually

from local.stack import Stack
from shared.settings import CHECKOUT

ENERGY = CHECKOUT / "examples" / "images" / "energy"
JPEG = {"content-type": "image/jpeg"}


@pytest.fixture
def client(embedded_stack: Stack) -> Iterator[Client]:
    """With the publishable key: an anonymous visitor, who may use the bucket by the demo's policies."""
    mine = embedded_stack.settings
    with httpx.Client(timeout=30) as http:
        options = SyncClientOptions(httpx_client=http)
        yield create_client(mine.supabase_url, mine.publishable_key, options)


def test_the_index_follows_each_change_and_is_searched_by_rpc_and_by_functions_invoke(client: Client):
    folder = uuid.uuid4().hex
    bucket = client.storage.from_("images")

    def rpc(vector: str) -> list[str]:
        """Results of the original call of match_documents in this test's folder, all but identical."""
        asked = {"query_embedding": vector, "similarity_threshold": 0.98, "match_count": 50}
        rows = client.rpc("match_documents", asked).execute().data
        return sorted(row["content"] for row in rows if row["content"].startswith(folder))

    def invoke(**query: Any) -> list[str]:
        body = {"filter": {"prefix": folder}, "limit": 50, **query}
        answer = client.functions.invoke("query", {"body": body, "responseType": "json"})
        return [result["name"] for result in answer["results"]]

    def vector_of(name: str) -> str:
        rows = client.rpc("get_embeddings", {"names": [name]}).execute().data
        return str(rows[0]["embedding"]) if rows else ""

    a, b, c = (f"{folder}/{letter}.jpg" for letter in "abc")
    bucket.upload(a, ENERGY / "windmill_1.jpg", JPEG)
    eventually(lambda: invoke(text="a windmill") == [a], 30)
    windmill = vector_of(a)
    assert rpc(windmill) == [a]

    bucket.update(a, ENERGY / "solar_1.jpg", JPEG)
    assert rpc(windmill) == []
    eventually(lambda: vector_of(a), 30)
    solar = vector_of(a)
    assert (rpc(windmill), rpc(solar)) == ([], [a])

    bucket.move(a, b)
    assert rpc(solar) == [b]
    bucket.copy(b, c)
    eventually(lambda: rpc(solar) == [b, c], 30)
    assert invoke(like=[f"images/{b}"]) == [c]

    bucket.remove([b])
    assert rpc(solar) == [c]
    bucket.remove([c])
    assert (rpc(solar), invoke(text="a windmill")) == ([], [])
