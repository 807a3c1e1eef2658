"""`python -m functions.query.openapi`: writes the schemas of a query into openapi.json, from its models.

Paths and answers are written by hand there, and kept.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from shared.search.query import QueryBody

FILE = Path(__file__).with_name("openapi.json")
BY_HAND = ("Answer", "Found", "Uploaded", "Problem")
REFERENCE = "#/components/schemas/{model}"
BINARY = {"type": "string", "format": "binary"}
STORED = {
    "description": "`path` or `bucket/path`; of digits alone an id.",
    "anyOf": [{"type": "string", "pattern": "[^0-9]"}, {"type": "integer", "minimum": 1}],
}


def generated() -> dict[str, Any]:
    """openapi.json as it should be."""
    described: dict[str, Any] = json.loads(FILE.read_text())
    kept = {name: schema for name, schema in described["components"]["schemas"].items() if name in BY_HAND}
    described["components"]["schemas"] = _schemas() | kept
    return described


def text(described: dict[str, Any]) -> str:
    return json.dumps(described, indent=2, ensure_ascii=False) + "\n"


def _schemas() -> dict[str, Any]:
    query = _plain(QueryBody.model_json_schema(ref_template=REFERENCE))
    parts = query.pop("$defs")
    query["dependentSchemas"] = {"cursor": _without("offset")}
    form = _form(query, parts["Filter"])
    query["properties"] = {name: _or_null(schema) for name, schema in query["properties"].items()}
    for weighted in (part for part in parts.values() if "weight" in part.get("properties", {})):
        weighted["properties"]["weight"] = _or_null(weighted["properties"]["weight"])
    return {"Query": query, "QueryForm": form, **parts}


def _form(query: dict[str, Any], narrow: dict[str, Any]) -> dict[str, Any]:
    about = (
        "As Query. Fields that take several are repeated; a like or unlike names a stored image. "
        "Objects are JSON; the keys of filter may be fields of their own instead."
    )
    properties = query["properties"] | {
        "image": _one_or_more(BINARY),
        "like": _one_or_more(STORED),
        "unlike": _one_or_more(STORED),
    }
    keys = narrow["properties"]
    either = query["dependentSchemas"] | {"filter": _without(*keys)}
    return query | {"description": about, "properties": properties | keys, "dependentSchemas": either}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    """JSON's null is the same as a field that is left out."""
    return {"anyOf": [schema, {"type": "null"}]}


def _without(*names: str) -> dict[str, Any]:
    return {"properties": dict.fromkeys(names, False)}


def _one_or_more(schema: dict[str, Any]) -> dict[str, Any]:
    return {"oneOf": [schema, {"type": "array", "items": schema}]}


def _plain(schema: Any) -> Any:
    """Without pydantic's titles, and without defaults that say only that a field may be left out."""
    if isinstance(schema, list):
        return [_plain(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: _plain(one) for name, one in value.items()} if key == "properties" else _plain(value)
        for key, value in schema.items()
        if not (key == "title" or (key == "default" and value in (None, [])))
    }


if __name__ == "__main__":
    FILE.write_text(text(generated()))
