"""Every way to find images, and every way to ask Storage for them, as one caller over HTTP."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx
import psycopg

from shared.testing import ColourEmbedder, picture
from support import scenario
from support.databases import as_role
from support.running_project import DIMENSIONS, Running

Seen = set[tuple[str, str]]  # bucket and name

PICTURE = picture("red")
RED = ColourEmbedder("", DIMENSIONS).embed_texts(["red"])[0].astype(float).tolist()
EVERYTHING = {"limit": 100, "min_similarity": -1, "best_confidence": "unrelated"}
PAGE = 3
WORDS = re.compile(r"[a-z]{2,}.*\.")  # a name with a word in its path, as the scene has them


@dataclass(frozen=True)
class Caller:
    """Somebody, at the gateway's address."""

    name: str
    http: httpx.Client
    buckets: Mapping[str, scenario.Bucket] = field(default_factory=lambda: scenario.BUCKETS)
    database_url: str = ""

    @property
    def expected(self) -> Seen:
        """The objects that all ways to search should show, as written by hand."""
        return {(bucket, name) for bucket in self.buckets for name in scenario.seen(self.name, bucket)}

    def post(self, path: str, **request: Any) -> httpx.Response:
        return self.http.post(path, **request)

    def rpc(self, function: str, **arguments: Any) -> list[dict[str, Any]]:
        """The rows of a function that answers this caller."""
        answer = self.post(f"/rest/v1/rpc/{function}", json=arguments)
        assert answer.status_code == 200, answer.text
        rows: list[dict[str, Any]] = answer.json()
        return rows

    def match(self, **arguments: Any) -> list[dict[str, Any]]:
        return self.rpc("match_documents", query_embedding=RED, similarity_threshold=-1, **arguments)

    def recommend(self, **arguments: Any) -> list[dict[str, Any]]:
        wide = {"likes": [{"embedding": RED}], "similarity_threshold": -1, "match_count": 100}
        return self.rpc("recommend_documents", **wide, **arguments)

    def ask(self, **query: Any) -> dict[str, Any]:
        """The answer of the query function."""
        answer = self.post("/functions/v1/query", json={**EVERYTHING, **query})
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    def query(self, **query: Any) -> list[dict[str, Any]]:
        """The results of a search."""
        results: list[dict[str, Any]] = self.ask(**query)["results"]
        return results


def caller(project: Running, name: str, buckets: Mapping[str, scenario.Bucket] = scenario.BUCKETS) -> Caller:
    headers = scenario.headers(project, name)
    http = httpx.Client(base_url=project.url, headers=headers, timeout=30, verify=False)
    return Caller(name, project.open.enter_context(http), buckets, project.database_url("postgres"))


def _pairs(rows: list[dict[str, Any]], bucket: str = "bucket_id", name: str = "content") -> Seen:
    return {(row[bucket], row[name]) for row in rows}


def by_query(caller: Caller) -> Seen:
    return _pairs(caller.query(text="red"), "bucket", "name")


def by_query_in_each_bucket(caller: Caller) -> Seen:
    return {
        pair
        for bucket in caller.buckets
        for pair in _pairs(caller.query(text="red", filter={"bucket": bucket}), "bucket", "name")
    }


def by_cursor(caller: Caller) -> Seen:
    answer = caller.ask(text="red", limit=PAGE)
    seen = _pairs(answer["results"], "bucket", "name")
    while answer["next_cursor"]:
        answer = caller.ask(text="red", limit=PAGE, cursor=answer["next_cursor"])
        page = _pairs(answer["results"], "bucket", "name")
        assert not page & seen
        seen |= page
    return seen


def by_match(caller: Caller) -> Seen:
    return _pairs(caller.match(match_count=500))


def by_match_in_each_bucket(caller: Caller) -> Seen:
    return {
        pair
        for bucket in caller.buckets
        for pair in _pairs(caller.match(match_count=500, filter={"bucket": bucket}))
    }


def by_pages(caller: Caller) -> Seen:
    """Small pages are found by walking the index, and not by reading everything."""
    seen: Seen = set()
    while rows := caller.match(match_count=PAGE, skip_count=len(seen)):
        assert not _pairs(rows) & seen
        seen |= _pairs(rows)
    return seen


def by_pages_after_the_last(caller: Caller) -> Seen:
    seen: Seen = set()
    after = None
    while rows := caller.match(match_count=PAGE, page_after=after):
        assert not _pairs(rows) & seen
        seen |= _pairs(rows)
        after = {"similarity": rows[-1]["similarity"], "id": rows[-1]["id"], "rank": len(seen)}
    return seen


def by_words(caller: Caller) -> Seen:
    """Those found by their names are exactly the seen ones that have the words."""
    wide = {"query_embedding": RED, "query_text": "a acme reds png", "similarity_threshold": -1, "words": 1}
    rows = caller.rpc("search_documents", **wide, match_count=500)
    named = {
        pair for row in rows if "name" in row["found_by"] for pair in [(row["bucket_id"], row["content"])]
    }
    assert named == {pair for pair in _pairs(rows) if {"acme", "reds"} & set(pair[1].split("/"))}
    return _pairs(rows)


def by_words_page_by_page(caller: Caller) -> Seen:
    seen: Seen = set()
    after = None
    wide = {"query_embedding": RED, "query_text": "reds", "similarity_threshold": -1, "match_count": PAGE}
    while rows := caller.rpc("search_documents", **wide, page_after=after):
        assert not _pairs(rows) & seen
        seen |= _pairs(rows)
        after = {"score": rows[-1]["score"], "id": rows[-1]["id"], "rank": len(seen)}
    return seen


