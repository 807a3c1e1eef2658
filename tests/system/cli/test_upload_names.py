"""Which files `upload` takes, and under which names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from cli.client.local_files import content_type, find_files, storage_name
from shared.errors import RequestError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def names(paths: list[Path], prefix: str = "") -> list[str]:
    return [file.name for file in find_files(paths, prefix)[0]]


def test_a_folders_images_keep_their_sub_folders(tmp_path: Path):
    touch(tmp_path, "cat.jpg", "energy/solar.png", "energy/wind/mill.webp")
    assert names([tmp_path]) == ["cat.jpg", "energy/solar.png", "energy/wind/mill.webp"]


def test_an_image_without_a_telling_name_is_known_by_its_first_bytes(tmp_path: Path):
    for kind in ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "AVIF"):
        Image.new("RGB", (8, 8)).save(tmp_path / f"scan-{kind}", kind)
    kinds = [file.content_type for file in find_files([tmp_path, tmp_path / "scan-PNG"])[0]]
    assert kinds == [f"image/{kind}" for kind in ("avif", "gif", "jpeg", "png", "tiff", "webp")]


def test_what_is_no_image_is_left_out_even_where_it_is_named_unless_everything_is_asked_for(tmp_path: Path):
    touch(tmp_path, "notes.txt", "scan")
    files, left_out = find_files([tmp_path / "notes.txt", tmp_path / "scan"])
    assert files == [] and [path.name for path in left_out] == ["notes.txt", "scan"]
    files, left_out = find_files([tmp_path], everything=True)
    assert [file.content_type for file in files] == ["text/plain", "application/octet-stream"]
    assert left_out == []


def test_what_is_no_image_by_its_name_is_left_out_of_folders_and_said(tmp_path: Path):
    touch(tmp_path, "cat.jpg", "notes.txt", "no-suffix")
    files, left_out = find_files([tmp_path])
    assert [file.name for file in files] == ["cat.jpg"]
    assert sorted(path.name for path in left_out) == ["no-suffix", "notes.txt"]


def test_hidden_files_and_folders_are_passed_by(tmp_path: Path):
    touch(tmp_path, ".hidden.jpg", ".cache/thumbnail.jpg", "cat.jpg")
    assert find_files([tmp_path])[1] == [] and names([tmp_path]) == ["cat.jpg"]


@pytest.mark.parametrize("everything", [False, True])
def test_a_link_out_of_the_folder_is_left_out_and_one_within_it_or_named_is_followed(
    tmp_path: Path, everything: bool
):
    touch(tmp_path, "secret.jpg", "album/cat.jpg")
    for link, target in (
        ("out.jpg", "../secret.jpg"),
        ("whole.jpg", tmp_path / "secret.jpg"),
        ("in.jpg", "cat.jpg"),
    ):
        (tmp_path / "album" / link).symlink_to(target)
    (tmp_path / "link").symlink_to("album")
    for folder in ("album", "link"):
        files, left_out = find_files([tmp_path / folder], everything=everything)
        assert [file.name for file in files] == ["cat.jpg", "in.jpg"]
        assert [path.name for path in left_out] == ["out.jpg", "whole.jpg"]
    assert names([tmp_path / "album" / "out.jpg"]) == ["out.jpg"]


def test_a_files_folders_in_the_bucket_are_those_that_it_lies_in(tmp_path: Path):
    touch(
        tmp_path,
        "½ cup.jpg",
        "a\uff0fb.jpg",
        "℅/me.jpg",
        "‥\uff0fx.jpg",
        "‥/y.jpg",
        "\uff0e/z.jpg",
        "\u200b/w.jpg",
    )
    found = {Path(file.path).name: file.name for file in find_files([tmp_path], "album")[0]}
    assert found == {
        "½ cup.jpg": "album/1-2 cup.jpg",
        "a\uff0fb.jpg": "album/a-b.jpg",
        "me.jpg": "album/c-o/me.jpg",
        "‥\uff0fx.jpg": "album/..-x.jpg",
        "y.jpg": "album/image/y.jpg",
        "z.jpg": "album/image/z.jpg",
        "w.jpg": "album/image/w.jpg",
    }


def test_no_character_of_a_name_makes_a_folder_or_a_dot_segment():
    for number in filter(lambda number: not 0xD800 <= number < 0xE000, range(0x80, 0x20000)):
        for part in (chr(number), f".{chr(number)}"):
            parts = storage_name(f"a/{part}/b").split("/")
            assert len(parts) == 3 and parts[1] not in ("", ".", ".."), hex(number)


@pytest.mark.parametrize("prefix", ["..", "album/../other", "./album"])
def test_a_prefix_with_dots_for_a_folder_is_refused_before_anything_is_sent(tmp_path: Path, prefix: str):
    touch(tmp_path, "cat.jpg")
    with pytest.raises(RequestError, match="--prefix"):
        find_files([tmp_path], prefix)


def test_a_pipe_in_a_folder_is_passed_by_because_reading_it_may_never_end(tmp_path: Path):
    touch(tmp_path, "cat.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    assert names([tmp_path]) == ["cat.jpg"]


def test_a_pipe_or_a_device_named_on_its_own_is_refused(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.jpg")
    for path in (tmp_path / "pipe.jpg", Path("/dev/zero")):
        with pytest.raises(RequestError, match=f"'{path}' is no regular file"):
            find_files([path], everything=True)


@pytest.mark.parametrize("prefix", ["holidays", "/holidays/"])
def test_the_prefix_is_a_folder_in_the_bucket(tmp_path: Path, prefix: str):
    touch(tmp_path, "cat.jpg")
    assert names([tmp_path], prefix) == ["holidays/cat.jpg"]


def test_two_files_for_one_name_are_refused(tmp_path: Path):
    touch(tmp_path, "a/cat.jpg", "b/cat.jpg")
    with pytest.raises(RequestError, match=r"would both become 'cat\.jpg'"):
        find_files([tmp_path / "a", tmp_path / "b"])


def test_names_become_names_that_storage_takes(tmp_path: Path):
    touch(tmp_path, "größe.jpg", "写真.jpg", "плитка/#1 (50%).jpg")
    assert names([tmp_path]) == ["XieZhen.jpg", "grosse.jpg", "plitka/-1 (50-).jpg"]


def test_two_files_that_become_one_name_are_refused(tmp_path: Path):
    touch(tmp_path, "größe.jpg", "grosse.jpg")
    with pytest.raises(RequestError, match=r"would both become 'grosse\.jpg'"):
        find_files([tmp_path])


def test_the_same_file_named_twice_is_taken_once(tmp_path: Path):
    touch(tmp_path, "cat.jpg")
    assert names([tmp_path, tmp_path / "cat.jpg"]) == ["cat.jpg"]


def test_a_path_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(RequestError, match=r"no file or folder .*nowhere"):
        find_files([tmp_path / "nowhere"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_an_unreadable_folder_is_an_error_and_not_an_empty_one(tmp_path: Path):
    touch(tmp_path, "locked/cat.jpg")
    (tmp_path / "locked").chmod(0)
    try:
        with pytest.raises(RequestError, match="can't be read"):
            find_files([tmp_path])
    finally:
        (tmp_path / "locked").chmod(0o700)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.JPG", "image/jpeg"),
        ("a.heic", "image/heic"),
        ("a.AVIF", "image/avif"),
        ("a.webp", "image/webp"),
        ("a.txt", "text/plain"),
        ("a", "application/octet-stream"),
    ],
)
def test_the_content_type_follows_the_name(name: str, expected: str):
    assert content_type(Path(name)) == expected
