"""Reading and checking a query, from JSON or from a form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema, core_schema

from shared.errors import InvalidFilter, InvalidLimit, InvalidQuery, InvalidWords
from shared.search import filters, json_body, query_examples
from shared.search.filters import Filter
from shared.search.query_examples import Example, File, Given, Text
from shared.search.validation import (
    ABSENT,
    Body,
    Expected,
    json_fields,
    json_or_text,
    refusal,
    single,
    validated,
)

Strategy = Literal["average", "best_score"]
Confidence = Literal["same", "strong", "related", "unrelated"]
STRATEGIES: tuple[str, ...] = get_args(Strategy)
CONFIDENCES: tuple[str, ...] = get_args(Confidence)
DEFAULT_LIMIT = 10
MAX_LIMIT = 100
MAX_OFFSET = 800  # with limit and examples, the most that match_documents returns: 1000
MAX_GIVEN = 32  # texts, images, like and unlike together
MAX_IMAGES = 8  # of those
MAX_CURSOR = 1000  # characters
SEVERAL = ("text", "image", "like", "unlike")  # fields that take one or a list

T = TypeVar("T")


def _several(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


class _OneOrMore:
    """Metadata of a list: its only item may stand for it."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(_several, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        several = handler(schema)
        return {"oneOf": [several["items"], several]}


Several = Annotated[list[T], _OneOrMore()]


class QueryBody(Body):
    """At least one of text, image, like and unlike; at most 32 of them in all, 8 of them images."""

    text: Several[Text] = Field(
        [],
        description="What images should show. The words of one text alone, with no image, like or unlike "
        "beside it, count in names and metadata, too: see words.",
    )
    image: Several[File] = Field([])
    like: Several[Given] = Field([])
    unlike: Several[Given] = Field([])
    strategy: Annotated[Strategy, Expected(" or ".join(STRATEGIES))] = Field(
        "average",
        description="average: near the middle of everything liked, away from what isn't; best_score: near to "
        "any of it, and nearer than to what isn't liked. As Qdrant defines them.",
    )
    diversity: Annotated[float, Field(ge=0, le=1), Expected("a number from 0 to 1")] = Field(
        0.0,
        description="How much results should differ from each other (maximal marginal relevance). Above 0, "
        "the best 200 are all there are.",
    )
    collapse: Annotated[Literal["duplicates"], Expected("duplicates")] = Field(
        ABSENT,
        description="Folds copies, also resized or recompressed, into the best of them. The best 200 are all "
        "there are then.",
    )
    limit: Annotated[
        int,
        Field(ge=1, le=MAX_LIMIT),
        Expected(f"a whole number from 1 to {MAX_LIMIT}", InvalidLimit),
    ] = DEFAULT_LIMIT
    offset: Annotated[
        int,
        Field(ge=0, le=MAX_OFFSET),
        Expected(f"a whole number from 0 to {MAX_OFFSET}", InvalidLimit),
    ] = 0
    cursor: Annotated[
        str, Field(min_length=1, max_length=MAX_CURSOR), Expected("the next_cursor of an answer")
    ] = Field(ABSENT, description="The next_cursor of an answer to the same search, instead of an offset.")
    min_similarity: Annotated[float, Field(ge=-1, le=1), Expected("a number from -1 to 1")] = Field(
        ABSENT, description="Only results above this. Without it nothing is cut off."
    )
    min_confidence: Annotated[Confidence, Expected(" or ".join(CONFIDENCES))] = Field(
        ABSENT,
        description="Only results of this confidence or better. With a model that has no levels for such a "
        "query, nothing is cut off.",
    )
    best_confidence: Annotated[Confidence, Expected(" or ".join(CONFIDENCES))] = Field(
        ABSENT,
        description="No result at all unless the best one has this confidence or better. The same on every "
        "page. With a model that has no levels for such a query, nothing is held back.",
    )
    words: Annotated[float, Field(ge=0, le=1), Expected("a number from 0 to 1", InvalidWords)] = Field(
        ABSENT,
        description="For a query of one text alone (refused beside other examples), how much its words count "
        "in a path and in metadata: this times the share of them that an image has is added to its "
        "similarity, before anything is varied or folded. 0: only what images show.",
    )
    filter: Annotated[Filter, Expected('an object like {"bucket": "images"}', InvalidFilter)] = ABSENT

    @model_validator(mode="before")
    @classmethod
    def _count(cls, fields: Any) -> Any:
        """Counts before anything is made. A field that is null isn't given."""
        fields = {name: value for name, value in fields.items() if value is not None}
        given = [(name, one) for name in SEVERAL if name in fields for one in _several(fields[name])]
        _check_count("text, image, like and unlike are {} in all", len(given), MAX_GIVEN)
        images = sum(name == "image" or (isinstance(one, dict) and "image" in one) for name, one in given)
        _check_count("There are {} images", images, MAX_IMAGES)
        if "cursor" in fields and "offset" in fields:
            whole = "cursor and offset both say where the page begins. Send one of them."
            raise refusal(whole=whole, value=fields["offset"])
        return fields


