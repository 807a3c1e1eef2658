"""JSON whose long strings are files in base64, however a client writes them."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from shared.errors import PayloadTooLarge
from shared.search import json_body, query

FILE = base64.b64encode(bytes(range(256)) * 400).decode()
WHITE = base64.b64encode(b"\xff" * 9_000).decode()


def load(text: str) -> Any:
    return json_body.load(text.encode(), most_long=8)


def in_lines(end: str) -> str:
    return end.join(FILE[place : place + 76] for place in range(0, len(FILE), 76))


@pytest.mark.parametrize("text", [FILE, in_lines("\n"), in_lines("\r\n")])
def test_files_in_base64_are_read_with_escaped_slashes_and_line_breaks(text: str):
    written = json.dumps({"image": text}).replace("/", "\\/")
    assert "".join(load(written)["image"].split()) == FILE


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_of_16_letters_are_taken(end: str):
    letters = base64.b64encode(bytes(3000)).decode()
    lines = end.join(letters[place : place + 16] for place in range(0, len(letters), 16))
    (example,) = query.from_json(json.dumps({"image": lines}).encode()).examples
    assert example.value == bytes(3000)


def test_a_line_break_within_an_escape_is_none():
    with pytest.raises(ValueError, match="escape"):
        load('{"image":"' + "A" * 20 + "\\n" + "A" * 20_000 + '\\u00\\n41"}')


def test_a_short_file_of_slashes_is_read():
    assert load(json.dumps({"image": WHITE}).replace("/", "\\/")) == {"image": WHITE}


@pytest.mark.parametrize("text", ["a\\\n" * 10_000, "a" * 20_000 + '"\\\n', "é\n" * 10_000])
def test_other_long_strings_are_read_as_they_are(text: str):
    assert load(json.dumps({"text": text})) == {"text": text}


@pytest.mark.parametrize("text", ['-"{}"', '1"{}"', '"{}"5', '"{}"e5'])
def test_a_long_string_beside_digits_is_no_json(text: str):
    with pytest.raises(ValueError, match="beside digits"):
        load('{"min_similarity":' + text.format("A" * 13_000) + "}")


@pytest.mark.parametrize("unit", ["\\n", "\\u0061", "QUJD\\n", "\\/", "QUJDQUJ\\/"])
def test_strings_of_many_escapes_count_as_the_rest_does(unit: str):
    with pytest.raises(PayloadTooLarge, match="one escape in 16 bytes"):
        load('{"image":"' + unit * (300_000 // len(unit)) + '"}')


def test_quotes_are_counted_first():
    with pytest.raises(PayloadTooLarge, match="65536 quotes"):
        load('{"":""}' * 20_000)
