"""A form's parts are bounded where they begin, and a file may hold any bytes."""

from __future__ import annotations

import flask
import pytest
from support.hostile_bodies import FILE, FORM
from werkzeug.test import EnvironBuilder

from shared.errors import PayloadTooLarge
from shared.http import bodies

END = b"\r\n--x--\r\n"
LONG = b"Content-Disposition: form-data; name=image; filename=a\r\na: " + b"b" * 20_000 + b"\r\n\r\n"


def files(body: bytes) -> list[bytes]:
    environ = EnvironBuilder(method="POST").get_environ() | {"CONTENT_TYPE": FORM["Content-Type"]}
    return bodies.form(flask.Request(environ), body)[1]


@pytest.mark.parametrize("inside", [b"a--x", b"a--x--", b"\x00--xy\r"])
def test_a_file_may_hold_the_boundary_inside_a_line(inside: bytes):
    content = inside + b"a" * 20_000
    assert files(FILE + content + END) == [content]


@pytest.mark.parametrize("before", [b"", b"\r\n", b"\n", b"\r", b"before", b"--xy --x "])
@pytest.mark.parametrize("after", [b"\r\n", b"\n", b"\r", b" \t\r\n"])
def test_long_headers_are_refused_wherever_a_part_can_begin(before: bytes, after: bytes):
    with pytest.raises(PayloadTooLarge, match="bytes of headers"):
        files(before + b"--x" + after + LONG + b"a" + END)


@pytest.mark.parametrize("line_break", [b"\r\n", b"\n", b"\r"])
def test_a_boundary_whose_line_does_not_end_is_refused(line_break: bytes):
    with pytest.raises(PayloadTooLarge, match="bytes of headers"):
        files(FILE + line_break + b"--x" + b" " * 20_000 + END)
