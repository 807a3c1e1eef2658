"""An image that its decoder must be killed for, each time: it costs five attempts, and others nothing."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.command_line import CommandLine, write_picture
from support.http_servers import free_port
from support.waiting import eventually
from test_jobs_command import PATIENCE, Database, connected, explained, not_searchable

POISON = "all/m_poison.jpg"
NEIGHBOURS = ("a.png", "b.png", "y.png", "z.png")
START_OF_SCAN, END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"


def poison() -> bytes:
    """A progressive JPEG of 40 megapixels and 90 scans, which keep a decoder busy for seconds."""
    file = io.BytesIO()
    Image.new("RGB", (8000, 5000), "red").save(file, "JPEG", progressive=True)
    scans, end = file.getvalue()[:-2], file.getvalue()[-2:]
    assert end == END_OF_IMAGE
    return scans + scans[scans.rindex(START_OF_SCAN) :] * 90 + end


@pytest.fixture(scope="module")
def stack(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    folder = tmp_path_factory.mktemp("pictures")
    for name in NEIGHBOURS:
        write_picture(folder / name, "blue")
    (folder / "m_poison.jpg").write_bytes(poison())
    command = CommandLine(data_folder, free_port(), {"MAX_DECODE_SECONDS": "1"})
    command.spawn("up", "--detach")
    try:
        command.run("upload", folder, "--prefix", "all")
        yield command
    finally:
        command.spawn("down")


@pytest.fixture
def database(stack: CommandLine) -> Iterator[Database]:
    with connected(stack) as connection:
        yield connection


def given_up(stack: CommandLine, database: Database) -> dict[str, Any]:
    """The image in `jobs` once its attempts are spent; no back-off takes its time."""

    def look() -> dict[str, Any]:
        database.execute(
            "update neural_search.jobs set next_attempt_at = now()"
            " where state = 'pending' and lease_id is null"
        )
        database.execute("select neural_search.kick_due()")
        return explained(stack)[POISON]

    return eventually(look, PATIENCE, wanted=lambda job: job["state"] == "failed")


def test_it_is_named_given_up_with_its_cause_and_given_up_again_after_a_retry(
    stack: CommandLine, database: Database
):
    first = given_up(stack, database)
    assert (first["attempts"], first["error_class"]) == (5, "DecodingTimedOut")
    assert "MAX_DECODE_SECONDS" in first["error_message"]

    assert stack.json("jobs", "retry", "--prefix", POISON) == {"retried": 1}
    assert explained(stack)[POISON]["attempts"] < 5
    again = given_up(stack, database)
    assert (again["attempts"], again["error_class"]) == (5, "DecodingTimedOut")
    assert again["updated_at"] > first["updated_at"]

    assert not_searchable(database) == {POISON}
    [report] = stack.json("jobs")["report"]["failures"]
    assert (report["example_name"], report["objects"]) == (POISON, 1)
