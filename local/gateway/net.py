"""The worker of pg_net: takes queued requests out of the database, sends them, writes down the answers."""

from __future__ import annotations

import asyncio
import json
import logging
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx
import psycopg
from psycopg.rows import dict_row

from local.gateway.database import Connection

BATCH_SIZE = 200
PAUSE = 1.0  # seconds between two batches
RESPONSES_KEPT = "6 hours"
RECONNECT_AFTER = 1.0  # seconds
USER_AGENT = "pg_net/0.20.4"

log = logging.getLogger(__name__)


async def work(url: str) -> None:
    """Deliver until cancelled, reconnecting whenever the database went away."""
    # A connection per request, as curl makes them: nothing of one reaches the next.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    async with httpx.AsyncClient(
        follow_redirects=True, trust_env=False, timeout=None, limits=limits, cookies=no_cookies
    ) as client:
        while True:
            try:
                await _serve(url, client)
            except psycopg.OperationalError as error:
                log.warning("pg_net's worker lost the database: %s", error)
            except Exception:
                log.exception("pg_net's worker failed and starts again")
            await asyncio.sleep(RECONNECT_AFTER)


async def _serve(url: str, client: httpx.AsyncClient) -> None:
    # One connection listens while the other works: a notification is never lost in between.
    async with (
        await psycopg.AsyncConnection.connect(url, autocommit=True) as ears,
        await psycopg.AsyncConnection.connect(url, row_factory=dict_row, prepare_threshold=None) as hands,
    ):
        await ears.execute("listen net")
        while True:
            while await _deliver_batch(hands, client):
                await asyncio.sleep(PAUSE)
            async for _ in ears.notifies(stop_after=1):
                pass


async def _deliver_batch(connection: Connection, client: httpx.AsyncClient) -> bool:
    """One transaction: the requests leave the queue when all of them have an answer. False for none.

    Killed in the middle, it rolls back, and the requests are sent again: pg_net does not know better.
    """
    async with connection.transaction():
        await connection.execute(
            "delete from net._http_response where created < now() - %s::interval", [RESPONSES_KEPT]
        )
        cursor = await connection.execute(
            "delete from net.http_request_queue where id in "
            "(select id from net.http_request_queue order by id limit %s) "
            "returning id, method, url, headers, body, timeout_milliseconds",
            [BATCH_SIZE],
        )
        requests = await cursor.fetchall()
        answers = await asyncio.gather(*(_send(client, request) for request in requests))
        if answers:
            await cursor.executemany(
                "insert into net._http_response"
                " (id, status_code, content_type, headers, content, timed_out, error_msg) values (%(id)s,"
                " %(status_code)s, %(content_type)s, %(headers)s, %(content)s, %(timed_out)s, %(error_msg)s)",
                answers,
            )
    return bool(requests)


async def _send(client: httpx.AsyncClient, request: dict[str, Any]) -> dict[str, Any]:
    """The answer as a row; a failure to get one is a row as well."""
    timeout = request["timeout_milliseconds"] / 1000
    headers = {"user-agent": USER_AGENT} | (request["headers"] or {})
    try:
        async with asyncio.timeout(timeout):
            response = await client.request(
                request["method"], request["url"], headers=headers, content=request["body"]
            )
    except TimeoutError:
        message = f"Timeout of {request['timeout_milliseconds']} ms reached."
        return _answer(request["id"], timed_out=True, error_msg=message)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, TypeError) as error:
        return _answer(request["id"], error_msg=str(error) or type(error).__name__)
    return _answer(
        request["id"],
        status_code=response.status_code,
        content_type=response.headers.get("content-type"),
        headers=json.dumps(dict(response.headers)),
        content=response.text.replace("\0", ""),  # which Postgres can't store
        timed_out=False,
    )


def _answer(identifier: int, **values: Any) -> dict[str, Any]:
    empty = dict.fromkeys(("status_code", "content_type", "headers", "content", "timed_out", "error_msg"))
    return {"id": identifier, **empty, **values}
