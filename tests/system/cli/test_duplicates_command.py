"""`duplicates` on the embedded stack: copies are told from other images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from support.command_line import CommandLine

from shared.settings import CHECKOUT

PHOTOGRAPHS = CHECKOUT / "examples" / "images"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A horse in five files, an owl in two, and crops and other images that are no copies."""
    folder = tmp_path_factory.mktemp("pictures")
    horse = Image.open(PHOTOGRAPHS / "animals/horse.jpg").convert("RGB")
    owl = Image.open(PHOTOGRAPHS / "animals/owl.jpg").convert("RGB")
    width, height = horse.size
    horse.save(folder / "horse.png")
    (folder / "again.png").write_bytes((folder / "horse.png").read_bytes())
    horse.save(folder / "horse-rough.jpg", quality=30)
    horse.save(folder / "horse.webp", quality=60)
    horse.resize((width // 2, height // 2)).save(folder / "horse-small.jpg")
    horse.crop((width // 4, 0, width, height * 3 // 4)).save(folder / "head.png")
    horse.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "mirrored.png")
    owl.save(folder / "owl.png")
    owl.resize((owl.width // 3, owl.height // 3)).save(folder / "owl-small.png")
    for name, colour in (("black", "black"), ("white", "white")):
        Image.new("RGB", (300, 200), colour).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def filled(stack: CommandLine, folder: Path) -> Iterator[CommandLine]:
    stack.run("upload", folder, "--prefix", "copies", "--wait")
    yield stack


def test_copies_are_grouped_the_largest_first_and_other_images_left_alone(filled: CommandLine):
    answer = filled.json("duplicates", "--prefix", "copies/")
    groups = [[row["content"].removeprefix("copies/") for row in group] for group in answer["groups"]]
    assert answer["images"] == 11
    assert [set(group) for group in groups] == [
        {"again.png", "horse.png", "horse-rough.jpg", "horse.webp", "horse-small.jpg"},
        {"owl.png", "owl-small.png"},
    ]
    assert groups[0][-1] == "horse-small.jpg" and groups[1][0] == "owl.png"


def test_the_table_says_what_could_be_spared(filled: CommandLine):
    text = filled.run("duplicates", "--bucket", "images", "--prefix", "copies/").stdout
    assert "Among 11 images: 2 groups of copies; 5 images could be spared" in text
    assert "images/copies/owl-small.png" in text


def test_where_nothing_is_searchable_it_says_what_to_look_at(filled: CommandLine):
    assert "neural-search jobs" in filled.run("duplicates", "--prefix", "nowhere").stdout
    assert "none is a copy" in filled.run("duplicates", "--prefix", "copies/white").stdout
    assert filled.json("duplicates", "--prefix", "nowhere") == {"images": 0, "groups": []}


def test_without_a_stack_it_says_how_to_start_one(nowhere: CommandLine):
    assert "neural-search up" in nowhere.error("duplicates")
