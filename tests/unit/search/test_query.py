"""Queries: the same checks whichever way one is sent."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from shared.errors import InvalidFilter, InvalidLimit, InvalidQuery
from shared.search import filters, query
from shared.search.query import Query
from shared.search.query_examples import Example


def read(**fields: Any) -> Query:
    return query.from_json(json.dumps(fields).encode())


def example(kind: str, value: Any, field: str, index: int = 0, **more: Any) -> Example:
    return Example(kind=kind, value=value, field=field, index=index, **more)


CASTLE = example("text", "a castle", "text")
ONE = base64.b64encode(b"one").decode()


@pytest.mark.parametrize(
    "given", [{"text": "x"}, {"image": ONE}, {"like": 8}, {"like": {"text": "x"}}, {"unlike": 7}]
)
def test_nothing_is_held_back_unless_asked_for(given: dict[str, Any]):
    query = read(**given)
    assert (query.best_confidence, query.min_confidence, query.min_similarity) == (None, None, None)
    assert read(**given, best_confidence="related").best_confidence == "related"


def test_a_text_alone_is_a_query():
    assert read(text=" a castle ") == Query(like=(CASTLE,), limit=10, offset=0)


def test_a_whole_number_is_one_however_it_is_written():
    assert read(text="x", limit=25.0, offset=1e2) == read(text="x", limit=25, offset=100)
    assert query.from_form({"text": ["x"], "limit": ["25.0"]}, []).limit == 25
    assert read(text="x", min_similarity=1.0).min_similarity == 1


def test_everything_combines_and_may_be_given_more_than_once():
    query = read(
        text=["a castle", "a tower"],
        image=[ONE, base64.b64encode(b"two").decode()],
        like=["images/a.png", 7, 7],
        unlike="b.png",
        limit=5,
        offset=10,
        strategy="best_score",
        diversity=0.5,
        collapse="duplicates",
        min_similarity=0.25,
        min_confidence="strong",
        best_confidence="same",
        filter={"bucket": "images", "prefix": "castles/"},
    )
    assert query == Query(
        like=(
            CASTLE,
            example("text", "a tower", "text", 1),
            example("image", b"one", "image"),
            example("image", b"two", "image", 1),
            example("name", "images/a.png", "like"),
            example("id", 7, "like", 1),
        ),
        unlike=(example("name", "b.png", "unlike"),),
        limit=5,
        offset=10,
        strategy="best_score",
        diversity=0.5,
        collapse="duplicates",
        min_similarity=0.25,
        min_confidence="strong",
        best_confidence="same",
        filter={"bucket": "images", "prefix": "castles/"},
    )


def test_an_example_can_be_stored_words_or_a_file_and_can_weigh_more():
    query = read(
        like=[{"id": 7, "weight": 2}, {"name": "a.png"}, {"text": " red ", "weight": 0.5}],
        unlike={"image": ONE},
    )
    assert query.like == (
        example("id", 7, "like", weight=2),
        example("name", "a.png", "like", 1),
        example("text", "red", "like", 2, weight=0.5),
    )
    assert query.unlike == (example("image", b"one", "unlike"),)


FILTER = {
    "bucket": "images",
    "prefix": "castles/",
    "mime_type": ["image/gif", "image/jpeg"],
    "min_bytes": 1,
    "max_bytes": 1000,
    "uploaded_after": "2026-01-31",
    "uploaded_before": "2026-05-30T12:00:00Z",
    "min_shown": 0.75,
    "owner": "somebody",
    "metadata": {"album": {"year": 2026, "tags": ["a"]}},
}


def test_every_filter_is_passed_on_as_it_is():
    assert read(text="x", filter=FILTER).filter == FILTER
    assert read(text="x", filter={"mime_type": "image/gif"}).filter == {"mime_type": ["image/gif"]}


@pytest.mark.parametrize(
    "time",
    [
        "2026-01-31",
        "2026-01-31 12:00",
        "2026-01-31T12:00:00.123456",
        "2026-01-31T12:00:00-15:59",
        "0001-01-01",
    ],
)
def test_a_time_may_be_as_exact_as_one_likes(time: str):
    assert read(text="x", filter={"uploaded_after": time}).filter == {"uploaded_after": time}


def test_a_form_means_the_same_as_json():
    form = {
        "text": ["a castle"],
        "like": ["images/a.png", "7"],
        "limit": ["5"],
        "strategy": ["best_score"],
        "diversity": ["0.5"],
        "collapse": ["duplicates"],
        "min_similarity": ["0.25"],
        "filter": ['{"bucket": "images"}'],
    }
    assert query.from_form(form, [b"one"]) == Query(
        like=(
            CASTLE,
            example("image", b"one", "image"),
            example("name", "images/a.png", "like"),
            example("id", 7, "like", 1),
        ),
        limit=5,
        strategy="best_score",
        diversity=0.5,
        collapse="duplicates",
        min_similarity=0.25,
        best_confidence=None,
        filter={"bucket": "images"},
    )


FIELDS = {
    "text": "x",
    "like": "a.png",
    "unlike": "b.png",
    "strategy": "best_score",
    "diversity": 0.5,
    "collapse": "duplicates",
    "limit": 5,
    "offset": 10,
    "cursor": "x",
    "min_similarity": 0.25,
    "min_confidence": "strong",
    "best_confidence": "same",
    "words": 0.25,
    "filter": FILTER,
}


@pytest.mark.parametrize("name", FIELDS)
def test_each_field_means_the_same_in_a_form(name: str):
    assert {*FIELDS, "image"} == set(query.FIELDS)  # all of them are tried; images are files in a form
    value = FIELDS[name]
    form = {"text": ["x"], name: [value if isinstance(value, str) else json.dumps(value)]}
    assert query.from_form(form, []) == read(**{"text": "x", name: value})


def test_a_form_takes_the_filters_as_fields_too():
    texts = {
        name: value if isinstance(value, list) else [value if isinstance(value, str) else json.dumps(value)]
        for name, value in FILTER.items()
    }
    assert set(FILTER) == set(filters.KEYS)  # all of them are tried
    assert query.from_form({"text": ["x"], **texts}, []).filter == FILTER
    with pytest.raises(InvalidQuery, match="bucket is given beside filter"):
        query.from_form({"text": ["x"], "bucket": ["images"], "filter": ["{}"]}, [])


def test_text_in_a_form_stays_text_even_if_it_looks_like_a_number():
    assert query.from_form({"text": ["7"]}, []).like == (example("text", "7", "text"),)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "Send at least one of text, image, like or unlike"),
        ({"txt": "x"}, "There is no field 'txt'. Expected: text, image, like"),
        ({"text": ""}, "text is ''. Expected some words"),
        ({"text": 7}, "text is 7"),
        ({"text": "x" * 1001}, "text has 1001 characters. At most 1000"),
        ({"text": "a\0b"}, "holds a character"),
        ({"text": "\ud800"}, "holds a character"),
        ({"image": "no base64!"}, "image isn't valid base64"),
        ({"image": 7}, "image is 7. Expected a base64 string"),
        ({"like": True}, "like is True. Expected an id"),
        ({"like": [{}]}, "like is {}. Expected one of id, name, text, image"),
        ({"like": {"id": 7, "text": "x"}}, "Expected one of id, name, text, image"),
        ({"like": {"id": 7, "wait": 1}}, "Expected one of id, name, text, image"),
        ({"like": {"id": "7"}}, "like.id is '7'. Expected an id"),
        ({"like": {"text": 7}}, "like.text is 7. Expected some words"),
        ({"like": {"image": "!"}}, "like.image isn't valid base64"),
        ({"like": {"id": 7, "weight": 0}}, "like.weight is 0. Expected a number from 0.001 to 1000"),
        ({"like": {"id": 7, "weight": -1}}, "like.weight is -1"),
        ({"like": {"id": 7, "weight": "2"}}, "like.weight is '2'"),
        ({"like": {"id": 7, "weight": float("inf")}}, "like.weight is inf"),
        ({"like": [""]}, "like.name is ''"),
        ({"unlike": -1}, "unlike.id is -1. Expected an id"),
        ({"text": "x", "strategy": "best"}, "strategy is 'best'. Expected average or best_score"),
        ({"text": "x", "diversity": 2}, "diversity is 2. Expected a number from 0 to 1"),
        ({"text": "x", "collapse": "copies"}, "collapse is 'copies'. Expected duplicates"),
        ({"text": "x", "min_confidence": "sure"}, "min_confidence is 'sure'. Expected same or strong or"),
        ({"text": "x", "min_confidence": ["same"]}, "min_confidence is"),
        ({"text": "x", "best_confidence": "sure"}, "best_confidence is 'sure'. Expected same or strong or"),
        ({"text": "x", "cursor": 7}, "cursor is 7"),
        ({"text": "x", "cursor": "x" * 1001}, "Expected the next_cursor of an answer"),
        ({"text": "x", "cursor": "x", "offset": 5}, "cursor and offset both say"),
        ({"unlike": 2**63}, "Expected an id"),
        ({"like": list(range(1, 30)), "unlike": ["a", "b", "c", "d"]}, "are 33 in all. At most 32"),
        ({"image": [""] * 9}, "There are 9 images. At most 8"),
        ({"text": "x", "limit": 0}, "limit is 0. Expected a whole number from 1 to 100"),
        ({"text": "x", "limit": -1}, "limit is -1"),
        ({"text": "x", "limit": 10_001}, "limit is 10001"),
        ({"text": "x", "limit": 1.5}, "limit is 1.5"),
        ({"text": "x", "limit": True}, "limit is True"),
        ({"text": "x", "limit": "5"}, "limit is '5'"),
        ({"text": "x", "offset": -1}, "offset is -1"),
        ({"text": "x", "min_similarity": 2}, "min_similarity is 2. Expected a number from -1 to 1"),
        ({"text": "x", "min_similarity": float("nan")}, "min_similarity is nan"),
        ({"text": "x", "min_similarity": "0.5"}, "min_similarity is '0.5'"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(fields: dict[str, Any], said: str):
    with pytest.raises(InvalidQuery, match=said):
        read(**fields)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b"[" * 100_000, b"\xff"])
def test_a_body_that_is_no_json_object_is_refused(body: bytes):
    with pytest.raises(InvalidQuery, match="The body is"):
        query.from_json(body)


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"limit": ["1", "2"], "text": ["x"]}, "limit is given 2 times"),
        ({"limit": ["ten"], "text": ["x"]}, "limit is 'ten'"),
        ({"image": ["x"]}, "image must be a file"),
        ({"filter": ["{"], "text": ["x"]}, "filter is '{'. Expected an object"),
    ],
)
def test_a_form_is_refused_in_the_same_words(form: dict[str, list[str]], said: str):
    with pytest.raises(InvalidQuery, match=said):
        query.from_form(form, [])


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("images", "filter is 'images'. Expected an object"),
        ({"colour": "red"}, "There is no filter 'colour'. Expected: bucket, prefix"),
        ({"bucket": 7}, "filter.bucket is 7. Expected some text"),
        ({"bucket": ""}, "filter.bucket is ''"),
        ({"prefix": "a\0"}, "filter.prefix holds a character that no text in a database can hold"),
        ({"owner": "\ud800"}, "filter.owner is"),
        ({"mime_type": []}, r"filter.mime_type is \[\]. Expected 1 to 32"),
        ({"mime_type": ["image/png", 7]}, "filter.mime_type is 7"),
        ({"min_bytes": -1}, "filter.min_bytes is -1. Expected a whole number of bytes"),
        ({"max_bytes": "1"}, "filter.max_bytes is '1'"),
        ({"max_bytes": 2**63}, "filter.max_bytes is"),
        ({"min_bytes": True}, "filter.min_bytes is True"),
        ({"min_shown": 1.5}, "filter.min_shown is 1.5. Expected a number from 0 to 1"),
        ({"min_shown": -0.1}, "filter.min_shown is -0.1"),
        ({"min_shown": "all"}, "filter.min_shown is 'all'"),
        ({"min_shown": True}, "filter.min_shown is True"),
        ({"min_shown": float("nan")}, "filter.min_shown is nan"),
        (
            {"uploaded_after": "yesterday"},
            "filter.uploaded_after is 'yesterday'. Expected a time in ISO 8601",
        ),
        ({"uploaded_before": 7}, "filter.uploaded_before is 7"),
        ({"uploaded_after": "2026-13-01"}, "filter.uploaded_after is '2026-13-01'"),
        ({"uploaded_after": "2026-W05-1"}, "Expected a time in ISO 8601"),
        ({"uploaded_before": "\ud800"}, "Expected a time in ISO 8601"),
        ({"uploaded_after": "20260131T120000,5"}, "Expected a time in ISO 8601"),
        ({"uploaded_after": "2026-01-31T00:00:00+23:59"}, "Expected a time in ISO 8601"),
        ({"uploaded_after": "2026-01-31T00:00+00:60"}, "Expected a time in ISO 8601"),
        ({"metadata": "x"}, "filter.metadata is 'x'. Expected an object"),
        ({"metadata": {"a": float("nan")}}, "filter.metadata is nan. Expected a finite number"),
        ({"metadata": {"a\0": 1}}, "Expected text that a database can hold"),
        ({"metadata": {"a": "\ud800"}}, "Expected text that a database can hold"),
        ({"\ud800": 1}, "There is no filter"),
        ({"metadata": {"a": "x" * 9000}}, "at most 8192 characters"),
        ({"metadata": {"a": json.loads("[" * 40 + "]" * 40)}}, "at most 32 levels"),
    ],
)
def test_a_filter_that_makes_no_sense_has_a_problem_of_its_own(value: Any, said: str):
    with pytest.raises(InvalidFilter, match=said):
        read(text="x", filter=value)


@pytest.mark.parametrize("fields", [{"limit": 0}, {"limit": 10_001}, {"offset": 801}])
def test_so_does_a_limit(fields: dict[str, Any]):
    with pytest.raises(InvalidLimit) as raised:
        read(text="x", **fields)
    assert raised.value.value == next(iter(fields.values()))


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("image/jpg", ["image/jpeg"]),
        ("IMAGE/JPEG", ["image/jpeg"]),
        ("image/png", ["image/png", "image/apng"]),
        (["image/heic", "image/jpg"], ["image/heic", "image/heif", "image/jpeg"]),
        ("image/x-icon", ["image/vnd.microsoft.icon"]),
    ],
)
def test_a_type_is_meant_by_any_of_its_names(given: Any, meant: list[str]):
    assert read(text="x", filter={"mime_type": given}).filter == {"mime_type": meant}


def test_any_type_narrows_nothing():
    assert read(text="x", filter={"mime_type": "image/*"}).filter == {}
    assert read(text="x", filter={"mime_type": ["image/png", "image/*"], "bucket": "b"}).filter == {
        "bucket": "b"
    }


@pytest.mark.parametrize("unknown", ["png", "image/svg+xml", "video/mp4", "image/p*", "%"])
def test_an_unknown_type_is_refused_with_the_known_ones(unknown: str):
    with pytest.raises(InvalidFilter, match=r"Expected image/\* or one of image/jpeg, image/png"):
        read(text="x", filter={"mime_type": [unknown]})
