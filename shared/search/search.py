"""From a checked query to a page of results: embed the examples, search as the caller, sign URLs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from shared.errors import (
    InvalidLimit,
    InvalidQuery,
    ObjectNotFound,
    StorageError,
    StorageForbidden,
    StorageRefused,
)
from shared.images import Decode
from shared.runtime import logs
from shared.runtime.limiter import ConcurrencyLimiter
from shared.runtime.metrics import Metrics
from shared.runtime.model_registry import ModelRegistry
from shared.runtime.stopwatch import Stopwatch
from shared.search import cursors, index, query_vectors
from shared.search.cursors import Start
from shared.search.index import ActiveModel, Match, Options, Recommendation, Scored, WordMatch
from shared.search.preview_links import PreviewLinks
from shared.search.query import Query
from shared.search.query_examples import Example
from shared.search.query_vectors import Embedding
from shared.supabase.credentials import Identity
from shared.supabase.database import Database
from shared.supabase.storage import Storage

URL_SECONDS = 600  # a result's signed URL works this long, for anybody
NOTICE = (  # fixed, so that an empty answer tells nothing of hidden images
    "There is no image here that you may see. Possible reasons: you aren't signed in; no SELECT policy on "
    "storage.objects lets you see an image; nothing is indexed yet; the images are in another bucket or "
    "outside the filter; min_similarity, min_confidence or best_confidence holds them back."
)
POOL_NOTICE = (
    "With diversity or collapse, folded copies included, only the best 200 images are looked at: these are "
    "all. Narrow the search to see others."
)
POOL = 200  # images that the database looks at with diversity or collapse
URLs = dict[tuple[str, str], str]


@dataclass(frozen=True, kw_only=True)
class Found:
    """One result, as it is answered."""

    id: int
    bucket: str
    name: str
    content: str
    similarity: float
    confidence: str | None  # same, strong, related or unrelated; None while that can't be told
    found_by: list[str]  # why: image, name, metadata
    closest: dict[str, Any] | None  # the example that it is most similar to: {field, index}
    url: str | None  # shows the image for ten minutes at least; None where Storage doesn't let the caller
    preview: str | None  # shows it small for as long; relative to the function's address where it serves it
    metadata: dict[str, Any] | None
    duplicates: list[dict[str, Any]]  # copies that were folded into it: {id, bucket, name, url}


@dataclass(frozen=True, kw_only=True)
class Page:
    """So many of a search's results."""

    results: list[Found]
    next_cursor: str | None  # None where nothing follows
    notice: str | None  # why the first page is empty, or why there are no more results


class Search:
    """Answers queries with the caller's rights. One per process; any thread may call it."""

    def __init__(
        self,
        *,
        connect: Callable[[Identity], Database],
        storage: Callable[[Identity], Storage],
        models: ModelRegistry,
        file_limiter: ConcurrencyLimiter,
        text_limiter: ConcurrencyLimiter,
        metrics: Metrics,
        decode: Decode,
        previews: PreviewLinks,
    ):
        self._connect = connect
        self._storage = storage
        self._previews = previews
        self._metrics = metrics
        self._embedding = Embedding(
            models=models,
            file_limiter=file_limiter,
            text_limiter=text_limiter,
            metrics=metrics,
            decode=decode,
        )

    def find(self, caller: Identity, model: ActiveModel, query: Query) -> Page:
        """A page of the best results for `query`, without the stored images that it starts from."""
        start = cursors.start(query, model.name)
        options = _options(model, query, start)
        database = self._connect(caller)
        stopwatch = Stopwatch()
        ids = query_vectors.ids_of(database, model, query)
        stopwatch.ends("names")
        vectors = self._embedding.embed(caller, model, query.examples)
        stopwatch.ends("embed")
        with self._metrics.step("match"):
            matches = _matches(database, ids, vectors, query, options)
        stopwatch.ends("match")
        with self._metrics.step("sign"):
            storage = self._storage(caller)
            urls = _sign(storage, matches)
            shown = {place: urls[place] for match in matches if (place := _place(match)) in urls}
            previews = self._previews.of(storage, shown, seconds=URL_SECONDS)
        stopwatch.ends("sign")
        _log(query, model, start, matches, stopwatch)
        return Page(
            results=[_found(match, query, urls, previews) for match in matches],
            next_cursor=_next(query, model, start, matches),
            notice=_notice(query, start, matches),
        )

    def vector(self, caller: Identity, model: ActiveModel, query: Query) -> list[float]:
        """The vector, (dimensions,) of unit length, of the one text or image in `query`."""
        if not is_plain(query) or replace(query, like=()) != Query():
            raise InvalidQuery("Expected one text or one image, as text or image, and nothing beside it.")
        (vector,) = self._embedding.embed(caller, model, query.like).values()
        return [float(value) for value in vector]


def _log(
    query: Query, model: ActiveModel, start: Start, matches: Sequence[Match], stopwatch: Stopwatch
) -> None:
    """One line of a search. Neither texts nor names nor a filter's values: the log is no place for them."""
    logs.write(
        "searched",
        severity="DEBUG",
        way=_way(query),
        model=model.name,
        examples=len(query.examples),
        filter=sorted(query.filter),
        looked_at=start.skip + query.limit,
        found=len(matches),
        best=matches[0].similarity if matches else None,
        ms=stopwatch.ms,
    )


