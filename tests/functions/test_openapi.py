"""openapi.json says what the query function does: paths, fields, limits, answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest
from flask import Flask

from shared import examples, filters, queries
from shared.search import Found, Page
from shared.settings import CHECKOUT


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    described: dict[str, Any] = json.loads((CHECKOUT / "functions/query/openapi.json").read_text())
    return described


@pytest.fixture(scope="module")
def schemas(described: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = described["components"]["schemas"]
    return found


def main_files() -> list[str]:
    import main  # as the framework has loaded it

    files: list[str] = main.FILES
    return files


def test_every_path_and_method_is_described_and_nothing_else(
    serve: Callable[..., Flask], described: dict[str, Any]
):
    client = serve("query").test_client()
    page = {f"/{file}" for file in main_files()} | {"/config.json"}
    for path, methods in described["paths"].items():
        allowed = client.options(path).headers["Allow"].lower().split(", ")
        assert sorted({*methods, "options"}) == sorted(allowed)
    import main  # as the framework has loaded it

    assert set(main.ROUTES) - page == set(described["paths"])


def test_it_is_served_as_it_is(serve: Callable[..., Flask], described: dict[str, Any]):
    assert serve("query").test_client().get("/openapi.json").json == described


def test_the_fields_of_a_query_are_those_that_are_read(schemas: dict[str, Any]):
    assert tuple(schemas["Query"]["properties"]) == queries.FIELDS
    assert tuple(schemas["Query"]["properties"]["filter"]["properties"]) == filters.KEYS
    assert tuple(schemas["QueryForm"]["properties"]) == (*queries.FIELDS, *filters.KEYS)


@pytest.mark.parametrize("schema", ["Query", "QueryForm"])
def test_the_choices_are_those_that_are_taken(schemas: dict[str, Any], schema: str):
    properties = schemas[schema]["properties"]
    assert tuple(properties["strategy"]["enum"]) == queries.STRATEGIES
    assert tuple(properties["collapse"]["enum"]) == queries.COLLAPSES
    assert tuple(properties["min_confidence"]["enum"]) == queries.CONFIDENCES
    assert "default" not in properties["min_confidence"]
    assert tuple(properties["best_confidence"]["enum"]) == queries.CONFIDENCES
    assert "default" not in properties["best_confidence"]
    assert properties["cursor"]["maxLength"] == queries.MAX_CURSOR


def test_an_example_is_described_in_each_of_its_kinds(schemas: dict[str, Any]):
    _, _, *objects = schemas["Example"]["oneOf"]
    assert [kind for one in objects for kind in one["required"]] == list(examples.KINDS)
    assert {one["properties"]["weight"]["maximum"] for one in objects} == {examples.MAX_WEIGHT}


def test_the_limits_are_those_that_hold(schemas: dict[str, Any]):
    properties = schemas["Query"]["properties"]
    assert properties["limit"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": queries.MAX_LIMIT,
        "default": queries.DEFAULT_LIMIT,
    }
    assert properties["offset"]["maximum"] == queries.MAX_OFFSET
    assert properties["text"]["oneOf"][0]["maxLength"] == examples.MAX_TEXT
    assert (
        f"at most {queries.MAX_GIVEN} of them in all, {queries.MAX_IMAGES} of them images"
        in (schemas["Query"]["description"])
    )


def test_the_answer_is_the_one_that_is_given(schemas: dict[str, Any]):
    assert list(schemas["Found"]["properties"]) == [field.name for field in fields(Found)]
    assert schemas["Found"]["required"] == [field.name for field in fields(Found)]
    assert list(schemas["Answer"]["properties"]) == ["model", *(field.name for field in fields(Page))]


def test_every_reference_leads_somewhere(described: dict[str, Any], schemas: dict[str, Any]):
    references = [part.split('"')[0] for part in json.dumps(described).split('"$ref": "')[1:]]
    assert {reference.rpartition("/")[2] for reference in references} == set(schemas)
