"""openapi.json describes the query function: paths, fields, limits, answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest
from flask import Flask

from functions.query import openapi
from shared.search import filters, query, query_examples
from shared.search.search import Found, Page
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

    return list(main.pages.FILES)


def test_every_path_and_method_is_described_and_nothing_else(
    serve: Callable[..., Flask], described: dict[str, Any]
):
    client = serve("query").test_client()
    page = {f"/{file}" for file in main_files()} | {"/config.json"}
    for path, methods in described["paths"].items():
        allowed = client.options(path).headers["Allow"].lower().split(", ")
        heads = {"head"} if "get" in methods else set()
        assert {*methods, *heads, "options"} == set(allowed)
    import main  # as the framework has loaded it

    files = {route for route in main.ROUTES if route.startswith("/docs/")}
    assert set(main.ROUTES) - page - files == set(described["paths"])


def test_it_is_served_as_it_is(serve: Callable[..., Flask], described: dict[str, Any]):
    assert serve("query").test_client().get("/openapi.json").json == described


def test_a_query_is_described_as_it_is_checked(described: dict[str, Any]):
    committed = openapi.FILE.read_text()
    assert openapi.text(openapi.generated()) == committed, "run python -m functions.query.openapi"


def test_the_fields_of_a_query_are_those_that_are_read(schemas: dict[str, Any]):
    assert tuple(schemas["Query"]["properties"]) == query.FIELDS
    assert tuple(schemas["Filter"]["properties"]) == filters.KEYS
    assert tuple(schemas["QueryForm"]["properties"]) == (*query.FIELDS, *filters.KEYS)


def test_an_example_is_described_in_each_of_its_kinds(schemas: dict[str, Any]):
    an_id, a_name, objects = schemas["Given"]["anyOf"]
    assert (an_id["type"], a_name["type"]) == ("integer", "string")
    named = [schemas[one["$ref"].rpartition("/")[2]] for one in objects["oneOf"]]
    assert [kind for one in named for kind in one["required"]] == list(query_examples.KINDS)
    assert {one["properties"]["weight"]["anyOf"][0]["maximum"] for one in named} == {
        query_examples.MAX_WEIGHT
    }


def test_the_limits_are_those_that_hold(schemas: dict[str, Any]):
    properties = schemas["Query"]["properties"]
    assert properties["limit"]["anyOf"][0] == {
        "type": "integer",
        "minimum": 1,
        "maximum": query.MAX_LIMIT,
        "default": query.DEFAULT_LIMIT,
    }
    assert properties["offset"]["anyOf"][0]["maximum"] == query.MAX_OFFSET
    assert properties["text"]["anyOf"][0]["oneOf"][0]["maxLength"] == query_examples.MAX_TEXT
    assert (
        f"at most {query.MAX_GIVEN} of them in all, {query.MAX_IMAGES} of them images"
        in (schemas["Query"]["description"])
    )


@pytest.mark.parametrize("path", ["/", "/query"])
def test_it_says_in_which_order_results_come(described: dict[str, Any], path: str):
    assert "for one text alone with the words" in described["paths"][path]["post"]["description"]


def test_the_answer_is_the_one_that_is_given(schemas: dict[str, Any]):
    assert list(schemas["Found"]["properties"]) == [field.name for field in fields(Found)]
    assert schemas["Found"]["required"] == [field.name for field in fields(Found)]
    assert list(schemas["Answer"]["properties"]) == ["model", *(field.name for field in fields(Page))]


def test_every_reference_leads_somewhere(described: dict[str, Any], schemas: dict[str, Any]):
    references = [part.split('"')[0] for part in json.dumps(described).split('"$ref": "')[1:]]
    assert {reference.rpartition("/")[2] for reference in references} == set(schemas)
