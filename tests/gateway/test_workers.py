"""pg_net's and pg_cron's workers, and the rows of the database."""

from __future__ import annotations

import asyncio
import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from support.databases import Connection
from support.gateways import Gateway
from support.waiting import eventually

from local.gateway import cron, net


def respond(db: Connection, request: int) -> tuple[Any, ...] | None:
    return db.execute(
        "select status_code, content_type, content, timed_out, error_msg from net._http_response "
        "where id = %s",
        [request],
    ).fetchone()


def post(db: Connection, url: str, timeout: int = 5000, **headers: str) -> int:
    row = db.execute(
        "select net.http_post(%s, %s, headers := %s, timeout_milliseconds := %s)",
        [url, json.dumps({"b": 1}), json.dumps({"Content-Type": "application/json", **headers}), timeout],
    ).fetchone()
    assert row
    return int(row[0])


class TestNet:
    def test_a_committed_request_is_sent_once_and_its_answer_kept(
        self, gateway: Gateway, db: Connection
    ) -> None:
        path = f"/{uuid.uuid4()}"
        request = post(db, gateway.echo.url + path, **{"x-webhook-secret": "s"})
        status, content_type, content, timed_out, error = eventually(lambda: respond(db, request))
        assert (status, content_type, timed_out, error) == (200, "application/json", False, None)
        assert json.loads(content)["body"] == '{"b": 1}'
        (received,) = gateway.echo.to(path)
        assert received.header("x-webhook-secret") == "s"
        assert (
            received.header(
                "user-agent",
            )
            == net.USER_AGENT
        )
        assert db.execute("select count(*) from net.http_request_queue").fetchone() == (0,)

    def test_a_request_that_is_rolled_back_is_never_sent(self, gateway: Gateway, db: Connection) -> None:
        path = f"/{uuid.uuid4()}"
        with pytest.raises(ZeroDivisionError), db.transaction():
            post(db, gateway.echo.url + path)
            raise ZeroDivisionError
        later = post(db, f"{gateway.echo.url}/later")
        eventually(lambda: respond(db, later))
        assert gateway.echo.to(path) == []

    def test_a_slow_answer_times_out_and_a_refused_connection_is_told(
        self, gateway: Gateway, db: Connection
    ) -> None:
        slow = post(db, f"{gateway.echo.url}/hold", timeout=50)
        assert eventually(lambda: respond(db, slow))[3:] == (True, "Timeout of 50 ms reached.")
        for url in ("http://127.0.0.1:9/", "no url at all"):
            broken = post(db, url)
            status, *_, error = eventually(lambda broken=broken: respond(db, broken))
            assert status is None
            assert error

    def test_a_failing_answer_is_kept_and_not_retried(self, gateway: Gateway, db: Connection) -> None:
        before = len(gateway.echo.to("/status/503"))
        request = post(db, f"{gateway.echo.url}/status/503")
        assert eventually(lambda: respond(db, request))[0] == 503
        next_one = post(db, f"{gateway.echo.url}/after")
        eventually(lambda: respond(db, next_one))
        assert len(gateway.echo.to("/status/503")) == before + 1

    def test_what_one_transaction_queued_goes_out_together(self, gateway: Gateway, db: Connection) -> None:
        paths = [f"/{uuid.uuid4()}" for _ in range(30)]
        with db.transaction():
            requests = [post(db, gateway.echo.url + path) for path in paths]
        eventually(lambda: respond(db, requests[-1]))
        assert all(len(gateway.echo.to(path)) == 1 for path in paths)
        # One batch is one transaction: all answers have its time.
        times = db.execute(
            "select count(distinct created) from net._http_response where id = any(%s)", [requests]
        )
        assert times.fetchone() == (1,)

    def test_a_batch_takes_at_most_200(self, gateway: Gateway, db: Connection) -> None:
        with db.transaction():
            requests = [post(db, f"{gateway.echo.url}/batch") for _ in range(201)]
        eventually(lambda: respond(db, requests[-1]))
        counts = db.execute(
            "select count(*) from net._http_response where id = any(%s) group by created order by created",
            [requests],
        )
        assert counts.fetchall() == [(200,), (1,)]

    def test_old_answers_are_forgotten(self, gateway: Gateway, db: Connection) -> None:
        db.execute("insert into net._http_response (id, created) values (-1, now() - interval '7 hours')")
        request = post(db, f"{gateway.echo.url}/x")
        eventually(lambda: respond(db, request))
        assert respond(db, -1) is None

    def test_the_worker_comes_back_after_losing_the_database(self, gateway: Gateway, db: Connection) -> None:
        cut_off(gateway)
        request = post(db, f"{gateway.echo.url}/back")
        assert eventually(lambda: respond(db, request))[0] == 200


