"""`neural-search install` and `uninstall`: into an existing Supabase project, and out of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from cli.console import output
from cli.console.output import AsJson, count
from shared import settings
from shared.errors import SettingsError
from shared.secrets import api_keys
from shared.settings import Settings

if TYPE_CHECKING:
    from cli.installer.installation import Installation


HERE = {"127.0.0.1", "localhost", "::1"}
POOLED = re.compile(r"[^.]+\.([a-z]{20})")  # postgres.<ref>


def register(app: typer.Typer) -> None:
    app.command()(install)
    app.command()(uninstall)


def install(
    buckets: Annotated[
        list[str] | None,
        typer.Option("--bucket", metavar="NAME", help="Index this bucket's images (can be repeated)."),
    ] = None,
    public_search: Annotated[
        bool,
        typer.Option("--public-search", help="Show these public buckets' images to everybody who searches."),
    ] = False,
    embed_url: Annotated[
        str,
        typer.Option(help="Where embed_on_upload answers, as the database reaches it. [default: EMBED_URL]"),
    ] = "",
    calls: Annotated[
        int | None,
        typer.Option(
            min=2,
            max=100,
            help="How many calls of embed_on_upload the database keeps in flight. [default: 4]",
        ),
    ] = None,
    release_record: Annotated[
        bool,
        typer.Option(
            "--release-record",
            help="Delete our rows of an older version from the record of your own repository's migrations.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Put the project into the database at DATABASE_URL, or bring it up to date.

    Applies the migrations, puts the function's address and the webhook secret (EMBED_WEBHOOK_SECRET, or a new
    one that is shown once) into Vault, and registers buckets. It is safe to run again: an indexed bucket
    stays as it is, unless --public-search shows its images to everybody.
    """
    from cli.client.project_identity import require_one_project
    from cli.installer import installation  # imports psycopg
    from cli.installer.connection import connect

    target = settings.load()
    _require_both_here(target)
    address, secret = _embed_url(target, embed_url), _webhook_secret(target)
    with connect(target.need("database_url")) as database:
        require_one_project(target, database)
    done = installation.install(
        target.need("database_url"),
        embed_url=address,
        webhook_secret=secret,
        buckets=buckets or [],
        public_search=public_search,
        calls=calls,
        release_record=release_record,
    )
    if as_json:
        output.print_json(
            {
                "migrations": done.migrations,
                "former_rows": done.former_rows,
                "released_rows": done.released_rows,
                "vault": done.vault,
                "buckets": done.buckets,
                "documents_brought_back": done.brought_back,
                "documents_kept_aside": done.kept_aside,
                "models_kept_aside": done.models_aside,
                "generated_webhook_secret": str(done.generated) or None,
            }
        )
    else:
        _report(done)


def uninstall(
    data: Annotated[bool, typer.Option("--data", help="Delete the documents (the vectors) as well.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    release_record: Annotated[
        bool, typer.Option("--release-record", help="As of `neural-search install`.")
    ] = False,
) -> None:
    """Take the project out of the database at DATABASE_URL. Storage and its images stay as they are.

    Dropping a trigger locks storage.objects for a moment (on hosted Supabase other tables as well): where the
    database is too busy for that, nothing is changed and an error says so.
    """
    from cli.client.project_identity import require_one_project
    from cli.installer.connection import connect  # imports psycopg
    from cli.installer.removal import uninstall as remove

    target = settings.load()
    url = target.need("database_url")
    what = "triggers, functions, schedules, secrets" + (" and all documents" if data else "; documents stay")
    if not yes:
        typer.confirm(f"Take neural-search out of {_place(url)} ({what})?", abort=True)
    with connect(url) as database:
        require_one_project(target, database)
    for line in remove(url, data=data, release_record=release_record):
        output.say(line)


def _require_both_here(target: Settings) -> None:
    """Without SUPABASE_URL an embedded stack's secrets apply, which must not get into another database."""
    if _is_here(target.supabase_url) and not _is_database_here(target):
        raise SettingsError(
            f"DATABASE_URL is at {_place(target.database_url)}, but SUPABASE_URL is {target.supabase_url}. "
            "Set SUPABASE_URL and the keys of the same project."
        )


def _embed_url(target: Settings, option: str) -> str:
    """The address for Vault; empty where nobody named one, since the default is the embedded stack's own."""
    # Every role of the database reads it in pg_net's queue.
    given = settings.address(api_keys.without_secret(option, "--embed-url", target.secrets), "--embed-url")
    url = given or (target.embed_url if settings.is_named("embed_url") else "")
    if _is_here(url) and not _is_database_here(target):
        raise SettingsError(
            f"The database at {_place(target.database_url)} can't reach {url}. "
            "Give the function's public address with --embed-url."
        )
    return url


def _webhook_secret(target: Settings) -> str:
    """The first of two while rotating: the one for the database to send from now on."""
    return str(target.webhook_secrets[0]) if target.webhook_secrets else ""


def _is_here(url: str) -> bool:
    """Whether an address means this machine."""
    return bool(url) and urlsplit(url).hostname in HERE


def _is_database_here(target: Settings) -> bool:
    return _hosts(target.need("database_url")) <= HERE


def _hosts(database_url: str) -> set[str]:
    """The database's hosts, this machine's for a unix socket. A service, defined elsewhere, counts as one."""
    from cli.installer.connection import parameters  # imports psycopg

    parts = parameters(database_url)
    named = parts.get("hostaddr") or parts.get("host") or parts.get("service") or ""
    return {"localhost" if host.startswith("/") or not host else host for host in str(named).split(",")}


def _place(database_url: str) -> str:
    """The database's hosts and name, of all forms of its address without user and password.

    A pooler is one place for many projects: the user's name tells which.
    """
    from cli.installer.connection import parameters

    parts = parameters(database_url)
    project = POOLED.fullmatch(str(parts.get("user", "")))
    of_which = f" of the project {project[1]}" if project else ""
    return f"{', '.join(sorted(_hosts(database_url)))}/{parts.get('dbname', '')}{of_which}"


def _report(done: Installation) -> None:
    from cli.installer import former_record  # imports psycopg

    applied = ", ".join(done.migrations) or "none, all are in place"
    output.say(f"Migrations applied: {applied}")
    if done.released_rows:
        output.say(f"{count(done.released_rows, 'row')} deleted from supabase_migrations.schema_migrations")
    if done.former_rows:
        output.say(former_record.explanation(done.former_rows))
    for name, outcome in done.vault.items():
        output.say(f"Vault: {name} {outcome}")
    if done.brought_back:
        output.say(f"Documents of an earlier installation: {done.brought_back:,} are searchable again")
    if done.models_aside:
        output.say(
            "Documents of an earlier installation kept aside for models that aren't here, or have vectors of "
            f"another length: {', '.join(done.models_aside)}. `neural-search models add NAME`, then this "
            "command again, brings them back."
        )
    elif done.kept_aside:
        output.say(
            f"{count(done.kept_aside, 'document')} of an earlier installation kept aside: their buckets"
            " aren't indexed. `neural-search install --bucket NAME` brings them back."
        )
    for bucket, queued in done.buckets.items():
        output.say(f"Bucket {bucket}: indexed, {count(queued, 'image')} queued")
    if done.generated:
        output.say("\nThe webhook secret, shown only now; give it to embed_on_upload:")
        output.say(f"EMBED_WEBHOOK_SECRET={done.generated}")
    output.say("\nNext: start both functions where you named them, then run `neural-search doctor`.")
    if not done.buckets:
        output.say("No bucket was named: `neural-search install --bucket NAME` indexes one.")
