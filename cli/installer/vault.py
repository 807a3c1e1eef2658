"""The two secrets in Vault from which the database knows where to call embed_on_upload, and how."""

from __future__ import annotations

import psycopg

from cli.installer.connection import Database, column
from shared import settings
from shared.errors import DatabaseError
from shared.secrets import api_keys

EMBED_URL = "neural_search_embed_url"
WEBHOOK_SECRET = "neural_search_webhook_secret"
DESCRIPTIONS = {
    EMBED_URL: "Where neural-search's function embed_on_upload answers.",
    WEBHOOK_SECRET: "What the database sends to embed_on_upload as x-webhook-secret.",
}
SETTINGS = {EMBED_URL: "EMBED_URL", WEBHOOK_SECRET: "EMBED_WEBHOOK_SECRET"}

# As neural_search.is_platforms has it, also before anything is installed.
PLATFORMS = """
    select 1 from pg_class as c join pg_roles as r on r.oid = c.relowner
    where c.oid = to_regclass(%s) and (r.rolsuper or exists (
      select from pg_depend as d
      where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'
    ))
"""


def require_platforms(database: Database) -> None:
    """DatabaseError where another role has made a Vault, whose code would run as ours and see the secret."""
    for name in ("vault.secrets", "vault.decrypted_secrets"):
        if not column(database, PLATFORMS, [name]):
            raise DatabaseError(
                f"{name} is neither an extension's nor a superuser's: it isn't Vault. Drop it, and enable "
                "Vault in the dashboard (Database, Extensions)."
            )


def read(database: Database, name: str, given: str = "") -> str:
    """`given`, else the secret, or an empty string where there is neither.

    SettingsError where it holds the connection's password, from wherever libpq has it, or where an older
    version, or somebody by hand, has put there another than `install` would; DatabaseError where it can't be
    decrypted.
    """
    found, place = (given, SETTINGS[name]) if given else (_decrypted(database, name), f"Vault's {name}")
    others = [database.info.password]
    if not found:
        return ""
    if name == WEBHOOK_SECRET:
        return api_keys.of_its_own(found, place, others)
    return settings.address(api_keys.without_secret(found, place, others), place)


def keep(database: Database, name: str, value: str) -> str:
    """Makes `value` the secret's; whether it was created, updated or unchanged."""
    ids = column(database, "select id from vault.secrets where name = %s", [name])
    if not ids:
        database.execute("select vault.create_secret(%s, %s, %s)", [value, name, DESCRIPTIONS[name]])
        return "created"
    if _holds(database, name, value):
        return "unchanged"
    database.execute("select vault.update_secret(%s, %s)", [ids[0], value])
    return "updated"


def empty(database: Database) -> list[str]:
    """Deletes both; the names of those that were there."""
    names = list(DESCRIPTIONS)
    return column(database, "delete from vault.secrets where name = any(%s) returning name", [names])


def _decrypted(database: Database, name: str) -> str:
    require_platforms(database)
    query = "select decrypted_secret from vault.decrypted_secrets where name = %s"
    try:
        with database.transaction():  # one that goes on after a failure
            return next((found for found in column(database, query, [name]) if found), "")
    except (psycopg.DataError, psycopg.InternalError) as error:
        raise DatabaseError(
            f"Vault's {name} can't be decrypted, as after a restore into another project. Run `neural-search "
            "install` with EMBED_URL and EMBED_WEBHOOK_SECRET set, which puts both there anew."
        ) from error


def _holds(database: Database, name: str, value: str) -> bool:
    try:
        return _decrypted(database, name) == value
    except DatabaseError:
        return False