class TestCron:
    def test_a_due_job_runs_as_who_scheduled_it_and_is_recorded(self, db: Connection) -> None:
        db.execute("create table public.ran (by text)")
        db.execute("select cron.schedule('note', '1 second', 'insert into public.ran values (session_user)')")
        row = eventually(lambda: runs(db, "note"))[0]
        db.execute("select cron.unschedule('note')")
        assert (row["username"], row["status"], row["return_message"]) == (
            "postgres",
            "succeeded",
            "INSERT 0 1",
        )
        assert row["end_time"] >= row["start_time"]
        assert db.execute("select distinct by from public.ran").fetchall() == [("postgres",)]

    def test_a_failing_job_is_recorded_and_harms_no_other(self, db: Connection) -> None:
        db.execute(
            "select cron.schedule('bad', '1 second', 'select 1/0'), "
            "cron.schedule('good', '1 second', 'select 1')"
        )
        (bad, *_) = eventually(lambda: runs(db, "bad"))
        (good, *_) = eventually(lambda: runs(db, "good"))
        db.execute("select cron.unschedule('bad'), cron.unschedule('good')")
        assert (bad["status"], good["status"]) == ("failed", "succeeded")
        assert "division by zero" in bad["return_message"]

    def test_the_worker_comes_back_after_losing_the_database(self, gateway: Gateway, db: Connection) -> None:
        cut_off(gateway)
        db.execute("select cron.schedule('again', '1 second', 'select 1')")
        eventually(lambda: runs(db, "again"))
        db.execute("select cron.unschedule('again')")

    @pytest.mark.parametrize(
        ("schedule", "expected"),
        [
            ("15 seconds", "2026-01-01 00:00:45"),
            ("1 second", "2026-01-01 00:00:31"),
            ("* * * * *", "2026-01-01 00:01:00"),
            ("*/5 * * * *", "2026-01-01 00:05:00"),
            ("0 3 * * 0", "2026-01-04 03:00:00"),
            ("0 0 $ * *", "2026-01-31 00:00:00"),
        ],
    )
    def test_schedules(self, schedule: str, expected: str) -> None:
        now = datetime(2026, 1, 1, 0, 0, 30, tzinfo=UTC)
        assert cron.next_time(schedule, now) == datetime.fromisoformat(f"{expected}+00:00")

    def test_a_schedule_that_makes_no_sense_is_never_due(self) -> None:
        assert cron.next_time("61 * * * *", datetime.now(UTC)).year == 9999

    def test_a_job_never_runs_twice_at_once(self, gateway: Gateway, db: Connection) -> None:
        db.execute("select pg_advisory_lock(9)")  # which it waits for
        db.execute("select cron.schedule('long', '30 seconds', 'select pg_advisory_xact_lock(9)')")
        now = datetime(2026, 1, 1, tzinfo=UTC)

        async def tick_while_it_runs() -> int:
            scheduler = cron.Scheduler(gateway.database.url)
            url = gateway.database.url("supabase_admin")
            async with await psycopg.AsyncConnection.connect(
                url, autocommit=True, row_factory=dict_row
            ) as connection:
                for minutes in (0, 1, 2, 3):  # due from the second look on, still running at the others
                    await scheduler.tick(connection, now + timedelta(minutes=minutes))
                db.execute("select pg_advisory_unlock(9)")
                await asyncio.gather(*scheduler._running.values())
                return len(runs(db, "long"))

        assert asyncio.run(tick_while_it_runs()) == 1
        db.execute("select cron.unschedule('long')")

    def test_a_clock_that_is_set_back_keeps_no_job_waiting(self, gateway: Gateway, db: Connection) -> None:
        db.execute("select cron.schedule('often', '30 seconds', 'select 1')")
        now = datetime(2026, 1, 1, tzinfo=UTC)

        async def set_back_by_a_day() -> int:
            scheduler = cron.Scheduler(gateway.database.url)
            url = gateway.database.url("supabase_admin")
            async with await psycopg.AsyncConnection.connect(
                url, autocommit=True, row_factory=dict_row
            ) as connection:
                for moment in (timedelta(days=1), timedelta(0), timedelta(minutes=1)):
                    await scheduler.tick(connection, now + moment)
                return len(await asyncio.gather(*scheduler._running.values()))

        assert asyncio.run(set_back_by_a_day()) >= 1
        db.execute("select cron.unschedule('often')")


def runs(db: Connection, job: str) -> list[dict[str, Any]]:
    with db.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            "select d.* from cron.job_run_details as d join cron.job as j using (jobid) where j.jobname = %s",
            [job],
        ).fetchall()


def cut_off(gateway: Gateway) -> None:
    """End the workers' connections, as a restart of Postgres would."""
    with gateway.database.connect("supabase_admin") as admin:
        admin.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() "
            "and usename = 'supabase_admin' and pid <> pg_backend_pid()"
        )
