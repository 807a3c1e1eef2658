"""The embedded stack's data folder: its user's alone, before anything in it is opened or believed.

Where others write, as in /tmp, one of them may have made it: with keys that they know, with links to files of
ours, or with the address of a server of theirs.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from shared.errors import StackError

LOCK_FILE = "stack.lock"  # which the process of a running stack holds
FOLDERS = ("logs", "objects")  # they name objects, and hold them
WRITABLE, KNOWN = 0o022, 0o077  # by others
PRIVATE, PRIVATE_FOLDER = 0o600, 0o700
# Of servers that root runs, as PostgreSQL: those that systemd, too, takes for services that have no account.
SERVER_IDS = range(61_184, 65_520)


@contextmanager
def usable(folder: Path) -> Iterator[None]:
    """The system's refusals inside are told of `folder`: somebody else's, read-only, full, no folder."""
    try:
        yield
    except OSError as error:
        where = f" ({error.filename})" if error.filename and str(error.filename) != str(folder) else ""
        raise StackError(
            f"The data folder {folder} can't be used: {error.strerror or error}{where}. "
            "Set LOCAL_DATA to another, or use it as its owner."
        ) from error


def resolved(folder: Path) -> Path:
    """Where `folder` leads; StackError where a link of somebody else's leads there, to a folder of ours."""
    with usable(folder):
        for part in (folder.absolute(), *folder.absolute().parents):
            if part.is_symlink() and part.lstat().st_uid not in (0, os.geteuid()):
                raise StackError(f"{part} is somebody else's link. Set LOCAL_DATA to a folder without it.")
        return folder.resolve()


def check_owner(folder: Path) -> None:
    """StackError where `folder` is somebody else's."""
    if folder.stat().st_uid != os.geteuid():
        raise StackError(
            f"The data folder {folder} is somebody else's, who may know its keys. Set LOCAL_DATA to another, "
            "or use it as its owner."
        )


def claim(folder: Path) -> None:
    """Make `folder`, or take it: from here on nobody else puts anything into it.

    StackError where it, or a thing that was put there before, is somebody else's, and where it holds other
    things than a stack's.
    """
    with usable(folder):
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        check_owner(folder)
        mode = stat.S_IMODE(folder.stat().st_mode)
        if mode & stat.S_ISVTX:
            raise StackError(f"{folder} is a folder for everybody. Set LOCAL_DATA to one in it.")
        folder.chmod(mode & ~WRITABLE)
        try:
            _check_content(folder, others_wrote=bool(mode & WRITABLE))
        except BaseException:
            folder.chmod(mode)  # or the next look would find it claimed
            raise
        os.close(open_private(folder / LOCK_FILE, os.O_RDONLY | os.O_CREAT))  # first: it marks a data folder
        for name in FOLDERS:
            _make_private(folder / name)


def _check_content(folder: Path, *, others_wrote: bool) -> None:
    entries = [*folder.iterdir()]
    if entries and folder / LOCK_FILE not in entries:
        raise StackError(
            f"{folder} isn't empty, and no data folder of the embedded stack's, which would overwrite things "
            "in it. Set LOCAL_DATA to an empty folder, or to a new one."
        )
    own = {os.geteuid(), *(SERVER_IDS if os.geteuid() == 0 else ())}
    for entry in entries if others_wrote else ():
        if entry.lstat().st_uid not in own:
            raise _not_ours(entry)


def _make_private(folder: Path) -> None:
    if not os.path.lexists(folder):
        folder.mkdir(mode=PRIVATE_FOLDER)
    found = folder.lstat()
    if found.st_uid != os.geteuid() or not stat.S_ISDIR(found.st_mode):
        raise _not_ours(folder)
    folder.chmod(PRIVATE_FOLDER)


def _not_ours(path: Path) -> StackError:
    return StackError(
        f"{path} is somebody else's, who may have put it there, or no folder of a stack's. Remove it, or set "
        "LOCAL_DATA to another folder."
    )


def told(folder: Path, name: str) -> str | None:
    """The file `name` of the stack that runs on `folder`; None where none runs, or where it is starting."""
    with usable(folder), suppress(FileNotFoundError):
        check_owner(folder)
        text = read(folder / name)
        lock = open_private(folder / LOCK_FILE, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return text
        finally:
            os.close(lock)
    return None


def read(path: Path, owner: int | None = None) -> str:
    with os.fdopen(open_private(path, os.O_RDONLY, owner)) as file:
        return file.read()


def write(path: Path, text: str) -> None:
    """Complete or not at all, and readable by nobody else."""
    partial = path.with_name(f"{path.name}.partial")
    with create(partial) as file:
        file.write(text.encode())
    partial.replace(path)


def create(path: Path) -> BinaryIO:
    """An empty file in place of the one that is there."""
    path.unlink(missing_ok=True)
    return append(path)


def append(path: Path) -> BinaryIO:
    return os.fdopen(open_private(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "ab")


def open_private(path: Path, flags: int, owner: int | None = None) -> int:
    """A file's descriptor; StackError for a link, and where others than its `owner` (of itself this process's
    user) could have written or may read it."""
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, PRIVATE)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise _refusal(path) from error
    found = os.fstat(descriptor)
    expected = os.geteuid() if owner is None else owner
    if found.st_uid != expected or found.st_mode & KNOWN or not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise _refusal(path)
    return descriptor


def _refusal(path: Path) -> StackError:
    return StackError(
        f"{path} is a link or somebody else's, or others may know it. Remove it to have it made anew, or "
        "keep it by `chmod 600` where nobody else uses this machine."
    )
