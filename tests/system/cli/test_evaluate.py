"""`neural-search evaluate` on folders and tables, with methods that need no model."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.command_line import CommandLine
from support.hostile_images import large_and_plain

from cli.commands import evaluate as command
from shared.images import DecodedImage
from shared.images.sandbox import pool
from shared.images.sandbox.pool import DecoderPool
from shared.settings import Settings

QUICK = ("--methods", "phash,random", "--no-indexes")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two labels of four pictures each."""
    for number in range(8):
        path = tmp_path / "pictures" / ("light" if number % 2 else "dark") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        tilted = Image.linear_gradient("L").rotate(number * 40, fillcolor=128 * (number % 2)).resize((64, 64))
        tilted.convert("RGB").save(path)
    return tmp_path / "pictures"


def test_a_folder_is_measured_method_by_method(nowhere: CommandLine, pictures: Path):
    done = nowhere.run("evaluate", pictures, *QUICK)
    assert "pictures: 8 images, with 95% intervals" in done.stdout
    assert "Find more of the same kind (label, 8 queries)" in done.stdout
    assert "Recognise edited copies (copies, 64 queries)" in done.stdout
    assert [line.split()[0] for line in done.stdout.splitlines() if line.startswith(("phash", "random"))]


def test_json_has_the_whole_report_and_nothing_else(nowhere: CommandLine, pictures: Path):
    report = nowhere.json("evaluate", pictures, *QUICK, "--tasks", "label", "--seed", "7")
    assert (report["format"], report["seed"], report["collection"]["items"]) == (1, 7, 8)
    assert {result["task"] for result in report["results"]} == {"label"}
    assert {result["method"] for result in report["results"]} == {"phash", "random"}


def test_one_set_of_decoders_reads_all_of_it_apart_from_the_commands_process(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    started: list[DecoderPool] = []
    decoded: list[int] = []

    def start(configuration: Settings) -> DecoderPool:
        limits = {"seconds": 9, "memory": 2**30, "max_bytes": 10**7, "max_pixels": 10**7}
        started.append(pool.DecoderPool(processes=1, **limits))
        return started[0]

    def decode(self: DecoderPool, data: bytes, **how: Any) -> DecodedImage:
        found = undisturbed(self, data, **how)
        decoded.extend(self.pids)
        return found

    undisturbed = pool.DecoderPool.decode
    monkeypatch.setattr(pool, "start", start)
    monkeypatch.setattr(pool.DecoderPool, "decode", decode)
    options = {"methods": "phash", "tasks": "label", "indexes": False, "folder": tmp_path / "out"}
    command.evaluate(str(pictures), **options)
    assert len(started) == 1 and not started[0].pids
    assert len(decoded) > 8 and len({*decoded}) == 1 and os.getpid() not in decoded


def test_a_file_that_harms_its_decoder_is_left_out_and_named(nowhere: CommandLine, pictures: Path):
    (pictures / "dark" / "large.webp").write_bytes(large_and_plain())
    narrow = replace(nowhere, settings={"MAX_DECODE_MEMORY": str(128 * 1024 * 1024)})
    report = narrow.json("evaluate", pictures, *QUICK, "--tasks", "label")
    assert [one["key"] for one in report["failures"]] == ["dark/large.webp"]
    assert "MAX_DECODE_MEMORY" in report["failures"][0]["message"]


def test_a_limit_takes_a_sample(nowhere: CommandLine, pictures: Path):
    report = nowhere.json("evaluate", pictures, *QUICK, "--limit", "5", "--tasks", "copies")
    assert report["collection"]["items"] == 5


def test_a_table_is_measured_too(nowhere: CommandLine, pictures: Path):
    table = pictures / "things.jsonl"
    rows = [{"image": f"{'light' if n % 2 else 'dark'}/{n}.png", "group": n // 2} for n in range(8)]
    table.write_text("\n".join(map(json.dumps, rows)))
    report = nowhere.json("evaluate", table, *QUICK, "--tasks", "pairs")
    assert report["results"][0]["queries"] == 8


def test_the_output_folder_gets_page_data_and_baseline(nowhere: CommandLine, pictures: Path, tmp_path: Path):
    done = nowhere.run("evaluate", pictures, *QUICK, "--tasks", "label", "--output", tmp_path / "out" / "new")
    assert f"The report: {tmp_path / 'out/new/report.html'}" in done.stdout
    names = {path.name for path in (tmp_path / "out/new").iterdir()}
    assert names == {"report.html", "report.json", "baseline.json"}


def test_the_gate_passes_the_same_results_and_fails_worse_ones(
    nowhere: CommandLine, pictures: Path, tmp_path: Path
):
    arguments = ("evaluate", pictures, *QUICK, "--tasks", "label")
    nowhere.run(*arguments, "--output", tmp_path)
    kept = tmp_path / "baseline.json"
    assert "Against the baseline: no worse" in nowhere.run(*arguments, "--baseline", kept).stdout
    better = json.loads(kept.read_text())
    for result in better["results"]:
        result["metrics"]["mAP"]["value"] = 1.0
    better["per_query"]["label/phash"]["mAP"] = [1] * 8
    kept.write_text(json.dumps(better))
    done = nowhere.run(*arguments, "--baseline", kept, status=1)
    assert "worse" in done.stdout and "label, phash: mAP fell from 1.000 to" in done.stderr
    nowhere.run(*arguments, "--baseline", kept, "--max-drop", "1", status=0)
    drops = nowhere.json(*arguments, "--baseline", kept, status=1)["drops"]
    assert any(drop.startswith("label, phash: mAP") for drop in drops)


def test_a_baseline_that_cannot_be_read_is_told_before_the_work(nowhere: CommandLine, pictures: Path):
    line = nowhere.error("evaluate", pictures, *QUICK, "--baseline", pictures / "none.json")
    assert "none.json' can't be read" in line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere-at-all",), "is no folder"),
        (("emoji:train",), "no part 'train'"),
        ((".", "--methods", "magic"), "There is no method 'magic'"),
        ((".", "--label", "breed"), "--label is for buckets"),
        (("bucket:photos",), "SUPABASE_PUBLISHABLE_KEY"),
    ],
)
def test_what_cannot_be_evaluated_is_one_line_with_the_remedy(
    arguments: tuple[str, ...],
    said: str,
    nowhere: CommandLine,
    pictures: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(pictures)
    assert said in nowhere.error("evaluate", *arguments)


def test_without_the_extra_the_error_says_how_to_install_it(
    nowhere: CommandLine, pictures: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(command, "NEEDED", {"evaluation": ("json", "not_installed_here")})
    line = nowhere.error("evaluate", pictures)
    assert "(not_installed_here). Install them with `pip install" in line and "evaluation]" in line
