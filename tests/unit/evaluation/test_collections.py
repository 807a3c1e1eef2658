"""Collections from folders and tables."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from evaluation.collection import Collection, Item
from evaluation.sources import folder, image_table
from shared.errors import CollectionError, ImageTooLarge, NotAnImage
from shared.testing import picture


def item(key: str, **known: object) -> Item:
    return Item(key=key, read=picture, **known)  # type: ignore[arg-type]


@pytest.fixture
def write(tmp_path: Path):
    def write(name: str, content: bytes | str = b"image") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_a_collection_is_ordered_by_key():
    assert [one.key for one in Collection(name="c", items=(item("b"), item("a"))).items] == ["a", "b"]


def test_a_key_that_appears_twice_is_refused_by_name():
    with pytest.raises(CollectionError, match="1 keys appear more than once, the first is 'a'"):
        Collection(name="c", items=(item("a"), item("b"), item("a")))


@pytest.mark.parametrize(
    "changed",
    [
        {"label": "x"},
        {"captions": ("x",)},
        {"group": "x"},
        {"rendition": "x"},
    ],
)
def test_the_fingerprint_changes_with_what_is_known_of_an_image(changed: dict[str, object]):
    digests = {"a": "1", "b": "2"}
    before = Collection(name="c", items=(item("a"), item("b"))).fingerprint(digests)
    assert Collection(name="d", items=(item("b"), item("a"))).fingerprint(digests) == before
    assert Collection(name="c", items=(item("a", **changed), item("b"))).fingerprint(digests) != before


def test_the_fingerprint_changes_with_a_files_bytes():
    collection = Collection(name="c", items=(item("a"),))
    assert collection.fingerprint({"a": "1"}) != collection.fingerprint({"a": "2"})


def test_a_folders_sub_folders_are_labels(write, tmp_path: Path):
    for name in (
        "cats/one.JPG",
        "cats/wild/two.png",
        "three.webp",
        "notes.txt",
        ".thumbs/four.jpg",
        "five.heic",
    ):
        write(name, name)
    found = {one.key: (one.label, one.read()) for one in folder.collection(tmp_path).items}
    assert found == {
        "cats/one.JPG": ("cats", b"cats/one.JPG"),
        "cats/wild/two.png": ("cats/wild", b"cats/wild/two.png"),
        "five.heic": (None, b"five.heic"),
        "three.webp": (None, b"three.webp"),
    }


def test_a_file_name_that_is_not_utf8_is_shown_with_its_bytes(tmp_path: Path):
    (tmp_path / os.fsdecode(b"caf\xe9")).mkdir()
    (tmp_path / os.fsdecode(b"caf\xe9/a\xff.png")).write_bytes(b"image")
    (one,) = folder.collection(tmp_path).items
    assert (one.key, one.label, one.read()) == (r"caf\xe9/a\xff.png", r"caf\xe9", b"image")


@pytest.mark.parametrize("name", ["/dev/zero", "pipe.png", "large.png"])
def test_a_table_names_regular_files_of_at_most_max_bytes(name: str, write, tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.png")
    write("large.png", b"x" * 11)
    (one,) = image_table.collection(write("table.csv", f"image\n{name}\n"), max_bytes=10).items
    with pytest.raises(ImageTooLarge if "large" in name else NotAnImage):
        one.read()


def test_a_folders_file_of_more_than_max_bytes_is_refused(write, tmp_path: Path):
    write("large.png", b"x" * 11)
    (one,) = folder.collection(tmp_path, max_bytes=10).items
    with pytest.raises(ImageTooLarge, match="has 11 bytes, at most 10"):
        one.read()


def test_a_folder_without_images_and_a_path_that_is_none_are_refused(write, tmp_path: Path):
    with pytest.raises(CollectionError, match="There is no image"):
        folder.collection(tmp_path)
    with pytest.raises(CollectionError, match="is no folder"):
        folder.collection(write("image.png"))


def test_a_csv_gives_labels_groups_and_captions(write):
    write("a.png", b"bytes of a")
    path = write("table.csv", 'image,label,caption,group,size\na.png,cat,"a cat, asleep",g,1\nb.png,,,,2\n')
    first, second = image_table.collection(path).items
    assert (first.key, first.label, first.captions, first.group) == ("a.png", "cat", ("a cat, asleep",), "g")
    assert (second.label, second.captions, second.group, second.rendition) == (None, (), None, None)
    assert first.read() == b"bytes of a"


def test_an_image_with_several_captions_has_several_rows_or_a_list(write):
    rows = [{"image": "a.png", "caption": ["one", "two"], "label": 3}, {"image": "b.png", "caption": "three"}]
    lines = "\n".join(json.dumps(row) for row in rows)
    listed = image_table.collection(write("table.jsonl", lines + "\n\n"))
    assert [one.captions for one in listed.items] == [("one", "two"), ("three",)]
    assert [one.label for one in listed.items] == ["3", None]
    several = image_table.collection(write("table.csv", "image,caption\na.png,one\nb.png,three\na.png,two\n"))
    assert [one.captions for one in several.items] == [("one", "two"), ("three",)]


def test_a_spreadsheets_byte_order_mark_and_line_ends_do_no_harm(write):
    path = write("table.csv", b'\xef\xbb\xbfimage,caption\r\na.png,"two\r\nlines"\r\n')
    (one,) = image_table.collection(path).items
    assert (one.key, one.captions) == ("a.png", ("two\nlines",))


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("t.csv", "file,label\na,b\n", "has the columns file, label. Expected a header line with image"),
        ("t.csv", "", "has the columns none"),
        ("t.csv", "image,label\n", "has no rows"),
        ("t.csv", "image,label\n,b\n", "Line 2 .* names no image"),
        ("t.csv", "image,label\na,b\na,b\n", "Line 3 .* names an image again"),
        ("t.csv", "image,caption,label\na,x,b\na,y,c\n", "Line 3 .* names an image again"),
        ("t.jsonl", '{"image": "a"}\n{"image"\n', "Line 2 .* is no JSON"),
        ("t.jsonl", '["a"]\n', "Line 1 .* is no JSON object"),
        ("t.jsonl", '{"image": 3}\n', "Line 1 .* names no image"),
        ("t.jsonl", '{"image": "a", "caption": [1]}\n', "Line 1 .* has a caption that is no text"),
        ("t.jsonl", '{"image": "a", "label": ["x"]}\n', "Line 1 .* has a label that is no text"),
        ("t.csv", b"image\n\xff\xfe\n", "can't be read"),
        ("t.csv", "image\na\0b\n", "Line 2 .* names no image"),
        ("t.csv", f"image,label\na,{'x' * 200_000}\n", "is no CSV .field larger"),
        ("t.csv", "image,label\na,b\n./a,b\n", "Line 3 .* names an image again"),
        ("t.jsonl", '{"image": "\\ud800"}\n', "Line 1 .* names no image"),
        ("t.jsonl", '{"image": "a", "label": "\\ud800"}\n', "Line 1 .* has a label that is no text"),
        ("t.jsonl", '{"image": "a", "caption": "\\u0000"}\n', "Line 1 .* has a caption that is no text"),
        ("t.jsonl", "[" * 100_000, "Line 1 .* is no JSON .* …"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused_with_its_line(write, name: str, content: str, told: str):
    with pytest.raises(CollectionError, match=told):
        image_table.collection(write(name, content))


def test_a_table_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(CollectionError, match=r"can't be read"):
        image_table.collection(tmp_path / "none.csv")
