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


def check_owner(folder: Path) -> None:
    """StackError where `folder` is somebody else's."""
    if folder.stat().st_uid != os.geteuid():
        raise StackError(
            f"The data folder {folder} is somebody else's, who may know its keys. Set LOCAL_DATA to another, "
            "or use it as its owner."
        )


def claim(folder: Path) -> None:
    """Make `folder`, or take it: from here on nobody else puts anything into it.

    StackError where it, or a thing that was put there before, is somebody else's.
    """
    with usable(folder):
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        check_owner(folder)
        mode = stat.S_IMODE(folder.stat().st_mode)
        if mode & WRITABLE:
            folder.chmod(mode & ~WRITABLE)
            try:
                _check_content(folder)
            except BaseException:
                folder.chmod(mode)  # or the next look would find it claimed
                raise
        for name in FOLDERS:
            (folder / name).mkdir(exist_ok=True)
            (folder / name).chmod(PRIVATE_FOLDER)


def _check_content(folder: Path) -> None:
    own = {os.geteuid(), *(SERVER_IDS if os.geteuid() == 0 else ())}
    for entry in folder.iterdir():
        if entry.lstat().st_uid not in own:
            raise StackError(
                f"{entry} is somebody else's, who may have put it there. Remove it, or set LOCAL_DATA to "
                "another folder."
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
