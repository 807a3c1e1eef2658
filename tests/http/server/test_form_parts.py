"""A form's parts are bounded where they begin, and a file may hold any bytes."""

from __future__ import annotations

import io
import random
import tracemalloc
from email.message import EmailMessage

import flask
import httpx
import pytest
from support.hostile_bodies import FILE, FORM
from werkzeug.datastructures import FileStorage
from werkzeug.formparser import FormDataParser
from werkzeug.test import EnvironBuilder, encode_multipart

from shared.errors import InvalidQuery, PayloadTooLarge
from shared.http import bodies, forms

END = b"\r\n--x--\r\n"
LONG = b"Content-Disposition: form-data; name=image; filename=a\r\na: " + b"b" * 20_000 + b"\r\n\r\n"


def files(body: bytes) -> list[bytes]:
    environ = EnvironBuilder(method="POST").get_environ() | {"CONTENT_TYPE": FORM["Content-Type"]}
    return bodies.form(flask.Request(environ), body)[1]


@pytest.mark.parametrize("inside", [b"a--x", b"a--x--", b"\x00--xy\r"])
def test_a_file_may_hold_the_boundary_inside_a_line(inside: bytes):
    content = inside + b"a" * 20_000
    assert files(FILE + content + END) == [content]


@pytest.mark.parametrize("before", [b"", b"\r\n", b"\n", b"\r", b"\n\r", b"before\r\n", b"--xy --x \n"])
@pytest.mark.parametrize("after", [b"\r\n", b"\n", b"\r", b" \t\r\n"])
def test_long_headers_are_refused_wherever_a_part_can_begin(before: bytes, after: bytes):
    with pytest.raises(PayloadTooLarge, match="bytes of headers"):
        files(before + b"--x" + after + LONG + b"a" + END)


@pytest.mark.parametrize("parameter", [b'a="";', b'b="c";', b";"])
def test_the_headers_of_all_parts_together_are_bounded(parameter: bytes):
    """A hundred parts of 8 KiB of parameters each took 0.6 CPU seconds."""
    head = b"Content-Disposition: form-data; name=text; " + parameter * 1600
    part = b"--x\r\n" + head[:8000] + b"\r\n\r\nred\r\n"
    with pytest.raises(PayloadTooLarge, match="parts have more than 32768 bytes of headers"):
        files(part * 100 + b"--x--")
    honest = b"--x\r\n" + FIELD.encode() + b"\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nred\r\n"
    assert files(honest * 92 + FILE * 8 + b"a" + END) == [b""] * 7 + [b"a"]


@pytest.mark.parametrize("line_break", [b"\r\n", b"\n", b"\r"])
def test_a_boundary_whose_line_does_not_end_is_refused(line_break: bytes):
    with pytest.raises(PayloadTooLarge, match="bytes of headers"):
        files(FILE + line_break + b"--x" + b" " * 20_000 + END)


FIELD = 'Content-Disposition: form-data; name="text"'
FORMS = {
    "nothing": "--x--\r\n",
    "nothing behind the last": f"--x\r\n{FIELD}\r\n\r\nred\r\n--x--",
    "text before and behind": f"before\r\n--x\r\n{FIELD}\r\n\r\nred\r\n--x-- \r\nbehind\r\n--x\r\n",
    "line feeds": f"--x\n{FIELD}\n\nred\n--x--\n",
    "returns": f"--x\r{FIELD}\r\rred\r--x--\r",
    "padding": f"--x \t\r\n{FIELD}\r\n\r\nred\r\n--x\t \r\n{FIELD}\r\n\r\nblue\r\n--x-- \r\n",
    "no value": f"--x\r\n{FIELD}\r\n\r\n\r\n--x--\r\n",
    "a value's line is the boundary's": f"--x\r\n{FIELD}\r\n\r\n--x--\r\n",
    "line breaks around a value": f"--x\r\n{FIELD}\r\n\r\n\r\nred\n\r\n\r\n--x--\r\n",
    "nearly a boundary": f"--x\r\n{FIELD}\r\n\r\n\r\n--xy\r\n--x-\r\n-x\r\n--x--\r\n",
    "a name in any case": f"--x\r\n{FIELD.upper().replace('TEXT', 'text')}\r\n\r\nred\r\n--x--\r\n",
    "a header in two lines": f"--x\r\nX: y;\r\n\tz\r\n{FIELD}\r\n\r\nred\r\n--x--\r\n",
    "Latin-1": f"--x\r\n{FIELD}\r\nContent-Type: text/plain; charset=ISO-8859-1\r\n\r\nr\xe9d\r\n--x--\r\n",
    "no UTF-8": f"--x\r\n{FIELD}\r\nContent-Type: text/plain; charset=klingon\r\n\r\nr\xe9d\r\n--x--\r\n",
}


