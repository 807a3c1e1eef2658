"""Uploading: interruptions, faults of Storage that a real one won't produce on demand, and the waiting."""

from __future__ import annotations

import hashlib
import random
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.client import etags
from cli.client import outage as outages
from cli.client import transfer as transfers
from cli.client.local_files import LocalFile
from cli.client.transfer import Report, Watch, transfer
from shared.errors import DatabaseUnavailable, ObjectNotFound, StackError


class Remote:
    """A bucket that behaves as each test needs; the seam is supabase-py's own."""

    def __init__(self, faults: int = 0):
        self.stored: list[str] = []
        self.faults = faults
        self.slow = False

    def info(self, name: str) -> dict[str, Any]:
        raise ObjectNotFound()

    def upload(self, name: str, path: Path, options: dict[str, str]) -> None:
        if self.faults:
            self.faults -= 1
            raise httpx.ReadTimeout("silence")
        if self.slow:
            threading.Event().wait(0.05)
        self.stored.append(name)


class Project:
    """A project with that bucket, and an index that answers `states`."""

    def __init__(self, remote: Remote | None = None, states: dict[str, str] | None = None):
        self.remote = remote or Remote()
        self.states = states or {}
        self.storage = self

    def from_(self, bucket: str) -> Remote:
        return self.remote

    def call(self, function: str, bucket: str, names: list[str]) -> list[dict[str, Any]]:
        return [{"name": name, "state": self.states[name], "reason": "because"} for name in names]


class Clock:
    """The outage's: a pause takes its time on this clock alone."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def pause(self, _: threading.Event, seconds: float) -> bool:
        self.now += seconds
        return False


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(outages, "time", clock)
    monkeypatch.setattr(outages.Outage, "_pause", lambda self, seconds: clock.pause(self._ended, seconds))
    monkeypatch.setattr(transfers.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(transfers, "POLL_SECONDS", 0.0)
    return clock


def files(tmp_path: Path, *names: str) -> list[LocalFile]:
    for name in names:
        (tmp_path / name).write_text(name)
    return [LocalFile(path=tmp_path / name, name=name, content_type="image/png") for name in names]


def watch(states: dict[str, str]) -> Watch:
    observer = Watch(Project(states=states), "images", Report())  # type: ignore[arg-type]
    for name in states:
        observer.add(name)
    return observer


def test_what_is_queued_is_dropped_when_interrupted(tmp_path: Path):
    project, report = Project(), Report()

    def interrupt(label: str, done: int) -> None:
        raise KeyboardInterrupt

    project.remote.slow = True
    names = [f"{number}.png" for number in range(200)]
    with pytest.raises(KeyboardInterrupt):
        transfer(project, "images", files(tmp_path, *names), report, show=interrupt)  # type: ignore[arg-type]
    assert len(project.remote.stored) < len(names)


def test_an_overloaded_storage_is_tried_again(tmp_path: Path):
    project, report = Project(Remote(faults=2)), Report()
    transfer(project, "images", files(tmp_path, "a.png"), report)  # type: ignore[arg-type]
    assert project.remote.stored == ["a.png"] and list(report.uploaded) == ["a.png"]


def test_a_storage_that_never_answers_is_given_up_in_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
):
    monkeypatch.setattr(transfers, "PARALLEL", 1)
    project, report = Project(Remote(faults=1_000_000)), Report()
    names = [f"{number}.png" for number in range(50)]
    transfer(project, "images", files(tmp_path, *names), report)  # type: ignore[arg-type]
    assert sorted(report.refused) == sorted(names) and "silence" in report.refused["0.png"]
    assert clock.now < 10


def test_a_connection_lost_for_a_minute_after_the_first_upload_loses_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(transfers, "PARALLEL", 1)
    project, report = Project(), Report()
    store = project.remote.upload

    def lost(name: str, path: Path, options: dict[str, str]) -> None:
        if project.remote.stored and clock.now < 60:
            raise httpx.ConnectError("Network is unreachable")
        store(name, path, options)

    project.remote.upload = lost  # type: ignore[method-assign]
    transfer(project, "images", files(tmp_path, "a.png", "b.png", "c.png"), report)  # type: ignore[arg-type]
    assert sorted(report.uploaded) == ["a.png", "b.png", "c.png"] and not report.refused
    assert capsys.readouterr().err.count("Waiting for it, up to 2 minutes") == 1


def test_an_index_out_of_reach_is_asked_again():
    observer = watch({"a": "searchable"})
    ask, faults = observer.project.call, iter([DatabaseUnavailable("silence")])

    def call(function: str, **arguments: Any) -> Any:
        for fault in faults:
            raise fault
        return ask(function, **arguments)

    observer.project.call = call  # type: ignore[method-assign]
    observer.finish(lambda settled: None)
    assert list(observer.report.searchable) == ["a"]


@pytest.mark.parametrize("part", [5, 6])
def test_the_same_bytes_are_known_by_the_tag_of_an_upload_in_parts(tmp_path: Path, part: int):
    data, size = random.Random(part).randbytes(11 * etags.MIB), part * etags.MIB
    (tmp_path / "large.png").write_bytes(data)
    digests = [hashlib.md5(data[start : start + size]).digest() for start in range(0, len(data), size)]
    tag = f'"{hashlib.md5(b"".join(digests)).hexdigest()}-{len(digests)}"'
    assert etags.matches(tag, tmp_path / "large.png")
    (tmp_path / "large.png").write_bytes(data[:-1] + b"x")
    assert not etags.matches(tag, tmp_path / "large.png")


def test_a_file_that_vanishes_fails_that_file_alone(tmp_path: Path):
    project, report = Project(), Report()
    gone, there = files(tmp_path, "gone.png", "there.png")
    project.remote.upload = lambda name, path, options: path.read_bytes()  # type: ignore[method-assign,assignment]
    gone.path.unlink()
    transfer(project, "images", [gone, there], report)  # type: ignore[arg-type]
    assert list(report.refused) == ["gone.png"] and list(report.uploaded) == ["there.png"]


def test_each_state_of_the_index_is_told_apart():
    observer = watch({"a": "searchable", "b": "skipped", "c": "failed", "d": "ignored", "e": "unknown"})
    observer.poll()
    assert list(observer.report.searchable) == ["a"] and not observer.pending
    reasons = observer.report.unsearchable
    assert reasons["b"] == "skipped: because" and "neural-search buckets index images" in reasons["d"]
    assert sorted(reasons) == ["b", "c", "d", "e"]


def test_waiting_ends_where_nothing_becomes_searchable_any_more(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(transfers, "PATIENCE_SECONDS", 0.0)
    with pytest.raises(StackError, match="1 images still wait"):
        watch({"a": "pending"}).finish(lambda settled: None)
