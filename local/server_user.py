"""The user that a PostgreSQL server runs as where root starts it: one whose id no account has."""

from __future__ import annotations

import errno
import itertools
import os
import pwd
import stat
import subprocess
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from shared.errors import StackError
from shared.settings.data_folder import SERVER_IDS


def nobody() -> int:
    """With a name, which initdb wants; in the first release the servers' user."""
    return pwd.getpwnam("nobody").pw_uid


def unused_id(seed: int) -> int:
    ids = itertools.count(SERVER_IDS.start + seed % len(SERVER_IDS))
    taken = {account.pw_uid for account in pwd.getpwall()}
    return next(one for one in ids if one not in taken)


def told_id(folder: Path) -> int | None:
    """The id of the server whose folder it is, or was before: where it was moved, or accounts are others."""
    if not os.path.lexists(folder):
        return None
    found = folder.lstat()
    return next((one for one in (found.st_gid, found.st_uid) if one in SERVER_IDS), None)


def run_as(user: int | None, group: int | None) -> dict[str, Any]:
    return {} if user is None else {"user": user, "group": group, "extra_groups": []}


def can(user: int, test: str, path: Path) -> bool:
    """Whether `user` passes `test -x` or `test -r` on `path`, its parent folders included."""
    return subprocess.run(["test", test, path], cwd="/", **run_as(user, user)).returncode == 0


def is_folder_of(folder: Path, *owners: int) -> bool:
    if not os.path.lexists(folder):
        return False
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid in owners


@contextmanager
def opened(path: Path | str, owners: Collection[int], *, within: int | None = None) -> Iterator[int]:
    """A descriptor of one of `owners`' folders or files; StackError for a link and for anybody else's."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=within)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise refusal(path) from error
    try:
        found = os.fstat(descriptor)
        if found.st_uid not in owners or not (stat.S_ISDIR(found.st_mode) or stat.S_ISREG(found.st_mode)):
            raise refusal(path)
        yield descriptor
    finally:
        os.close(descriptor)


def give(folder: Path, giver: int, user: int) -> None:
    """Make `folder` and all in it, which is `giver`'s, this user's."""
    for _, folders, files, descriptor in os.fwalk(folder, onerror=_fail, follow_symlinks=False):
        for name in (*folders, *files):
            with opened(name, (giver, user), within=descriptor) as entry:
                os.fchown(entry, user, user)
    with opened(folder, (giver, user)) as whole:  # last: what is interrupted is begun again
        os.fchown(whole, user, user)


def refusal(path: Path | str) -> StackError:
    return StackError(f"{path} is a link or somebody else's. Remove it, or set LOCAL_DATA to another folder.")


def _fail(error: OSError) -> NoReturn:
    raise error
