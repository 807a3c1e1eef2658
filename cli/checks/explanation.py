"""Why a search finds an image, or doesn't: all its conditions, in the order in which they apply."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from cli.checks.sql_callers import SqlCaller
from cli.client.missing_policy import to_show
from shared.search.index import EVERYTHING, Options
from shared.search.query import CONFIDENCES

DEEPEST = 1000  # results that one call of a search function returns at most

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One condition of being found."""

    name: str
    met: bool | None  # None: it can't be told, or there is nothing to meet
    detail: str


@dataclass(frozen=True, kw_only=True)
class Search:
    """The search that is asked about."""

    vector: list[float]
    kind: str  # text or image: the vector's source
    text: str | None = None
    words: float | None = None
    limit: int = 10
    min_confidence: str | None = None
    best_confidence: str | None = None
    filter: Mapping[str, Any] = field(default_factory=dict)

    def run(self, viewer: SqlCaller, model: str) -> list[Row]:
        """Its first page, as `viewer` sees it."""
        options = Options(
            model=model,
            kind=self.kind,
            limit=self.limit,
            threshold=EVERYTHING,
            min_confidence=self.min_confidence,
            best_confidence=self.best_confidence,
            filter=self.filter,
        ).arguments
        if self.text is None:
            rows = viewer.call("match_documents", query_embedding=self.vector, **options)
        else:
            by_words = {"query_text": self.text, "words": self.words}
            rows = viewer.call("search_documents", query_embedding=self.vector, **by_words, **options)
        return list(rows)


def stored(facts: Row) -> Iterator[Condition]:
    """The conditions that depend on nobody and no search, by the answer of `explain_object`."""
    found = facts["object"]
    if found is None:
        yield Condition(
            name="in Storage",
            met=False,
            detail="Storage has no live object of this name there. `neural-search buckets list` shows the "
            "buckets; upload the image.",
        )
        return
    yield Condition(
        name="in Storage", met=True, detail=f"version {found['version']}, uploaded {found['created_at']}"
    )
    if facts["indexed"]:
        yield Condition(name="bucket", met=True, detail="is indexed")
    else:
        yield Condition(
            name="bucket", met=False, detail="isn't indexed. Run `neural-search buckets index` with its name."
        )
    yield _job(facts)
    yield _document(facts)


def _job(facts: Row) -> Condition:
    job = facts["job"]
    if job is None:
        return Condition(name="job", met=True, detail="nothing is left to do")
    cause = ": ".join(str(job[key]) for key in ("error_class", "error_message") if job[key])
    attempts = f"attempts so far: {job['attempts'] or 0}"
    return Condition(
        name="job",
        met=False,
        detail=f"{job['state']} ({attempts}). {cause or '`neural-search jobs` shows what is due.'}",
    )


def _document(facts: Row) -> Condition:
    document, model = facts["document"], facts["model"]
    if document is None:
        return Condition(name="document", met=False, detail=f"there is none of the active model, {model}")
    decoder = f"decoder version {document['decoder_version']}"
    if document["object_version"] != facts["object"]["version"]:
        detail = f"of another version, {document['object_version']}: the next one is still to be made"
        return Condition(name="document", met=False, detail=detail)
    return Condition(
        name="document",
        met=True,
        detail=f"{document['id']} of {model}, {decoder}, embedded {document['embedded_at']}",
    )


def visible(viewer: SqlCaller, who: str, bucket: str, name: str) -> Condition:
    """Whether this caller may see the object; a policy that fails on it hides it as well."""
    [row] = viewer.call("object_states", bucket=bucket, names=[name])
    if row["state"] != "unknown":
        return Condition(name="visible", met=True, detail=f"{who} may see it")
    return Condition(
        name="visible",
        met=False,
        detail=f"no SELECT policy on storage.objects shows it to {who}, or one fails on it (told apart where "
        f"DATABASE_URL is set). {to_show(bucket, who.split()[0])}",
    )


def searched(facts: Row, viewer: SqlCaller, search: Search) -> list[Condition]:
    """The conditions of one search, for an image that has a document and that `viewer` may see."""
    document, confidence, kept = facts["document"], facts["confidence"], facts["filter"]
    level = confidence or "no level: the model has none for such a query"
    conditions = [Condition(name="similarity", met=None, detail=f"{document['similarity']:.3f} ({level})")]
    for key, fulfilled in kept.items():
        conditions.append(Condition(name=f"filter {key}", met=fulfilled, detail=str(search.filter[key])))
    confident = _reaches(confidence, search.min_confidence)
    if search.min_confidence:
        conditions.append(Condition(name="min_confidence", met=confident, detail=search.min_confidence))
    page = search.run(viewer, facts["model"])
    if rank := _place(page, document["id"]):
        return [*conditions, Condition(name="rank", met=True, detail=f"{rank} of {len(page)}")]
    without = replace(
        search,
        limit=DEEPEST,
        best_confidence=None,
        min_confidence=search.min_confidence if confident else None,
        filter={key: value for key, value in search.filter.items() if kept[key]},
    )
    ranked = without.run(viewer, facts["model"])
    if search.best_confidence:
        conditions.append(_best(ranked, search.best_confidence))
    rank = _place(ranked, document["id"])
    if rank is None and len(ranked) < DEEPEST and facts["declared"]:  # all that this caller is searched for
        return [*conditions, _declared(facts["declared"])]
    explained = any(one.met is False for one in conditions)
    return [*conditions, _rank(rank, search.limit, explained)]


def _declared(visible_by: Mapping[str, str]) -> Condition:
    listed = ", ".join(f"{key}: {expression}" for key, expression in visible_by.items())
    detail = (
        f"the bucket declares {listed}, which doesn't hold here, though the policies show the image. "
        "`neural-search buckets index` with another --visible-by, or without, corrects it."
    )
    return Condition(name="visible_by", met=False, detail=detail)


def _best(ranked: list[Row], wanted: str) -> Condition:
    best = max(ranked, key=lambda row: float(row["similarity"]), default={}).get("confidence")
    detail = f"{wanted}; the best result is {best or 'of no level'}"
    return Condition(name="best_confidence", met=_reaches(best, wanted), detail=detail)


def _rank(rank: int | None, limit: int, explained: bool) -> Condition:
    """The place that the image has, or would have without the conditions that drop it."""
    if rank is None:
        detail = f"not among the first {DEEPEST}"
    elif rank > limit:
        detail = f"{rank}, and the page has {limit}"
    elif explained:
        return Condition(name="rank", met=None, detail=f"{rank} without the conditions that drop it")
    else:
        detail = (
            f"{rank}, and the index, which is approximate, passed it over in the search for {limit}. "
            "`neural-search doctor` says whether to rebuild it; search_strategy `exact` does without."
        )
    return Condition(name="rank", met=False, detail=detail)


def _place(rows: list[Row], document_id: int) -> int | None:
    return next((place for place, row in enumerate(rows, 1) if row["id"] == document_id), None)


def _reaches(confidence: str | None, wanted: str | None) -> bool:
    """Without levels nothing is held back."""
    if confidence is None or wanted is None:
        return True
    return CONFIDENCES.index(confidence) <= CONFIDENCES.index(wanted)