def _way(query: Query) -> str:
    """The SQL function that answers it."""
    if query.is_text:
        return "search_documents"
    return "match_documents" if is_plain(query) else "recommend_documents"


def is_plain(query: Query) -> bool:
    """Whether one vector is all that it takes: match_documents is the shorter way then."""
    return (
        len(query.examples) == 1
        and query.examples[0] in query.like
        and query.examples[0].kind in ("text", "image")
        and not query.diversity
        and query.collapse is None
    )


def _sign(storage: Storage, matches: Sequence[Match]) -> URLs:
    names: defaultdict[str, list[str]] = defaultdict(list)
    for match in matches:
        names[match.bucket_id].append(match.content)
        for copy in _copies(match):
            names[copy["bucket"]].append(copy["name"])
    urls: URLs = {}
    for bucket, paths in names.items():
        try:
            found = storage.sign(bucket, paths, seconds=URL_SECONDS)
            if unsigned := [path for path in paths if path not in found]:
                # A public bucket needs no policies, and without one Storage signs nothing.
                found |= storage.public_urls(bucket, unsigned)
        except StorageError as error:  # the results are worth answering without pictures
            logs.write("not signed", severity="WARNING", error=error, bucket=bucket)
            if isinstance(error, (ObjectNotFound, StorageForbidden, StorageRefused)):  # this bucket
                continue
            break  # Storage is away: each further bucket would be waited for as long
        urls |= {(bucket, path): url for path, url in found.items()}
    return urls


def _matches(
    database: Database,
    ids: dict[Example, int],
    vectors: dict[Example, np.ndarray],
    query: Query,
    options: Options,
) -> Sequence[Match]:
    if query.is_text:
        (example,) = query.like
        return index.match_words(
            database,
            vectors[example],
            example.value,
            options,
            words=query.words,
            diversity=query.diversity or None,
            collapse=query.collapse,
        )
    if is_plain(query):
        return index.match(database, vectors[query.like[0]], options)
    return index.recommend(
        database,
        query_vectors.as_json(query.like, ids, vectors),
        query_vectors.as_json(query.unlike, ids, vectors),
        options,
        strategy=query.strategy,
        diversity=query.diversity,
        collapse=query.collapse,
    )


def _options(model: ActiveModel, query: Query, start: Start) -> Options:
    return Options(
        model=model.name,
        kind=query_vectors.kind_of(query),
        limit=_count(query, start),
        offset=0 if start.after else start.skip,
        after=start.after,
        threshold=index.EVERYTHING if query.min_similarity is None else query.min_similarity,
        min_confidence=query.min_confidence,
        best_confidence=query.best_confidence,
        filter=query.filter,
    )


def _count(query: Query, start: Start) -> int:
    """How many results the page may have."""
    if not _is_pooled(query):
        return query.limit
    if start.skip >= POOL:
        raise InvalidLimit(
            f"offset is {start.skip}. With diversity or collapse the best {POOL} results are all there are: "
            "ask for an earlier page, or without them.",
            value=start.skip,
        )
    return min(query.limit, POOL - start.skip)


def _is_pooled(query: Query) -> bool:
    return bool(query.diversity) or query.collapse is not None


def _next(query: Query, model: ActiveModel, start: Start, matches: Sequence[Match]) -> str | None:
    """The cursor of the page after this one; None where this one isn't full, or nothing can follow."""
    seen = start.skip + len(matches)
    if len(matches) < query.limit:
        return None
    if _is_pooled(query):
        following = Start(skip=seen, folded=_folded(start, matches))
        return None if _ends_the_pool(query, start, matches) else cursors.write(query, model.name, following)
    return cursors.write(query, model.name, Start(skip=seen, after={**matches[-1].key, "rank": seen}))


def _notice(query: Query, start: Start, matches: Sequence[Match]) -> str | None:
    if not matches and not start.skip:
        return NOTICE
    return POOL_NOTICE if _ends_the_pool(query, start, matches) else None


def _ends_the_pool(query: Query, start: Start, matches: Sequence[Match]) -> bool:
    return _is_pooled(query) and start.skip + len(matches) + _folded(start, matches) >= POOL


def _folded(start: Start, matches: Sequence[Match]) -> int:
    """How many copies were folded into the results up to these."""
    return start.folded + sum(len(_copies(match)) for match in matches)


def _copies(match: Match) -> list[dict[str, Any]]:
    return match.duplicates if isinstance(match, Scored) else []


def _closest(match: Match, query: Query) -> dict[str, Any] | None:
    place = match.closest if isinstance(match, Recommendation) else 0
    if place is None:
        return None
    return {"field": query.like[place].field, "index": query.like[place].index}


def _place(match: Match) -> tuple[str, str]:
    return match.bucket_id, match.content


def _found(match: Match, query: Query, urls: URLs, previews: URLs) -> Found:
    return Found(
        id=match.id,
        bucket=match.bucket_id,
        name=match.content,
        content=match.content,
        similarity=match.similarity,
        confidence=match.confidence,
        found_by=match.found_by if isinstance(match, WordMatch) else ["image"],
        closest=_closest(match, query),
        url=urls.get(_place(match)),
        preview=previews.get(_place(match)),
        metadata=match.metadata,
        duplicates=[copy | {"url": urls.get((copy["bucket"], copy["name"]))} for copy in _copies(match)],
    )