def by_the_table_of_words(caller: Caller) -> Seen:
    """In SQL: whose words can be read, made names again; with those that have none."""
    rows = _as_caller(
        caller,
        "select d.bucket_id, d.content from neural_search.documents as d where exists "
        "(select from neural_search.words as w where w.document_id = d.id) "
        "union all select '', w.lexeme from neural_search.words as w "
        "where not exists (select from neural_search.documents as d where d.id = w.document_id)",
    )
    return rows | {pair for pair in caller.expected if not WORDS.search(pair[1])}


def by_recommendation(caller: Caller) -> Seen:
    return _pairs(caller.recommend())


def by_best_score(caller: Caller) -> Seen:
    return _pairs(caller.recommend(strategy="best_score"))


def by_copies(caller: Caller) -> Seen:
    """All pictures are copies of one: those folded into a result are as visible as it."""
    rows = caller.recommend(collapse="duplicates")
    return _pairs(rows) | {pair for row in rows for pair in _pairs(row["duplicates"], "bucket", "name")}


def by_words_and_copies(caller: Caller) -> Seen:
    """As by_copies, and the names of the folded ones weigh most."""
    wide = {"query_embedding": RED, "query_text": "acme reds", "similarity_threshold": -1, "words": 1}
    rows = caller.rpc("search_documents", **wide, match_count=200, collapse="duplicates")
    return _pairs(rows) | {pair for row in rows for pair in _pairs(row["duplicates"], "bucket", "name")}


def by_fingerprint(caller: Caller) -> Seen:
    return _pairs(caller.rpc("list_fingerprints"))


def by_name(caller: Caller) -> Seen:
    names = [f"{bucket}/{name}" for bucket, about in caller.buckets.items() for name in about.seen_by]
    return _pairs(caller.rpc("get_embeddings", names=names))


def by_id(caller: Caller) -> Seen:
    return _pairs(caller.rpc("get_embeddings", document_ids=list(range(1, 1000))))


def by_state(caller: Caller) -> Seen:
    return {
        (bucket, row["name"])
        for bucket, about in caller.buckets.items()
        for row in caller.rpc("object_states", bucket=bucket, names=list(about.seen_by))
        if row["state"] != "unknown"
    }


def by_table(caller: Caller) -> Seen:
    """In SQL: the table lies in the private schema, but its row security holds all the same."""
    return _as_caller(caller, "select bucket_id, content from neural_search.documents")


def _as_caller(caller: Caller, statement: str) -> Seen:
    role = {"anon": "anon", "service": "service_role"}.get(caller.name, "authenticated")
    with (
        psycopg.connect(caller.database_url, autocommit=True) as connection,
        as_role(connection, role, scenario.CLAIMS.get(caller.name)) as database,
    ):
        return set(database.execute(statement.encode()).fetchall())


SEARCHES: dict[str, Callable[[Caller], Seen]] = {
    "the query function": by_query,
    "the query function, bucket by bucket": by_query_in_each_bucket,
    "the query function, cursor by cursor": by_cursor,
    "match_documents": by_match,
    "match_documents, bucket by bucket": by_match_in_each_bucket,
    "match_documents, page by page": by_pages,
    "match_documents, each page after the last": by_pages_after_the_last,
    "search_documents": by_words,
    "search_documents, each page after the last": by_words_page_by_page,
    "search_documents, copies folded": by_words_and_copies,
    "the table of words": by_the_table_of_words,
    "recommend_documents": by_recommendation,
    "recommend_documents, by the best score": by_best_score,
    "recommend_documents, copies folded": by_copies,
    "list_fingerprints": by_fingerprint,
    "get_embeddings by name": by_name,
    "get_embeddings by id": by_id,
    "object_states": by_state,
    "the table documents": by_table,
}


def listed(caller: Caller, bucket: str, folder: str = "") -> set[str]:
    """The names that Storage lists, folder by folder."""
    answer = caller.post(f"/storage/v1/object/list/{bucket}", json={"prefix": folder, "limit": 1000})
    assert answer.status_code == 200, answer.text
    names = set()
    for entry in answer.json():
        path = f"{folder}/{entry['name']}".lstrip("/")
        names |= {path} if entry["id"] else listed(caller, bucket, path)
    return names


def downloaded(caller: Caller, bucket: str) -> set[str]:
    """Those of the bucket's names whose bytes Storage gives this caller."""
    return _answered(caller.http, f"/storage/v1/object/authenticated/{bucket}", bucket)


def published(caller: Caller, bucket: str) -> set[str]:
    """Those of the bucket's names whose bytes Storage gives anybody who asks without any key."""
    with httpx.Client(base_url=caller.http.base_url, verify=False) as nobody:
        return _answered(nobody, f"/storage/v1/object/public/{bucket}", bucket)


def _answered(http: httpx.Client, root: str, bucket: str) -> set[str]:
    names = scenario.BUCKETS[bucket].seen_by
    return {name for name in names if http.get(f"{root}/{quote(name)}").status_code == 200}


STORAGE: dict[str, Callable[[Caller, str], set[str]]] = {
    scenario.LISTED: listed,
    scenario.DOWNLOADED: downloaded,
    scenario.PUBLISHED: published,
}


def anonymised(answer: httpx.Response, *words: str) -> tuple[int, str]:
    """Status and body, without the caller's own words. Whole ones: an id may be 4, as in 404."""
    text = json.dumps(answer.json())
    for word in words:
        own = re.escape(json.dumps(word).strip('"'))
        text = re.sub(rf"(?<![\w\[]){own}(?!\w)", "…", text)
    return answer.status_code, text
