"""Which local files become which objects."""

from __future__ import annotations

import mimetypes
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from anyascii import anyascii

from shared.errors import RequestError

# Taken by Storage in no part of an object's name.
REFUSED = re.compile(r"[^A-Za-z0-9_!\-.*'() &$@=;:+,?]+")
DOTS = (".", "..")  # which addresses take for folders

# Not in every platform's table of types.
IMAGE_TYPES = {
    ".avif": "image/avif",
    ".heic": "image/heic",
    ".heif": "image/heif",
    ".webp": "image/webp",
    ".jfif": "image/jpeg",
}

UNKNOWN_TYPE = "application/octet-stream"

# How files begin, for those whose names tell no type.
SIGNATURES = (
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"GIF8", "image/gif"),
    (0, b"II*\0", "image/tiff"),
    (0, b"MM\0*", "image/tiff"),
    (8, b"WEBP", "image/webp"),
    (4, b"ftypavif", "image/avif"),
    (4, b"ftyphei", "image/heic"),
    (4, b"ftypmif1", "image/heif"),
)


@dataclass(frozen=True, kw_only=True)
class LocalFile:
    """A file to upload."""

    path: Path
    name: str  # the object's path in its bucket
    content_type: str  # by the file's name, else by its first bytes


def find_files(
    paths: Iterable[Path], prefix: str = "", *, everything: bool = False
) -> tuple[list[LocalFile], list[Path]]:
    """The files to upload, by object name, and those left out: neither name nor bytes are an image's, or a
    link leads to them out of the folder, as one in somebody else's archive may.

    A file named on its own is taken under its own name; a folder's images keep their path below it. A broken
    image keeps its place among the others: the index tells its fault. Characters that Storage takes in no
    name become Latin letters, as on the page.
    """
    if not {*DOTS}.isdisjoint(prefix.split("/")):
        raise RequestError(f"--prefix is {prefix!r}: no folder of a bucket's is named . or .. by itself.")
    found: dict[str, LocalFile] = {}
    left_out: list[Path] = []
    for path, relative, leads_out in _walk(paths):
        kind = "" if leads_out else content_type(path)
        if leads_out or not (everything or kind.startswith("image/")):
            left_out.append(path)
            continue
        name = storage_name(_join(prefix, relative))
        if name in found and found[name].path != path:
            raise RequestError(
                f"{found[name].path} and {path} would both become {name!r}. Upload them apart, with --prefix."
            )
        found[name] = LocalFile(path=path, name=name, content_type=kind)
    return [found[name] for name in sorted(found)], left_out


def content_type(path: Path) -> str:
    """The type that the file's name promises, else its first bytes; Storage records it."""
    guessed = mimetypes.guess_type(path.name, strict=False)[0]
    return IMAGE_TYPES.get(path.suffix.lower()) or guessed or _signed_type(path)


def _signed_type(path: Path) -> str:
    try:
        with path.open("rb") as opened:
            head = opened.read(16)
    except OSError:
        return UNKNOWN_TYPE  # the upload will report it
    return next((kind for at, mark, kind in SIGNATURES if head[at:].startswith(mark)), UNKNOWN_TYPE)


def storage_name(name: str) -> str:
    """`name` in the characters that Storage takes: `größe.jpg` is `grosse.jpg`, `写真.jpg` `XieZhen.jpg`.

    Its folders are those that it had: of `½` comes `1-2`, of `‥` no `..`.
    """
    return "/".join(map(_storage_part, name.split("/")))


def _storage_part(part: str) -> str:
    latin = REFUSED.sub("-", anyascii(unicodedata.normalize("NFC", part)))
    return "image" if part and latin in ("", *DOTS) else latin


def _walk(paths: Iterable[Path]) -> Iterator[tuple[Path, str, bool]]:
    """Each file, its path below the folder that was named, and whether it lies out of that."""
    for path in paths:
        if path.is_dir():
            inside = os.path.realpath(path)
            for file in _below(path):
                yield (
                    file,
                    file.relative_to(path).as_posix(),
                    not Path(os.path.realpath(file)).is_relative_to(inside),
                )
        elif path.is_file():
            yield path, path.name, False
        elif path.exists():  # a pipe's or a device's reading may never end
            raise RequestError(f"{str(path)!r} is no regular file. Name files and folders.")
        else:
            raise RequestError(f"There is no file or folder {str(path)!r}. Check the path.")


def _below(folder: Path) -> Iterator[Path]:
    """Files in `folder` and its sub-folders, hidden ones left out; an unreadable folder is an error."""
    for parent, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = (Path(parent, name) for name in sorted(files) if not name.startswith("."))
        # Reading a pipe may never end. A link to nothing stays, to be reported.
        yield from (path for path in paths if path.is_file() or not path.exists())


def _refuse(error: OSError) -> None:
    raise RequestError(f"The folder {error.filename} can't be read: {error.strerror}.") from error


def _join(prefix: str, relative: str) -> str:
    return f"{prefix.strip('/')}/{relative}" if prefix.strip("/") else relative
