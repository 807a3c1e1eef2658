"""Our jobs of pg_cron, read from the text of the SQL.

A project may have jobs of its own under such names: ours are told by name and command.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from cli.installer import migrations, releases
from cli.installer.connection import Database, column
from shared.errors import DatabaseError

MADE = re.compile(r"\('(neural-search-[a-z]+)', '([^']+)', '(select [^']+)'\)")


class CronJob(NamedTuple):
    name: str
    times: str
    command: str


def current() -> list[CronJob]:
    """Those of this version."""
    return [CronJob(*found) for found in MADE.findall(releases.source_text())]


def require_free_names(database: Database) -> None:
    """DatabaseError where a job of the project's own has the name of ours, which would take its place."""
    if not has_cron(database):
        return
    for name, command in database.execute(
        """
        select j.jobname, j.command from cron.job as j
        where j.jobname = any(%(current)s) and j.username = current_user
          and (j.jobname, j.command) not in (select * from unnest(%(names)s::text[], %(commands)s::text[]))
        order by 1
        """,
        _of_any_release() | {"current": [job.name for job in current()]},
    ):
        raise DatabaseError(taken(name, command))


def taken(name: str, command: str) -> str:
    """For people: why this job is in the way, and the remedy."""
    return (
        f"pg_cron has a job {name} of your own, which runs {command!r}, and ours needs the name. Schedule "
        f"yours under another one, end this one (select cron.unschedule('{name}')), and run "
        "`neural-search install`."
    )


def end(database: Database) -> list[str]:
    """Unschedules those of all releases; their names."""
    if not has_cron(database):
        return []
    return column(
        database,
        """
        with ours as materialized (
          select j.jobid, j.jobname from cron.job as j
          where (j.jobname, j.command) in (select * from unnest(%(names)s::text[], %(commands)s::text[]))
            and j.username = current_user
        )
        select jobname from ours where cron.unschedule(jobid) order by jobid
        """,
        _of_any_release(),
    )


def has_cron(database: Database) -> bool:
    """Whether pg_cron is there. Without it, a schema of that name may be anybody's."""
    return bool(
        column(
            database,
            """
            select 1 from pg_class as c join pg_roles as r on r.oid = c.relowner
            where c.oid = to_regclass('cron.job') and (r.rolsuper or exists (
              select from pg_depend as d
              where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'
            ))
            """,
        )
    )


def _of_any_release() -> dict[str, list[str]]:
    made = {(name, command) for name, _, command in MADE.findall(migrations.text())}
    return {"names": [name for name, _ in made], "commands": [command for _, command in made]}
