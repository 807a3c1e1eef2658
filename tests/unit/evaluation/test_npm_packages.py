"""Packages of npm: fetched once, checked against their pinned hash, and a clear error where that can't be."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from evaluation.sources import npm
from evaluation.sources.npm import Package
from shared.errors import CollectionError

FILES = {"package/words.json": b"[]", "package/assets/a.webp": b"a", "package/sheets/huge.png": b"x" * 999}


@pytest.fixture
def package(tmp_path: Path) -> Package:
    """A package whose tarball lies in the cache, as one that was put there by hand."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, data in FILES.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    digest = base64.b64encode(hashlib.sha512(file.getvalue()).digest()).decode()
    package = Package(name="@scope/pictures", version="1.2.3", sha512=digest)
    (tmp_path / package.tarball).write_bytes(file.getvalue())
    return package


def everything(path: str) -> bool:
    return True


def test_a_scoped_package_has_the_file_name_that_npm_gives_it(package: Package):
    assert (package.spec, package.tarball) == ("@scope/pictures@1.2.3", "scope-pictures-1.2.3.tgz")


def test_only_the_wanted_files_are_unpacked(package: Package, tmp_path: Path):
    folder = npm.fetch(package, tmp_path, lambda path: not path.startswith("sheets/"))
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert found == ["assets/a.webp", "words.json"]


def test_what_was_unpacked_once_is_not_fetched_again(package: Package, tmp_path: Path):
    folder = npm.fetch(package, tmp_path, everything)
    (tmp_path / package.tarball).unlink()
    assert npm.fetch(package, tmp_path, everything) == folder
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_a_tarball_with_other_bytes_is_refused_and_nothing_unpacked(package: Package, tmp_path: Path):
    tarball = tmp_path / package.tarball
    tarball.write_bytes(tarball.read_bytes() + b"more")
    with pytest.raises(CollectionError, match=r"SHA-512 is '.+', expected '.+'\. Remove the file"):
        npm.fetch(package, tmp_path, everything)
    assert list(tmp_path.iterdir()) == [tarball]


def test_without_npm_the_error_says_how_to_get_it_or_do_without(
    package: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / package.tarball).unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        CollectionError, match=r"Install Node\.js with npm .+ or put scope-pictures-1\.2\.3\.tgz"
    ):
        npm.fetch(package, tmp_path, everything)


def test_what_npm_complains_of_is_told(package: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / package.tarball).unlink()
    fake = tmp_path / "npm"
    fake.write_text("#!/bin/sh\necho 'npm error code ENOTFOUND' >&2\necho 'npm error network' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(
        CollectionError, match=r"npm error code ENOTFOUND; npm error network\. Check the network"
    ):
        npm.fetch(package, tmp_path, everything)
