"""The report's page: complete by itself, harmless with any names, and readable by anybody."""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import pytest
from support import example_report
from support.example_report import AWKWARD
from typer.testing import CliRunner

from cli.__main__ import app
from evaluation.report import files, table, words
from shared import images
from shared.errors import SettingsError

DECODE = partial(images.decode, max_bytes=10**7, max_pixels=10**7)


class Page(HTMLParser):
    """The page's elements with their attributes, and its text."""

    def __init__(self, html: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "new"
    files.write(example_report.example(), folder, command="neural-search evaluate x", decode=DECODE)
    return folder


@pytest.fixture(scope="module")
def html(folder: Path) -> str:
    return (folder / "report.html").read_text()


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_a_report_is_its_users_alone(folder: Path):
    assert folder.stat().st_mode & 0o77 == 0
    assert {path.stat().st_mode & 0o77 for path in folder.iterdir()} == {0}


def test_so_is_one_that_takes_the_place_of_another(tmp_path: Path):
    report = example_report.example()
    page = files.write(report, tmp_path, command="", decode=DECODE)
    page.chmod(0o644)
    (tmp_path / "baseline.json").rename(tmp_path / "kept.json")
    (tmp_path / "baseline.json").symlink_to("kept.json")
    kept = (tmp_path / "kept.json").stat()
    files.write(report, tmp_path, command="", decode=DECODE)
    assert page.stat().st_mode & 0o77 == 0
    assert (tmp_path / "kept.json").stat().st_mtime_ns == kept.st_mtime_ns


@pytest.mark.parametrize("name", ["report.json", "baseline.json", "report.html"])
def test_a_file_of_something_else_is_left_alone_and_our_own_overwritten(
    name: str, folder: Path, tmp_path: Path
):
    files.prepare(folder)
    (tmp_path / name).write_text('{"mine": 1}')
    with pytest.raises(SettingsError, match=f"{name} is no report of `evaluate`"):
        files.write(example_report.example(), tmp_path, command="", decode=DECODE)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_folder_for_the_report_that_cant_be_is_told_before_the_work(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="--output"):
        files.prepare(tmp_path / "file" / "x")


def test_a_record_without_a_place_is_told_before_the_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def measured(*_: object, **__: object) -> None:
        raise AssertionError("measured")

    monkeypatch.setattr("benchmarks.embed.measure", measured)
    (tmp_path / "rec.md").write_text("hello")
    for name in ("rec.md", "none.md"):
        result = CliRunner().invoke(app, ["bench", "embed", "--record", str(tmp_path / name)])
        assert result.exit_code == 1 and name in result.stderr and "measured" not in result.stderr


def test_nothing_is_loaded_from_elsewhere(page: Page, html: str):
    addresses = [
        value or ""
        for _, attributes in page.elements
        for name, value in attributes.items()
        if name in ("src", "href")
    ]
    assert addresses and all(address.startswith(("data:image/jpeg;base64,", "#")) for address in addresses)
    assert not re.search(r"@import|url\((?!#)", html)
    assert page.all("script") == page.all("link") == page.all("iframe") == []


def test_names_from_strangers_are_text_and_never_markup(page: Page, html: str):
    assert AWKWARD in page.text and AWKWARD not in html
    assert page.all("i") and all(set(one) == {"style"} for one in page.all("i"))  # the bars, and no caption
    assert "thing <i>0</i>" in page.text and "<b>even</b>" in page.text


def test_each_id_is_given_once_and_each_reference_finds_its_own(page: Page, html: str):
    ids = Counter(attributes["id"] for _, attributes in page.elements if attributes.get("id"))
    assert {name for name, number in ids.items() if number > 1} == set()
    references = set(re.findall(r'(?:href="|url\()#([^")]+)', html))
    assert references <= set(ids)


def test_every_task_has_its_question_its_table_and_its_plots_in_words(page: Page):
    for kind in table.tasks(example_report.example().data):
        assert words.task(kind).question in page.text and words.task(kind).right in page.text
    assert len(page.all("figcaption")) == len(page.all("figure")) == len(page.all("svg")) >= 10
    assert len(page.all("table")) >= 5


def test_every_metric_in_a_table_is_explained(page: Page):
    for kind in table.tasks(example_report.example().data):
        for metric in table.leading(example_report.example().data, kind):
            assert words.metric(metric) != words.metric("unheard of") and words.metric(metric) in page.text


def test_plots_keep_their_words_as_text(page: Page):
    for label in (
        "answers looked at (k)",
        "right images found (recall)",
        "similarity",
        "suggested threshold",
    ):
        assert label in page.text


def test_every_picture_has_its_name(page: Page):
    pictures = page.all("img")
    assert len(pictures) > 20 and all(one.get("alt") for one in pictures)
    assert f"{AWKWARD}.png" in {one["alt"] for one in pictures}


def test_a_picture_that_is_gone_leaves_a_gap_and_no_error(tmp_path: Path):
    report = example_report.example()
    empty = type(report)(data=report.data, items=(), features=report.features)
    html = files.write(empty, tmp_path, command="", decode=DECODE).read_text()
    assert "no picture" in html and "<img" not in html


def test_the_json_is_the_reports_data(folder: Path):
    assert json.loads((folder / "report.json").read_text()) == json.loads(
        json.dumps(example_report.example().data)
    )


def test_the_same_data_make_the_same_page(folder: Path, tmp_path: Path):
    again = files.write(example_report.example(), tmp_path, command="neural-search evaluate x", decode=DECODE)
    assert again.read_bytes() == (folder / "report.html").read_bytes()


def test_a_method_that_was_asked_a_sample_leads_only_beyond_chance():
    metrics = {name: {"value": value, "low": 0, "high": 1} for name, value in (("mAP", 0.5),)}
    full = {"task": "label", "method": "model", "queries": 100, "metrics": metrics}
    better = {"mAP": {"value": 0.6, "low": 0, "high": 1}}
    sampled = {"task": "label", "method": "orb", "queries": 20, "metrics": better}
    comparison = {"task": "label", "metric": "mAP", "a": "model", "b": "orb", "low": -0.2, "high": 0.01}
    report = {"results": [full, sampled], "comparisons": [comparison]}
    assert table.best(report, "label") is full
    assert table.best(report | {"comparisons": [comparison | {"high": -0.01}]}, "label") is sampled
