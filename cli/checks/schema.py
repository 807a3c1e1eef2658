"""The database, through DATABASE_URL: the parts that `neural-search install` puts there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial, reduce
from operator import or_
from typing import Any, LiteralString

from cli.checks.definitions import definitions
from cli.checks.exposure import exposure
from cli.checks.kicks import INSTALL, kicks
from cli.checks.policies import policies
from cli.checks.rights import rights
from cli.checks.schedules import schedules
from cli.checks.session_settings import CALLERS, given
from cli.checks.visibility import visibility
from cli.installer import former_record, migrations
from cli.installer.connection import Database, connect
from cli.installer.vault import EMBED_URL, WEBHOOK_SECRET, read
from shared.errors import DatabaseError
from shared.settings import Settings

MOMENT = "%Y-%m-%d %H:%M:%S %Z"
RECONCILED_WITHIN = 900.0  # seconds: three times the schedule's period
REPAIRED = (0, 8, 4)  # pgvector's version
FAULTS = (
    "Before 0.8.4 a parallel build can write beyond its memory, and a vacuum can damage an HNSW index or "
    "leave gaps in it, so that searches miss images."
)
STRINGS = "standard_conforming_strings"
EVENTS = {4: "INSERT", 8: "DELETE", 16: "UPDATE"}  # the bits of pg_trigger.tgtype
WHEN, AFTER_EACH_ROW = 67, 1  # of the same: before, instead of or after, for each row or statement


def checks(target: Settings) -> Iterator[tuple[str, dict[str, Callable[[], str]]]]:
    url = str(target.database_url)
    names: dict[str, Callable[[Settings], str]] = {
        "database": server,
        "pgvector": pgvector,
        "migrations": applied,
        "triggers on storage.objects": triggers,
        "schedules": schedules,
        "reconciliation": reconciliation,
        "Vault": vault,
        "kicks": kicks,
        "indexed buckets": buckets,
        "policies": policies,
        "declared visibility": visibility,
        "views of documents": exposure,
        "rights": rights,
        "definitions": definitions,
        "decoder": decoder,
        "words": words,
    }
    yield (
        "" if url else "DATABASE_URL is not set",
        {name: partial(check, target) for name, check in names.items()},
    )


def server(target: Settings) -> str:
    with connect(str(target.database_url)) as database:
        ((version, number, user, superuser),) = database.execute(
            """
            select current_setting('server_version'), current_setting('server_version_num')::integer,
              rolname::text, rolsuper
            from pg_roles where rolname = current_user
            """
        )
        if number < 150000:
            raise DatabaseError(f"PostgreSQL is {version}, but 15 or newer is needed. Upgrade the project.")
        _require_backslashes(database)
    return f"PostgreSQL {version} as {user}{' (a superuser)' if superuser else ''}"


def _require_backslashes(database: Database) -> None:
    """DatabaseError where callers' sessions would read a backslash of our functions as an escape."""
    for found in given(database, STRINGS, *CALLERS):
        if found.value not in ("on", "true", "yes", "1"):
            raise DatabaseError(
                f"{STRINGS} is {found.value} for the {found.told}, so that searches fail: they read "
                f"backslashes as escapes. {found.remedy(STRINGS)}"
            )


def pgvector(target: Settings) -> str:
    rows = fetched(
        target,
        """
        select e.extversion, e.extnamespace::regnamespace::text, a.default_version
        from pg_extension e join pg_available_extensions a on a.name = e.extname where e.extname = 'vector'
        """,
    )
    if not rows:
        raise DatabaseError(f"pgvector isn't enabled. {INSTALL}")
    version, schema, library = rows[0]
    if _numbers(version) < (0, 8):
        raise DatabaseError(f"pgvector is {version}, but 0.8 or newer is needed. Upgrade the project.")
    if schema != "extensions":
        raise DatabaseError(
            f"pgvector is in schema {schema}. Run: alter extension vector set schema extensions"
        )
    if _numbers(version) >= REPAIRED:
        return str(version)
    reindex = f"Then rebuild the indexes once: {_reindex(target)}"
    if _numbers(library) >= REPAIRED:
        raise DatabaseError(
            f"pgvector is {version}, and {library} is there. Run: alter extension vector update; {reindex}"
        )
    return f"{version}. {FAULTS} Upgrade the project as soon as it offers a newer one. {reindex}"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)[:3]))  # 0.9.0-dev, too


def _reindex(target: Settings) -> str:
    """The commands, of which each is to be run by itself: no transaction may hold them."""
    rows = fetched(
        target,
        """
        select i.indexrelid::regclass::text
        from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am m on m.oid = c.relam
        where i.indrelid = to_regclass('neural_search.documents') and m.amname = 'hnsw' order by 1
        """,
    )
    return "; ".join(f"reindex index concurrently {name}" for (name,) in rows)


def applied(target: Settings) -> str:
    url = str(target.database_url)
    pending = migrations.pending(url)
    if pending:
        raise DatabaseError(f"Not applied: {', '.join(pending)}. {INSTALL}")
    with connect(url) as database:
        former = len(former_record.versions(database, migrations.known()))
    return f"all applied. {former_record.explanation(former)}" if former else "all applied"


