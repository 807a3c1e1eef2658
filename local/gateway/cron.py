"""The worker of pg_cron: runs the jobs of cron.job when they are due, as the role that scheduled them."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from cronsim import CronSim, CronSimError
from psycopg.rows import dict_row

from local.gateway.database import SUPERUSER, Connection

TICK = 0.5  # seconds between two looks at the table
RECONNECT_AFTER = 1.0  # seconds
SECONDS = re.compile(r"\s*(\d+)\s+seconds?\s*")

log = logging.getLogger(__name__)


async def work(url_for: Callable[[str], str]) -> None:
    """Run jobs until cancelled, reconnecting whenever the database went away."""
    while True:
        try:
            await Scheduler(url_for).serve()
        except psycopg.OperationalError as error:
            log.warning("pg_cron's worker lost the database: %s", error)
        except Exception:
            log.exception("pg_cron's worker failed and starts again")
        await asyncio.sleep(RECONNECT_AFTER)


class Scheduler:
    """When each job is due, and which ones run right now: a job never runs twice at once."""

    def __init__(self, url_for: Callable[[str], str]):
        self._url_for = url_for
        self._due: dict[tuple[int, str], datetime] = {}  # (job, schedule) -> its next time
        self._running: dict[int, asyncio.Task[None]] = {}
        self._looked = datetime.min.replace(tzinfo=UTC)

    async def serve(self) -> None:
        url = self._url_for(SUPERUSER)
        try:
            async with await psycopg.AsyncConnection.connect(
                url, autocommit=True, row_factory=dict_row, prepare_threshold=None
            ) as connection:
                while True:
                    await self.tick(connection, datetime.now(UTC))
                    await asyncio.sleep(TICK)
        finally:
            for task in self._running.values():
                task.cancel()
            await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def tick(self, connection: Connection, now: datetime) -> None:
        """Start the jobs that are due at `now` and don't run; a new job waits for its next time.

        So does every job once the clock was set back: by its former times none would be due for as long.
        """
        if now < self._looked:
            self._due.clear()
        self._looked = now
        cursor = await connection.execute("select * from cron.job where active")
        jobs = {(job["jobid"], job["schedule"]): job for job in await cursor.fetchall()}
        self._due = {key: self._due.get(key) or next_time(key[1], now) for key in jobs}
        for key, job in jobs.items():
            if self._due[key] <= now and job["jobid"] not in self._running:
                self._due[key] = next_time(job["schedule"], now)
                self._start(job)

    def _start(self, job: dict[str, Any]) -> None:
        task = asyncio.create_task(run(self._url_for, job))
        self._running[job["jobid"]] = task
        task.add_done_callback(lambda _: self._running.pop(job["jobid"]))


def next_time(schedule: str, now: datetime) -> datetime:
    """When `schedule` (five fields, or '15 seconds') is due next; never, if it can't be read."""
    if match := SECONDS.fullmatch(schedule):
        return now + timedelta(seconds=int(match[1]))
    try:
        return next(CronSim(schedule.replace("$", "L"), now))
    except (CronSimError, StopIteration):
        log.warning("The schedule %r of a job can't be read", schedule)
        return datetime.max.replace(tzinfo=UTC)


async def run(url_for: Callable[[str], str], job: dict[str, Any]) -> None:
    """Run one job and write down how it went."""
    started = datetime.now(UTC)
    pid, status, message = None, "succeeded", ""
    try:
        async with await psycopg.AsyncConnection.connect(
            url_for(job["username"]), autocommit=True
        ) as connection:
            pid = connection.info.backend_pid
            cursor = await connection.execute(job["command"].encode())
            message = cursor.statusmessage or ""
    except psycopg.Error as error:
        status, message = "failed", f"ERROR:  {error}"
        log.warning("The job %s failed: %s", job["jobname"] or job["jobid"], error)
    try:
        await _record(url_for(SUPERUSER), job, pid, status, message, started)
    except psycopg.Error as error:
        log.warning("The run of job %s isn't recorded: %s", job["jobid"], error)


async def _record(
    url: str, job: dict[str, Any], pid: int | None, status: str, message: str, started: datetime
) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(
            "insert into cron.job_run_details (jobid, job_pid, database, username, command, status,"
            " return_message, start_time, end_time) values (%s, %s, %s, %s, %s, %s, %s, %s, now())",
            [job["jobid"], pid, job["database"], job["username"], job["command"], status, message, started],
        )
