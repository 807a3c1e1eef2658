"""`neural-search install` and `supabase db push` on one database, in any order."""

from __future__ import annotations

import shutil

import pytest
from repository import Repository
from support.databases import Clone
from support.first_release import DATA, FIRST, catalogue, fill, install_0_1_0

from cli.installer import installation, migrations, releases, removal, written_migration
from cli.installer.installation import Installation

NEWEST = releases.migration(releases.next_version()).stem
RECORD = "select version from supabase_migrations.schema_migrations order by version"
FOREIGN = "Remote migration versions not found in local migrations directory"


def install(database: Clone, **options: bool) -> Installation:
    url = "https://embed.example.com"
    return installation.install(
        database.url(), embed_url=url, webhook_secret="a-webhooks-own-secret", buckets=[], **options
    )


def is_whole(database: Clone, template: Clone) -> bool:
    """Whether it equals a fresh installation, but for the user's own tables."""
    with database.connect() as one, template.connect() as other:
        return [line for line in catalogue(one) if "their_" not in line] == catalogue(other)


def recorded(database: Clone) -> list[str]:
    with database.connect() as connection:
        return [version for (version,) in connection.execute(RECORD).fetchall()]


def test_the_users_own_migrations_go_on_before_and_after_an_installation(
    repository: Repository, bare_database: Clone, database: Clone
):
    assert install(bare_database).migrations[-1] == NEWEST
    repository.write("20260202000000_next", "create table public.their_next (id integer);")
    assert repository.push() == ["20260202000000_next"]
    assert recorded(bare_database) == ["20260201000000", "20260202000000"]
    assert install(bare_database).migrations == [] and is_whole(bare_database, database)


def test_a_written_migration_is_pushed_and_install_has_nothing_left_to_apply(
    repository: Repository, bare_database: Clone, database: Clone
):
    path, _ = written_migration.write(repository.migrations)
    assert repository.push() == [path.stem]
    assert is_whole(bare_database, database)
    with bare_database.connect() as connection:
        by_whom = connection.execute("select distinct applied_by from neural_search.migrations").fetchall()
    assert by_whom == [("a repository's migration",)]
    assert install(bare_database).migrations == []
    repository.write("29990202000000_next", "create table public.their_next (id integer);")
    assert repository.push() == ["29990202000000_next"]


def test_a_written_migration_may_come_after_install(
    repository: Repository, bare_database: Clone, database: Clone
):
    install(bare_database)
    path, _ = written_migration.write(repository.migrations)
    assert repository.push() == [path.stem]
    assert is_whole(bare_database, database) and repository.push() == []


def test_uninstalling_leaves_the_repositorys_record_and_pushes_go_on(
    repository: Repository, bare_database: Clone, database: Clone
):
    path, _ = written_migration.write(repository.migrations)
    repository.push()
    before = recorded(bare_database)
    removal.uninstall(bare_database.url(), data=True)
    assert recorded(bare_database) == before == ["20260201000000", path.stem[:14]]
    repository.write("29990202000000_next", "create table public.their_next (id integer);")
    assert repository.push() == ["29990202000000_next"]
    assert install(bare_database).migrations[-1] == NEWEST and is_whole(bare_database, database)


def test_a_migration_of_the_user_may_have_one_of_our_versions(
    repository: Repository, bare_database: Clone, database: Clone
):
    version = migrations.known()[0].version
    repository.write(f"{version}_next", "create table public.their_next (id integer);")
    repository.run("db", "push", "--include-all")
    assert len(install(bare_database).migrations) == len(migrations.known())
    assert is_whole(bare_database, database)
    removal.uninstall(bare_database.url(), data=True, release_record=True)
    assert recorded(bare_database) == [version, "20260201000000"] and repository.push() == []


def test_an_older_installation_is_upgraded_and_lets_go_of_the_repositorys_record(
    repository: Repository, bare_database: Clone, database: Clone
):
    install_0_1_0(bare_database)
    fill(bare_database)
    assert FOREIGN in repository.error("db", "push")
    done = install(bare_database)
    assert (done.migrations, done.former_rows) == ([NEWEST], 13)
    assert FOREIGN in repository.error("db", "push")
    done = install(bare_database, release_record=True)
    assert (done.migrations, done.former_rows, done.released_rows) == ([], 0, 13)
    repository.write("20260202000000_next", "create table public.their_next (id integer);")
    assert repository.push() == ["20260202000000_next"]
    with bare_database.connect() as connection:
        assert connection.execute(DATA).fetchone() == (1, 1)
    assert is_whole(bare_database, database)


@pytest.mark.parametrize("writes", [False, True])
def test_the_clis_repair_of_an_older_installation_harms_nothing(
    repository: Repository, bare_database: Clone, database: Clone, writes: bool
):
    install_0_1_0(bare_database)
    fill(bare_database)
    foreign = [version for version in recorded(bare_database) if version != "20260201000000"]
    assert repository.run("migration", "repair", "--status", "reverted", *foreign).returncode == 0
    if writes:
        path, _ = written_migration.write(repository.migrations)
        assert repository.push() == [path.stem]
    assert install(bare_database).migrations == ([] if writes else [NEWEST])
    with bare_database.connect() as connection:
        assert connection.execute(DATA).fetchone() == (1, 1)
    assert is_whole(bare_database, database) and repository.push() == []


@pytest.mark.parametrize("installs_first", [False, True])
def test_this_repository_is_pushed_beside_install(
    repository: Repository, bare_database: Clone, database: Clone, installs_first: bool
):
    names = [str(migration) for migration in migrations.known()]
    if installs_first:
        assert install(bare_database).migrations == names
    shutil.copytree(migrations.FOLDER, repository.migrations, dirs_exist_ok=True)
    done = repository.run("db", "push", "--include-all")
    assert done.returncode == 0 and all(f"{name}.sql" in done.stderr for name in names)
    assert install(bare_database).migrations == [] and is_whole(bare_database, database)


def test_what_the_cli_pushed_from_the_first_release_is_recognised(
    repository: Repository, bare_database: Clone, database: Clone
):
    former = "20260101000380_visible"
    for migration in FIRST:
        name = f"{migration.former or migration.version}_{migration.name}"
        if name != former:  # which the CLI refuses today, as its version is no time
            repository.write(name, migration.statements)
    assert repository.run("db", "push", "--include-all").returncode == 0
    done = install(bare_database, release_record=True)
    assert (done.migrations, done.released_rows) == (["20260101000355_visible", NEWEST], 12)
    assert recorded(bare_database) == ["20260201000000"] and is_whole(bare_database, database)
