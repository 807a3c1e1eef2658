"""Queries: the same checks whichever way one is sent."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from shared import queries
from shared.errors import InvalidQuery
from shared.queries import Query


def read(**fields: Any) -> Query:
    return queries.from_json(json.dumps(fields).encode())


def test_a_text_alone_is_a_query():
    assert read(text=" a castle ") == Query(texts=("a castle",), limit=10, offset=0)


def test_everything_combines_and_may_be_given_more_than_once():
    query = read(
        text=["a castle", "a tower"],
        image=[base64.b64encode(b"one").decode(), base64.b64encode(b"two").decode()],
        like=["images/a.png", 7, 7],
        unlike="b.png",
        limit=5,
        offset=10,
        min_similarity=0.25,
        filter={"bucket": "images", "prefix": "castles/"},
    )
    assert query == Query(
        texts=("a castle", "a tower"),
        images=(b"one", b"two"),
        like=("images/a.png", 7),
        unlike=("b.png",),
        limit=5,
        offset=10,
        min_similarity=0.25,
        bucket="images",
        prefix="castles/",
    )


def test_a_form_means_the_same_as_json():
    form = {
        "text": ["a castle"],
        "like": ["images/a.png", "7"],
        "limit": ["5"],
        "min_similarity": ["0.25"],
        "filter": ['{"bucket": "images"}'],
    }
    assert queries.from_form(form, [b"one"]) == Query(
        texts=("a castle",),
        images=(b"one",),
        like=("images/a.png", 7),
        limit=5,
        min_similarity=0.25,
        bucket="images",
    )


def test_a_form_takes_bucket_and_prefix_as_fields_too():
    query = queries.from_form({"text": ["x"], "bucket": ["images"], "prefix": ["castles/"]}, [])
    assert (query.bucket, query.prefix) == ("images", "castles/")


def test_text_in_a_form_stays_text_even_if_it_looks_like_a_number():
    assert queries.from_form({"text": ["7"]}, []).texts == ("7",)


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
        ({"like": [{}]}, "like is {}"),
        ({"like": [""]}, "like is ''"),
        ({"unlike": -1}, "unlike is -1. Expected an id"),
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
        ({"text": "x", "filter": "images"}, "filter is 'images'. Expected an object"),
        ({"text": "x", "filter": {"owner": "me"}}, "There is no filter 'owner'. Expected: bucket, prefix"),
        ({"text": "x", "filter": {"bucket": 7}}, "filter.bucket is 7. Expected some text"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(fields: dict[str, Any], said: str):
    with pytest.raises(InvalidQuery, match=said):
        read(**fields)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b"[" * 100_000, b"\xff"])
def test_a_body_that_is_no_json_object_is_refused(body: bytes):
    with pytest.raises(InvalidQuery, match="The body is"):
        queries.from_json(body)


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
        queries.from_form(form, [])
