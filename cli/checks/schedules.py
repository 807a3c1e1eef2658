"""The jobs of pg_cron that `neural-search install` makes, and their last runs."""

from __future__ import annotations

from cli.checks.kicks import INSTALL
from cli.installer import cron_jobs
from cli.installer.connection import Database, connect
from cli.installer.cron_jobs import CronJob
from shared.errors import DatabaseError
from shared.settings import Settings

A_MINUTE = "* * * * *"  # for a few seconds, before pg_cron 1.5
LAST_RUNS = """
select distinct on (j.jobname) j.jobname, d.status, d.return_message
from cron.job j join cron.job_run_details d on d.jobid = j.jobid
where j.command = any(%s) and d.status in ('succeeded', 'failed') order by j.jobname, d.runid desc
"""


def schedules(target: Settings) -> str:
    made = cron_jobs.current()
    with connect(str(target.database_url)) as database:
        if not cron_jobs.has_cron(database):
            raise DatabaseError(
                f"pg_cron isn't enabled. Enable it in the dashboard (Database, Extensions). {INSTALL}"
            )
        rows = database.execute("select jobname, command, schedule, active from cron.job").fetchall()
        for job in made:
            _check(
                job, {command: (times, active) for name, command, times, active in rows if name == job.name}
            )
        failed = _failed(database, made)
    if failed:
        raise DatabaseError(
            f"The last run failed. {'; '.join(failed)}. Mend its cause; the next run tells if it is gone."
        )
    return ", ".join(job.name for job in made)


def _check(job: CronJob, there: dict[str, tuple[str, bool]]) -> None:
    """`there`: times and state of those that have its name, by their commands."""
    if there and job.command not in there:
        raise DatabaseError(cron_jobs.taken(job.name, next(iter(there))))
    times, active = there.get(job.command, ("", False))
    if not active:
        raise DatabaseError(f"Missing or inactive: {job.name}. {INSTALL}")
    if times != job.times and not (times == A_MINUTE and job.times.endswith("seconds")):
        raise DatabaseError(f"{job.name} runs at {times!r}. Expected {job.times!r}. {INSTALL}")


def _failed(database: Database, made: list[CronJob]) -> list[str]:
    """Those whose last run failed, with its message."""
    runs = database.execute(LAST_RUNS, [[job.command for job in made]]).fetchall()
    return [
        f"{name}: {' '.join(str(message).split())}" for name, status, message in runs if status == "failed"
    ]
