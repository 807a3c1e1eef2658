"""Putting the project into any Supabase project's database, as the non-superuser `postgres`.

Everything is idempotent: parts that are in place are left as they are.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from cli.installer import cron_jobs, former_record, kept_documents, migrations, vault
from cli.installer.connection import Database, alone, column, connect
from shared.errors import DatabaseError, DatabaseForbidden, SettingsError
from shared.settings import Secret

OTHER_OWNER = """
    select n.nspowner::regrole::text from pg_namespace as n
    where n.nspname = 'neural_search' and not pg_has_role(n.nspowner, 'usage')
"""

# Whether a trigger on storage.objects, which calls p, is ours.
OWN_TRIGGER = "(p.pronamespace = to_regnamespace('neural_search')) is true"


@dataclass(kw_only=True)
class Installation:
    """The changes that `install` made."""

    migrations: list[str] = field(default_factory=list)  # applied now
    vault: dict[str, str] = field(default_factory=dict)  # secret's name -> created, updated or unchanged
    buckets: dict[str, int] = field(default_factory=dict)  # bucket -> images queued by registering it
    brought_back: int = 0  # documents of an earlier installation
    kept_aside: int = 0  # they come back with their bucket, or with their model
    models_aside: list[str] = field(default_factory=list)  # models of theirs that aren't here
    former_rows: int = 0  # of an older installation, in supabase_migrations.schema_migrations
    released_rows: int = 0  # those of them that were deleted, as asked
    generated: Secret = field(default=Secret(""), repr=False)  # a webhook secret that nobody else knows yet


def install(
    database_url: str,
    *,
    embed_url: str,
    webhook_secret: str,
    buckets: list[str],
    public_search: bool = False,
    calls: int | None = None,
    release_record: bool = False,
) -> Installation:
    """Applies the migrations, fills Vault and registers `buckets`.

    `calls` limits the database's calls in flight; None leaves the limit as it is, 4 at first.

    `release_record` deletes an older installation's rows from the record of the user's own migrations.
    An empty `embed_url` or `webhook_secret` keeps Vault's value; SettingsError where it has no URL,
    and a new secret where it has none.
    """
    done = Installation()
    with alone(database_url):
        with connect(database_url) as database:
            require_project(database)
            url = vault.read(database, vault.EMBED_URL, embed_url)
            if not url:
                raise SettingsError(
                    "Where will embed_on_upload answer? Give its address with --embed-url or EMBED_URL."
                )
            secret = vault.read(database, vault.WEBHOOK_SECRET, webhook_secret)
            for bucket in buckets:
                _require_bucket(database, bucket)
            _require_free_trigger(database)
            cron_jobs.require_free_names(database)
            kept_documents.require_unconcerned(database)
            kept_documents.set_aside(database)
        done.migrations = migrations.apply(database_url)
        with connect(database_url) as database:
            if release_record:
                done.released_rows = former_record.release(database, migrations.known())
            done.former_rows = len(former_record.versions(database, migrations.known()))
            if not secret:
                secret = done.generated = Secret(secrets.token_urlsafe(32))
            # In one step: a reconciliation in between would find documents of buckets that aren't indexed,
            # and nobody would be told a new secret that an install put into Vault before it failed.
            with database.transaction():
                done.vault[vault.EMBED_URL] = vault.keep(database, vault.EMBED_URL, url)
                done.vault[vault.WEBHOOK_SECRET] = vault.keep(database, vault.WEBHOOK_SECRET, secret)
                if calls:
                    database.execute("select neural_search.limit_kicks(%s)", [calls])
                done.brought_back, done.kept_aside = kept_documents.bring_back(database, buckets)
                done.models_aside = kept_documents.models_aside(database)
                for bucket in buckets:
                    done.buckets[bucket] = _register(database, bucket, public_search)
    return done


def _register(database: Database, bucket: str, public_search: bool) -> int:
    """How many images are queued.

    An indexed bucket keeps its settings: an upgrade doesn't repeat them.
    """
    [queued] = column(
        database,
        """
        select public.index_bucket(asked.bucket_id, %s or coalesce(b.public_search, false), b.visible_by)
        from (values (%s)) as asked (bucket_id)
        left join neural_search.indexed_buckets as b on b.bucket_id = asked.bucket_id
        """,
        [public_search, bucket],
    )
    return int(queued)


def require_project(database: Database) -> None:
    """DatabaseError where this is no Supabase project's database, or its role can't do our work here."""
    for name in ("storage.objects", "vault.secrets"):
        if not column(database, "select 1 where to_regclass(%s) is not null", [name]):
            raise DatabaseError(
                f"The database has no {name}, so it is no complete Supabase project's. Check DATABASE_URL."
            )
    vault.require_platforms(database)
    if column(database, "select row_security_active('storage.buckets')") == [True]:
        raise DatabaseForbidden(
            "DATABASE_URL's role sees of Storage only what policies show it, so nothing would be indexed. "
            "Connect as `postgres`."
        )
    for owner in column(database, OTHER_OWNER):
        raise DatabaseForbidden(
            f"neural-search was installed here by the role {owner}, and what it made is that role's. "
            f"Connect as `{owner}`."
        )


def _require_free_trigger(database: Database) -> None:
    """DatabaseError where a trigger of the project's own has the name of ours, which would take its place."""
    for function in column(
        database,
        f"""
        select p.oid::regprocedure::text from pg_trigger as t join pg_proc as p on p.oid = t.tgfoid
        where t.tgrelid = 'storage.objects'::regclass and t.tgname = 'neural_search_objects'
          and not {OWN_TRIGGER}
        """,
    ):
        raise DatabaseError(
            f"storage.objects has a trigger neural_search_objects of your own, which calls {function}; ours "
            "would take its place. Save its definition (pg_get_triggerdef), drop it, make it anew under "
            "another name, and run this again."
        )


def _require_bucket(database: Database, bucket: str) -> None:
    if not column(database, "select 1 from storage.buckets where id = %s", [bucket]):
        raise DatabaseError(
            f"There is no bucket {bucket!r}. Create it in the dashboard first, or check --bucket."
        )