def _check_count(found: str, count: int, most: int) -> None:
    if count > most:
        raise refusal(whole=f"{found.format(count)}. At most {most} are taken.", value=count)


FIELDS = tuple(QueryBody.model_fields)
JSON_FIELDS = (*json_fields(QueryBody), "filter")


@dataclass(frozen=True, kw_only=True)
class Query:
    """A checked query."""

    like: tuple[Example, ...] = ()  # with texts and images
    unlike: tuple[Example, ...] = ()
    strategy: str = "average"
    diversity: float = 0.0  # 0: off, to 1
    collapse: str | None = None
    limit: int = DEFAULT_LIMIT
    offset: int = 0
    cursor: str | None = None
    # Results first: each of these holds back results only where it is sent.
    min_similarity: float | None = None
    min_confidence: str | None = None  # of each result
    best_confidence: str | None = None  # of the best result, or nothing is found
    words: float | None = None  # 0 to 1: the weight of names and metadata; None: as the database has it
    filter: Mapping[str, Any] = dataclass_field(default_factory=dict)

    @property
    def examples(self) -> tuple[Example, ...]:
        return (*self.like, *self.unlike)

    @property
    def is_text(self) -> bool:
        """Whether it is one text alone, whose words count in names and metadata, too."""
        return not self.unlike and [one.kind for one in self.like] == ["text"]


def from_json(body: bytes) -> Query:
    """The query in a JSON body; images are base64. text, image, like and unlike take one or a list."""
    try:
        fields = json_body.load(body, most_long=MAX_IMAGES)
    except (ValueError, RecursionError) as error:
        raise InvalidQuery('The body isn\'t JSON. Expected an object like {"text": "a castle"}.') from error
    if not isinstance(fields, dict):
        raise InvalidQuery('The body is JSON, but no object. Expected one like {"text": "a castle"}.')
    return parse(fields)


def from_form(form: Mapping[str, Sequence[str]], images: Sequence[bytes]) -> Query:
    """The query in form fields or a query string: numbers as text, `like` repeated, `filter` as JSON or its
    keys as fields. A `like` of digits alone is an id."""
    fields: dict[str, Any] = {}
    narrow: dict[str, Any] = {}
    for name, values in form.items():
        if name in ("like", "unlike"):
            fields[name] = [int(value) if _is_id(value) else value for value in values]
        elif name == "text":
            fields[name] = list(values)
        elif name in filters.KEYS:
            narrow[name] = filters.from_text(name, list(values))
        else:
            text = single(name, values)
            fields[name] = json_or_text(text) if name in JSON_FIELDS else text
    if narrow and "filter" in fields:
        raise InvalidQuery(
            f"{next(iter(narrow))} is given beside filter. Put it into filter.", value=[*narrow]
        )
    if "image" in fields:
        raise InvalidQuery("image must be a file. Send it as multipart/form-data, or as base64 in JSON.")
    return parse(fields | {"image": list(images)} | ({"filter": narrow} if narrow else {}))


def _is_id(text: str) -> bool:
    return text.isdecimal() and len(text) < 20  # Python reads no number of thousands of digits


def parse(fields: dict[str, Any]) -> Query:
    """The query with these fields, in JSON's types; InvalidQuery names the first that doesn't fit."""
    body = validated(QueryBody, fields)
    query = Query(
        like=(
            *query_examples.of("text", body.text, "text"),
            *query_examples.of("image", body.image, "image"),
            *query_examples.distinct("like", body.like),
        ),
        unlike=tuple(query_examples.distinct("unlike", body.unlike)),
        filter=body.filter.given() if body.filter else {},
        **body.model_dump(exclude={*SEVERAL, "filter"}),
    )
    if not query.examples:
        raise InvalidQuery()
    if query.words is not None and not query.is_text:
        raise InvalidWords(
            f"words is {query.words:g}, and the query isn't one text alone: names and metadata count for no "
            "other. Leave it out.",
            value=query.words,
        )
    return query
