"""Checks a request's fields by pydantic models, and translates their errors: found and expected values."""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    ValidationError,
    ValidatorFunctionWrapHandler,
    model_validator,
)
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError, core_schema

from shared.errors import InvalidQuery
from shared.search.json_body import whole_or_float

M = TypeVar("M", bound=BaseModel)

ABSENT: Any = None  # the default of a field that takes no null and has no other
UNSTORABLE = re.compile("[\0\ud800-\udfff]")  # NUL, and halves of a character

_brief = reprlib.Repr()  # of a value that may hold all of a large file
_brief.maxstring = _brief.maxother = _brief.maxlong = 100


class Body(BaseModel):
    """JSON's types as they are: no text for a number, no number for a truth value."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    noun: ClassVar[str] = "field"  # of its keys
    error: ClassVar[type[InvalidQuery]] = InvalidQuery

    @model_validator(mode="before")
    @classmethod
    def _know(cls, fields: Any) -> Any:
        """Unknown keys come first, and before anything is looked at."""
        for name in fields if isinstance(fields, dict) else ():
            if name not in cls.model_fields:
                whole = f"There is no {cls.noun} {brief(name)}. Expected: {', '.join(cls.model_fields)}."
                raise refusal(whole=whole, error=cls.error, value=name)
        return fields


@dataclass(frozen=True)
class Expected:
    """Metadata of a field: its values, in words, and the error for anything else."""

    words: str
    error: type[InvalidQuery] = InvalidQuery

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(self._check, handler(source))

    def _check(self, value: Any, inner: ValidatorFunctionWrapHandler) -> Any:
        try:
            return inner(value)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            if first["loc"] or first["type"] == REFUSAL:  # it names the misfit better
                raise
            raise refusal(expected=self.words, error=self.error) from error


REFUSAL = "refusal"


def refusal(**context: Any) -> PydanticCustomError:
    """For a validator to raise: with `expected`, with all that is `said` after the field's name, or with the
    `whole` message; and optionally with the kind of `error` and another `value` than the field's."""
    if "value" in context:
        context["value"] = (context["value"],)  # pydantic would read a text, which may hold half a character
    return PydanticCustomError(REFUSAL, "refused", context)


def validated(model: type[M], fields: Any) -> M:
    """`fields` as a `model`; an InvalidQuery, or the field's own kind of it, names the first misfit."""
    try:
        return model.model_validate(fields)
    except ValidationError as invalid:
        raise _translated(invalid.errors(include_url=False)[0]) from invalid


def _translated(found: ErrorDetails) -> InvalidQuery:
    context = found.get("ctx", {})
    error: type[InvalidQuery] = context.get("error", InvalidQuery)
    [value] = context.get("value", (found["input"],))
    if "whole" in context:
        return error(context["whole"], value=value)
    name = ".".join(part for part in map(str, found["loc"]) if part.isidentifier())  # neither places nor tags
    said = context.get("said") or f"is {brief(value)}. Expected {context['expected']}."
    return error(f"{name} {said}", value=value)


def json_fields(model: type[BaseModel]) -> tuple[str, ...]:
    """The model's fields that a form holds as JSON: numbers and plain objects."""
    properties = model.model_json_schema()["properties"]
    return tuple(
        name for name, schema in properties.items() if schema.get("type") in ("integer", "number", "object")
    )


def single(name: str, values: Sequence[str], error: type[InvalidQuery] = InvalidQuery) -> str:
    """The only value of a form field."""
    if len(values) != 1:
        raise error(f"{name} is given {len(values)} times. Give it once.", value=name)
    return values[0]


def json_or_text(text: str) -> Any:
    """A form field's value in JSON's type. Anything else stays text, which the model refuses."""
    try:
        return json.loads(text, parse_float=whole_or_float)
    except (ValueError, RecursionError):
        return text


def brief(value: Any) -> str:
    return f"{_brief.repr(value):.100}"


def is_storable(text: str) -> bool:
    """Whether a text in the database can hold it."""
    return UNSTORABLE.search(text) is None


def storable(text: str, *, error: type[InvalidQuery] = InvalidQuery) -> str:
    """`text`, for a validator; a refusal where the database can't hold it."""
    if not is_storable(text):
        raise refusal(
            said="holds a character that no text in a database can hold. Leave it out.", error=error
        )
    return text
