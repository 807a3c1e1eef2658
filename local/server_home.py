"""The home of a PostgreSQL server: its data, its socket and its log, where nobody else puts anything.

PostgreSQL refuses to run as root, so root runs it under a user id that is the home's own: any user of that id
owns the data. The home itself is root's, and the server's user passes through it: `data` and the socket's
folder alone are that user's. So root runs, opens and gives away nothing that somebody else, the server
included, may have put there.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local import server_user
from local.server_user import is_folder_of, opened
from shared.errors import StackError
from shared.settings import data_folder

HOMES = Path("/var/lib/neural-search")  # root's: for servers that can't reach the folder that they belong to
FORMER_HOMES = Path("/var/tmp")
NOTE = "data-folder"  # in the folder: the path of a home that is elsewhere
SOCKET_NOTE = "socket-folder"  # in the home: the path of a socket's folder that is elsewhere
SOCKET = ".s.PGSQL.5432"
LONGEST_SOCKET_FOLDER = 100 - len(SOCKET)  # the kernel's limit is 107 on Linux, 103 on macOS


class Home:
    """Of the server that belongs to `folder`: `path` is `folder`, or a stand-in that the server can reach.

    `user` is the server's where root runs it, else None. A stand-in is noted in `folder`: where `folder`, and
    the note with it, was removed, the stand-in is abandoned.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.user: int | None = None
        self.path = folder
        if os.geteuid() == 0:
            self.user, self.path = _for_root(folder)
        self.owner = os.geteuid() if self.user is None else self.user  # of the data
        self.data = self.path / "data"
        self.log = self.path / "postgres.log"

    @property
    def is_abandoned(self) -> bool:
        return self.path != self.folder and self.path.exists() and not (self.folder / NOTE).exists()

    @property
    def sockets(self) -> Path:
        """The folder of the server's socket: in the home, or a short one that the home has noted."""
        inside = self.path / "socket"
        if _can_be_a_host(inside):
            return inside
        try:
            return Path(data_folder.read(self.path / SOCKET_NOTE))
        except FileNotFoundError:
            return inside

    def is_listening(self) -> bool:
        """Whether our server listens; nobody else's, at the same place, is asked."""
        is_ours = is_folder_of(self.path, os.geteuid(), self.owner)
        return is_ours and is_folder_of(self.sockets, self.owner) and _answers(self.sockets)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One start or stop at a time, across processes."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._claim(self.folder)
        path = self.folder / "lock"
        if os.path.lexists(path):
            with opened(path, (os.geteuid(),)) as found:
                os.fchmod(found, data_folder.PRIVATE)  # everybody could read that of the first release
        lock = data_folder.open_private(path, os.O_WRONLY | os.O_CREAT)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def make(self) -> None:
        """Make the home, or take it; StackError where it is somebody else's. To be called while locked."""
        if self.path != self.folder:
            HOMES.mkdir(parents=True, exist_ok=True)
            HOMES.chmod(0o711)
            self._claim(self.path)
        if self.user is None or not os.path.lexists(self.data):
            return
        if is_folder_of(self.data, server_user.nobody()):
            server_user.give(self.data, server_user.nobody(), self.user)
        if not is_folder_of(self.data, self.user):
            raise server_user.refusal(self.data)

    def check_loss(self) -> None:
        """StackError where there were data once, which an empty database would seem to be."""
        note = self.folder / NOTE
        if note.exists():
            raise StackError(
                f"The data of {self.folder} aren't in {self.path}. They lay in {note.read_text().strip()}: "
                f"put its folder `data` into {self.path}, or remove LOCAL_DATA to start afresh."
            )

    def note(self) -> None:
        """Note a home elsewhere, which has data from here on."""
        if self.path != self.folder:
            (self.folder / NOTE).write_text(f"{self.path}\n")

    def check_former(self) -> None:
        """StackError where the first release's server still runs, as `nobody`."""
        if self.user is None or not is_folder_of(self.path, server_user.nobody()):
            return
        if _answers(self.path / "socket"):
            raise StackError(
                f"The server of an earlier release runs in {self.path}. Stop it first: send SIGINT to the "
                f"process `postgres -D {self.data}`."
            )

    def make_sockets(self) -> None:
        if _can_be_a_host(self.path / "socket"):
            self.sockets.mkdir(mode=0o700, exist_ok=True)
        elif not is_folder_of(self.sockets, self.owner):
            # By a name that nobody knows beforehand: at a known one anybody's server could wait for us.
            made = tempfile.mkdtemp(prefix="neural-search-", dir="/tmp")
            data_folder.write(self.path / SOCKET_NOTE, made)
        with opened(self.sockets, (os.geteuid(), self.owner)) as descriptor:
            os.fchmod(descriptor, 0o700)
            if self.user is not None:
                os.fchown(descriptor, self.user, self.user)

    def _claim(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        with opened(folder, self._former_owners(folder)) as descriptor:
            if self.user is None:
                return os.fchmod(descriptor, 0o700)
            os.fchown(descriptor, 0, self.user)
            os.fchmod(descriptor, 0o710)
        self._clear(folder)

    def _former_owners(self, folder: Path) -> set[int]:
        """The server's user owned all of it before; `nobody` did, but only what our folder holds or notes."""
        if self.user is not None and (folder == self.folder or folder.parent == FORMER_HOMES):
            return {os.geteuid(), self.owner, server_user.nobody()}
        return {os.geteuid(), self.owner}

    def _clear(self, folder: Path) -> None:
        """Remove what a server could put there while the whole folder was its user's."""
        for entry in folder.iterdir():
            found = entry.lstat()
            is_folder = stat.S_ISDIR(found.st_mode)
            is_ours = found.st_uid == (self.user if entry.name == "socket" else 0)
            if entry.name == "data" or (is_ours and (is_folder or found.st_nlink == 1)):
                continue
            if is_folder:
                shutil.rmtree(entry)
            else:
                entry.unlink()


def _for_root(folder: Path) -> tuple[int, Path]:
    """The user id of the server, and the path of its home."""
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    stand_in, former = HOMES / digest, FORMER_HOMES / f"neural-search-{digest}"
    told = server_user.told_id(folder) or server_user.told_id(stand_in)
    user = told or server_user.unused_id(int(digest, 16))
    existing = next(parent for parent in folder.parents if parent.exists())
    if server_user.can(user, "-x", existing):
        return user, folder
    if former.exists() and (folder / NOTE).exists() and not stand_in.exists():
        return user, former
    return user, stand_in


def _can_be_a_host(folder: Path) -> bool:
    """A comma ends a host of libpq's."""
    return len(os.fsencode(folder)) <= LONGEST_SOCKET_FOLDER and "," not in str(folder)


def _answers(folder: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(folder / SOCKET)) == 0