def parsed_by_werkzeug(body: bytes, boundary: str) -> forms.Form:
    parser = FormDataParser(lambda *_, **__: io.BytesIO(), silent=False)
    _, fields, files = parser.parse(
        io.BytesIO(body), "multipart/form-data", len(body), {"boundary": boundary}
    )
    return fields.to_dict(flat=False), [file.read() for file in files.getlist("image")]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_form_is_read_as_by_werkzeug(form: str):
    body = form.encode("latin-1")
    assert forms.parse(body, "x") == parsed_by_werkzeug(body, "x")


@pytest.mark.parametrize("seed", range(100))
def test_fields_and_files_of_any_bytes_are(seed: int):
    draw = random.Random(seed)
    boundary = draw.choice(["x", "--", "a b", "-" * 34 + "x" + "-" * 35, "a" * 70, "+_./:=?'(),"])
    pieces = [
        b"\r",
        b"\n",
        b"\r\n",
        b"-",
        b"--",
        boundary.encode(),
        boundary[:-1].encode(),
        b" ",
        b"y",
        b"\x00",
    ]
    fields = [(draw.choice(["text", "like"]), f"{n} äöü😀\r\n-") for n in range(draw.randint(0, 4))]
    # No line of the boundary's own: it would be one.
    files = [b"z".join(draw.choices(pieces, k=draw.randint(0, 90))) for _ in range(draw.randint(0, 8))]
    data: dict[str, list[object]] = {"image": [FileStorage(io.BytesIO(file), "a.png") for file in files]}
    for name, value in fields:
        data.setdefault(name, []).append(value)
    body = encode_multipart(data, boundary)[1]
    assert forms.parse(body, boundary) == parsed_by_werkzeug(body, boundary)
    assert forms.parse(body, boundary)[1] == files


def test_forms_of_clients_are_read():
    fields, file = {"text": "rot, grün", "limit": "5"}, b"\r\n--\x00" * 999
    request = httpx.Request("POST", "http://x", data=fields, files={"image": ('ä".png', file)})
    message = EmailMessage()
    message["Content-Type"] = request.headers["Content-Type"]
    boundary = message.get_boundary()
    assert boundary
    assert forms.parse(request.read(), boundary) == ({k: [v] for k, v in fields.items()}, [file])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no form",
        b"--x",
        b"--x\r\n",
        b"a--x--\r\n",
        FILE,
        FILE + b"a\r\n--x\r\n",
        b"--x\r\n\r\na\r\n--x--\r\n",
        b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--\r\n",
        b"--x\r\nContent-Disposition: form-data; name=\xff\r\n\r\na\r\n--x--\r\n",
    ],
)
def test_other_bodies_are_no_forms(body: bytes):
    with pytest.raises(InvalidQuery, match="no form"):
        forms.parse(body, "x")


@pytest.mark.parametrize("boundary", ["", "a" * 71, "ä"])
def test_other_boundaries_are_refused(boundary: str):
    with pytest.raises(InvalidQuery, match="boundary"):
        forms.parse(b"", boundary)


def test_the_fields_are_bounded_together():
    part = FILE.split(b";")[0] + b"; name=text\r\n\r\n" + b"a" * 9000 + b"\r\n"
    assert len(forms.parse(part * 29 + b"--x--", "x")[0]["text"]) == 29
    with pytest.raises(PayloadTooLarge, match="bytes beside its files"):
        forms.parse(part * 30 + b"--x--", "x")


@pytest.mark.parametrize("unit", [b"a", b"-", b"\r\n", b"\r\n--"])
def test_a_file_is_copied_once(unit: bytes):
    content = unit * (8_000_000 // len(unit))
    body = FILE + content + END
    tracemalloc.start()
    try:
        assert files(body) == [content]
        assert tracemalloc.get_traced_memory()[1] < 1.1 * len(content)
    finally:
        tracemalloc.stop()
