"""Packages of npm as folders: fetched once per machine by npm itself, checked against a pinned hash."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shared.errors import CollectionError

SECONDS = 600  # 74 MB over a slow line
CHUNK = 1024 * 1024
HOW_TO_GET_NPM = "Install Node.js with npm (nodejs.org, or `apt-get install npm`)"


@dataclass(frozen=True, kw_only=True)
class Package:
    """One version of a package, for good."""

    name: str
    version: str
    sha512: str  # of the tarball, in base64, as npm's own lock files write it

    @property
    def spec(self) -> str:
        return f"{self.name}@{self.version}"

    @property
    def tarball(self) -> str:
        """The file's name that `npm pack` chooses."""
        return f"{self.folder}.tgz"

    @property
    def folder(self) -> str:
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}"


def fetch(package: Package, cache: Path, wanted: Callable[[str], bool]) -> Path:
    """The folder in `cache` with those of the package's files whose paths are `wanted`.

    A tarball that lies in `cache` already is taken, so that a machine without network can be helped.
    """
    folder = cache / package.folder
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="fetching-") as temporary:
        tarball = cache / package.tarball
        if not tarball.exists():
            tarball = _pack(package, Path(temporary), cache)
        _check(tarball, package)
        _put_in_place(_unpack(tarball, Path(temporary), wanted), folder)
    return folder


def _pack(package: Package, folder: Path, cache: Path) -> Path:
    remedy = f"{HOW_TO_GET_NPM} and try again, or put {package.tarball} into {cache}"
    if not shutil.which("npm"):
        raise CollectionError(f"{package.spec} is a package of npm, which isn't on this machine. {remedy}.")
    command = ("npm", "pack", package.spec, "--pack-destination", str(folder), "--loglevel", "error")
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired as error:
        raise CollectionError(
            f"npm didn't fetch {package.spec} within {SECONDS} seconds. Check the network and npm's "
            f"registry, or put {package.tarball} into {cache}."
        ) from error
    if done.returncode:
        raise CollectionError(
            f"npm can't fetch {package.spec}: {_reason(done)}. Check the network and npm's registry "
            f"(`npm config get registry`), or put {package.tarball} into {cache}."
        )
    return folder / package.tarball


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    """npm's first lines: the code and its meaning, without its hints and its log's place."""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return "; ".join(lines[:2])[:300] or f"status {done.returncode}"


def _check(tarball: Path, package: Package) -> None:
    digest = hashlib.sha512()
    try:
        with tarball.open("rb") as file:
            while part := file.read(CHUNK):
                digest.update(part)
    except OSError as error:
        raise CollectionError(f"{tarball} can't be read: {error.strerror}. Remove it.") from error
    found = base64.b64encode(digest.digest()).decode()
    if found != package.sha512:
        raise CollectionError(
            f"{tarball.name} is not the {package.spec} that the figures were measured on: its SHA-512 is "
            f"{found!r}, expected {package.sha512!r}. Remove the file, and ask npm's registry again."
        )


def _unpack(tarball: Path, folder: Path, wanted: Callable[[str], bool]) -> Path:
    """npm puts everything into a folder `package`."""
    with tarfile.open(tarball) as archive:
        members = [one for one in archive if one.isfile() and wanted(one.name.removeprefix("package/"))]
        archive.extractall(folder, members, filter="data")
    return folder / "package"


def _put_in_place(unpacked: Path, folder: Path) -> None:
    """At once, so that a folder that is there is complete; another process may have been faster."""
    try:
        unpacked.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