def triggers(target: Settings) -> str:
    rows = fetched(
        target,
        """
        select t.tgname::text, t.tgtype::int,
          t.tgenabled in ('O', 'A') and t.tgqual is null and cardinality(t.tgattr) = 0
        from pg_trigger as t
        where t.tgrelid = to_regclass('storage.objects')
          and t.tgfoid = to_regproc('neural_search.on_object_change') order by 1
        """,
    )
    whole = {name: kind for name, kind, always in rows if always and kind & WHEN == AFTER_EACH_ROW}
    fired = reduce(or_, whole.values(), 0)
    if missing := [event for bit, event in EVENTS.items() if not fired & bit]:
        others = ", ".join(name for name, *_ in rows if name not in whole)
        there = f" Disabled, under a condition or not for each row: {others}." if others else ""
        raise DatabaseError(
            f"No trigger for each {', '.join(missing)} (a restore drops them).{there} {INSTALL}"
        )
    return ", ".join(whole)


def reconciliation(target: Settings) -> str:
    """Whether the schedule keeps comparing Storage with the index, since the server has been up."""
    ((last, indexed, started, now),) = fetched(
        target,
        """
        select max(r.at), (select min(b.created_at) from neural_search.buckets b),
          pg_postmaster_start_time(), now()
        from neural_search.reconciliations r
        """,
    )
    since = max(filter(None, (last or indexed, started)))
    if (last or indexed) and (now - since).total_seconds() > RECONCILED_WITHIN:
        raise DatabaseError(
            f"It should run every 5 minutes, and hasn't since {since:{MOMENT}}. `neural-search backfill` "
            "does its work; pg_cron says why: select * from cron.job_run_details order by runid desc."
        )
    return f"ran last at {last:{MOMENT}}" if last else "hasn't run yet; scheduled every 5 minutes"


def vault(target: Settings) -> str:
    names = (EMBED_URL, WEBHOOK_SECRET)
    with connect(str(target.database_url)) as database:
        found = {name: read(database, name) for name in names}
    missing = [name for name in names if not found[name]]
    if missing:
        raise DatabaseError(f"Missing: {', '.join(missing)}. {INSTALL}")
    if target.webhook_secrets and found[WEBHOOK_SECRET] not in target.webhook_secrets:
        raise DatabaseError(f"{WEBHOOK_SECRET} isn't what EMBED_WEBHOOK_SECRET holds. {INSTALL}")
    return f"the function's address ({found[EMBED_URL]}) and the webhook secret"


def buckets(target: Settings) -> str:
    rows = fetched(
        target,
        """
        select b.bucket_id, s.id is not null, i.bucket_id is not null
        from neural_search.buckets b
        left join storage.buckets s on s.id = b.bucket_id
        left join neural_search.indexed_buckets i on i.bucket_id = b.bucket_id order by 1
        """,
    )
    anew = [name for name, exists, indexed in rows if exists and not indexed]
    if anew:
        raise DatabaseError(
            f"Made anew since it was indexed, so nothing in it is found: {', '.join(anew)}. Index it with "
            "`neural-search install --bucket NAME`, or forget it: select unindex_bucket('NAME')."
        )
    indexed = [name for name, _, indexed in rows if indexed]
    if not indexed:
        raise DatabaseError("No bucket is indexed. Run `neural-search install --bucket NAME`.")
    gone = [name for name, exists, _ in rows if not exists]
    return ", ".join(indexed) + (f" (indexed once and gone: {', '.join(gone)})" if gone else "")


def decoder(target: Settings) -> str:
    """Whether something is left that an older decoder refused, or may have got wrong."""
    ((newest,),) = fetched(target, "select max(c.version) from neural_search.decoder_changes() c")
    rows = fetched(
        target,
        """
        select o.refused_for, coalesce(o.mime_type, 'unknown'), count(*)
        from neural_search.outdated o group by 1, 2 order by 3 desc, 2
        """,
    )
    if not rows:
        return f"version {newest}, and nothing is left from an older one"
    told = []
    if refused := [row for row in rows if row[0]]:
        listed = ", ".join(f"{number:,} {mime_type} ({cause})" for cause, mime_type, number in refused)
        causes = " ".join(f"--cause {cause}" for cause in sorted({cause for cause, _, _ in refused}))
        told.append(f"An older decoder refused {listed}: `neural-search jobs retry {causes}`.")
    if stored := [row for row in rows if not row[0]]:
        listed = ", ".join(f"{number:,} {mime_type}" for _, mime_type, number in stored)
        command = f"neural-search backfill --decoder-before {newest}"
        told.append(f"An older decoder may have got wrong {listed}: `{command}`.")
    raise DatabaseError(" ".join(told))


def words(target: Settings) -> str:
    """Whether documents from before words were kept are found by theirs."""
    ((missing,),) = fetched(
        target,
        """
        select count(*) from neural_search.documents d join neural_search.text_search t on d.id <@ t.missing
        """,
    )
    if missing:
        raise DatabaseError(
            f"{missing:,} documents aren't found by their names yet. The schedule sees to 2,000 every 5 "
            "minutes, `neural-search install` to all at once."
        )
    return "all documents are found by theirs"


def fetched(target: Settings, query: LiteralString, values: list[Any] | None = None) -> list[tuple[Any, ...]]:
    with connect(str(target.database_url)) as database:
        return database.execute(query, values).fetchall()
