"""The secrets that lie in Vault when `install` comes: its own, somebody else's, or none that can be read."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from support.databases import Clone, Connection

from cli.checks import schema
from cli.installer import installation, removal, vault
from shared import settings
from shared.errors import DatabaseError, NeuralSearchError, SettingsError

URL, SECRET = "https://embed.test", "a-secret-of-its-own"
WRONG = {
    "a key of the project": (
        vault.WEBHOOK_SECRET,
        "sb_secret_hidden",
        "holds a key that acts as 'service_role'",
    ),
    "a letter": (vault.WEBHOOK_SECRET, "x", "a secret of 1 characters"),
    "a secret in two lines": (vault.WEBHOOK_SECRET, "hidden-secret\nof-two-lines", "a text of 26 characters"),
    "a secret for the address": (vault.EMBED_URL, "sb_secret_hidden", "holds a key"),
    "an address with a password": (
        vault.EMBED_URL,
        "https://u:hidden@embed.test",
        "a password",
    ),
    "no address": (vault.EMBED_URL, "embed.test", "Expected an address"),
}


@pytest.fixture
def kept(db: Connection) -> Iterator[Connection]:
    vault.keep(db, vault.EMBED_URL, URL), vault.keep(db, vault.WEBHOOK_SECRET, SECRET)
    yield db


def install(database: Clone, embed_url: str = "", webhook_secret: str = "") -> installation.Installation:
    return installation.install(
        database.url(), embed_url=embed_url, webhook_secret=webhook_secret, buckets=[]
    )


def doctor(database: Clone) -> str:
    return schema.vault(settings.load({"SUPABASE_URL": "http://x", "DATABASE_URL": database.url()}))


def values(connection: Connection) -> dict[str, str]:
    return dict(connection.execute("select name, secret from vault.secrets").fetchall())


@pytest.mark.parametrize("wrong", WRONG)
def test_a_value_that_install_would_refuse_is_refused_in_vault_too(
    database: Clone, kept: Connection, wrong: str
):
    name, value, message = WRONG[wrong]
    vault.keep(kept, name, value)
    before = values(kept)
    for ask in (install, doctor):
        with pytest.raises(SettingsError, match=f"Vault's {name} .*{message}") as told:
            ask(database)
        assert "hidden" not in str(told.value)
    assert values(kept) == before
    done = install(database, URL, SECRET)
    assert done.vault[name] == "updated" and values(kept) == {
        vault.EMBED_URL: URL,
        vault.WEBHOOK_SECRET: SECRET,
    }
    assert URL in doctor(database)


def test_values_that_cannot_be_decrypted_are_named_and_replaced(database: Clone, kept: Connection):
    """As after a restore into another project, whose key is another."""
    with database.connect("supabase_admin") as platform:
        platform.execute("""
            create function vault.unreadable() returns text language plpgsql as $$
            begin
              raise exception 'crypto_aead_det_decrypt: invalid ciphertext' using errcode = 'data_exception';
            end
            $$;
            create or replace view vault.decrypted_secrets as
              select id, name, description, secret, case when created_at = updated_at then vault.unreadable()
                else secret end as decrypted_secret, key_id, nonce, created_at, updated_at
              from vault.secrets
        """)
    for ask in (install, doctor):
        with pytest.raises(DatabaseError, match=r"can't be decrypted.*EMBED_URL and EMBED_WEBHOOK_SECRET"):
            ask(database)
    assert set(install(database, URL, SECRET).vault.values()) == {"updated"}
    assert set(install(database).vault.values()) == {"unchanged"}
    assert URL in doctor(database)


def test_a_project_without_vault_is_refused_before_anything_is_done(bare_database: Clone):
    with bare_database.connect("supabase_admin") as platform:
        platform.execute("drop schema vault cascade")
    with pytest.raises(NeuralSearchError, match=r"no vault\.secrets"):
        install(bare_database, URL, SECRET)
    with bare_database.connect() as connection:
        assert connection.execute("select to_regnamespace('neural_search')").fetchone() == (None,)


def test_a_vault_that_another_role_has_made_is_neither_read_nor_written(database: Clone, kept: Connection):
    with database.connect("supabase_admin") as platform:
        platform.execute("""
            create function public.take() returns text language plpgsql as
              $$ begin raise exception 'it ran as %', current_user; end $$;
            create or replace view vault.decrypted_secrets as
              select id, name, description, secret, public.take() as decrypted_secret, key_id, nonce,
                created_at, updated_at
              from vault.secrets;
            alter view vault.decrypted_secrets owner to service_role
        """)
    for ask in (install, doctor):
        with pytest.raises(DatabaseError, match=r"vault\.decrypted_secrets .* isn't Vault"):
            ask(database)
    with pytest.raises(DatabaseError, match="isn't Vault"):
        removal.uninstall(database.url(), data=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [(vault.WEBHOOK_SECRET, "the-hidden-password"), (vault.EMBED_URL, f"{URL}/the-hidden-password")],
)
def test_the_databases_password_is_refused_in_vault(database: Clone, name: str, value: str):
    with psycopg.connect(database.url(), password="the-hidden-password", autocommit=True) as connection:
        vault.keep(connection, name, value)
        with pytest.raises(SettingsError, match=f"{name} holds .*password") as told:
            vault.read(connection, name)
    assert "hidden" not in str(told.value)


def test_install_puts_no_password_of_the_environment_into_vault(
    database: Clone, kept: Connection, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PGPASSWORD", "the-hidden-password")
    for given in ({"webhook_secret": "the-hidden-password"}, {"embed_url": f"{URL}/the-hidden-password"}):
        with pytest.raises(SettingsError, match=r"EMBED_\w+ holds .*password"):
            install(database, **given)
    assert set(values(kept).values()) == {URL, SECRET}


def test_a_new_secret_stays_in_no_vault_where_the_install_fails_before_it_is_shown(bare_database: Clone):
    def install_photos() -> installation.Installation:
        url = bare_database.url()
        return installation.install(url, embed_url=URL, webhook_secret="", buckets=["photos"])

    with bare_database.connect() as db:
        db.execute("insert into storage.buckets (id, name, created_at) values ('photos', '', 'infinity')")
        with pytest.raises(DatabaseError, match="no time in the future"):
            install_photos()
        db.execute("update storage.buckets set created_at = now()")
        generated = install_photos().generated
        assert str(generated) == vault.read(db, vault.WEBHOOK_SECRET)
