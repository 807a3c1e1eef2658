"""The two secrets in Vault from which the database knows where to call embed_on_upload, and how."""

from __future__ import annotations

from cli.installer.connection import Database, column

EMBED_URL = "neural_search_embed_url"
WEBHOOK_SECRET = "neural_search_webhook_secret"
DESCRIPTIONS = {
    EMBED_URL: "Where neural-search's function embed_on_upload answers.",
    WEBHOOK_SECRET: "What the database sends to embed_on_upload as x-webhook-secret.",
}


def read(database: Database, name: str) -> str:
    """The secret, or an empty string where there is none."""
    found = column(database, "select decrypted_secret from vault.decrypted_secrets where name = %s", [name])
    return found[0] if found else ""


def keep(database: Database, name: str, value: str) -> str:
    """Makes `value` the secret's; whether it was created, updated or unchanged."""
    ids = column(database, "select id from vault.secrets where name = %s", [name])
    if not ids:
        database.execute("select vault.create_secret(%s, %s, %s)", [value, name, DESCRIPTIONS[name]])
        return "created"
    if read(database, name) == value:
        return "unchanged"
    database.execute("select vault.update_secret(%s, %s)", [ids[0], value])
    return "updated"


def empty(database: Database) -> list[str]:
    """Deletes both; the names of those that were there."""
    names = list(DESCRIPTIONS)
    return column(database, "delete from vault.secrets where name = any(%s) returning name", [names])
