"""The way from the database to the function, tried as the trigger goes it: through pg_net."""

from __future__ import annotations

import time

from cli.checks.session_settings import SCHEDULES, STORAGE, given
from cli.installer import migrations
from cli.installer.connection import Database, column, connect
from cli.installer.vault import EMBED_URL, WEBHOOK_SECRET, require_platforms
from shared.errors import DatabaseError
from shared.settings import Settings

INSTALL = "Run `neural-search install`."
# Status, pg_net's error, and whether it is the function's health.
Answer = tuple[int | None, str | None, bool]
QUEUE = "net.http_request_queue"
ISOLATION = "default_transaction_isolation"
TRIGGER_REMEDY = "Drop its function with `cascade`, as its owner; or disable pg_net and enable it again."
KICK_SECONDS = 20.0  # pg_net sends in batches, and one waits for the slowest of the batch before it


def kicks(target: Settings) -> str:
    """Asks the function for its health as the trigger calls it: from the database, with Vault's secret."""
    if migrations.pending(str(target.database_url)):
        raise DatabaseError(f"Not tried: migrations are pending. {INSTALL}")
    with connect(str(target.database_url)) as database:
        require_platforms(database)
        found: dict[str, str | None] = dict(
            database.execute(
                "select name, decrypted_secret from vault.decrypted_secrets where name = any(%s)",
                [[EMBED_URL, WEBHOOK_SECRET]],
            ).fetchall()
        )
        if not (found.get(EMBED_URL) and found.get(WEBHOOK_SECRET)):
            raise DatabaseError(f"Vault holds no address or no secret to call with. {INSTALL}")
        url = str(found[EMBED_URL]).rstrip("/") + "/health"
        answer = _asked_by_pg_net(database, url, str(found[WEBHOOK_SECRET]))
    return judged(url, answer)


def judged(url: str, answer: Answer | None) -> str:
    """The finding; DatabaseError, with the remedy, where the database's calls don't arrive."""
    if answer is None:
        raise DatabaseError(
            f"pg_net sent nothing within {KICK_SECONDS:.0f} s. Restart it: select net.worker_restart()."
        )
    status, error, is_health = answer
    if status == 401:
        raise DatabaseError(f"{url} refuses the secret in Vault. Give both the same: {INSTALL}")
    if status == 503 and is_health:
        return f"the database reaches {url}, where something fails: it says what"
    if status != 200:
        raise DatabaseError(
            f"The database doesn't reach {url} ({error or status}). Check that the function runs and that "
            "its address is public. `neural-search install --embed-url URL` names another. Until then "
            "`neural-search worker` does without kicks."
        )
    return f"the database reaches {url}"


def _check_queue(database: Database) -> None:
    """DatabaseError where a request can't be queued without running another's code as this role."""
    for found in given(database, ISOLATION, STORAGE, SCHEDULES):
        if found.value != "read committed":
            raise DatabaseError(
                f"Transactions of the {found.told} are {found.value}, which may not see a new trigger on "
                f"{QUEUE}: nothing is called. {found.remedy(ISOLATION)}"
            )
    database.execute("set transaction isolation level read committed")
    if database.execute("select neural_search.may_write(%s)", [QUEUE]).fetchone() == (True,):
        return
    triggers = column(
        database,
        "select format('%%s runs %%s', tgname, tgfoid::regproc) from pg_trigger"
        " where tgrelid = to_regclass(%s) and not tgisinternal",
        [QUEUE],
    )
    if not triggers:
        raise DatabaseError("pg_net isn't enabled. Enable it in the dashboard (Database, Extensions).")
    raise DatabaseError(
        f"{QUEUE} has a trigger, which every role may hang on it: {', '.join(triggers)}. Nothing is called, "
        f"or it would run as the database's owner. {TRIGGER_REMEDY}"
    )


def _asked_by_pg_net(database: Database, url: str, secret: str) -> Answer | None:
    """The answer to a request that the database makes; None where it isn't made in time."""
    with database.transaction():
        _check_queue(database)
        ((request,),) = database.execute(
            """
            select net.http_get(
              url => %s, timeout_milliseconds => 10000,
              headers => jsonb_build_object('x-webhook-secret', %s::text)
            )
            """,
            [url, secret],
        ).fetchall()
    deadline = time.monotonic() + KICK_SECONDS
    while time.monotonic() < deadline:
        rows = database.execute(
            """
            select status_code, error_msg, coalesce(position('"embedding"' in content::text) > 0, false)
            from net._http_response where id = %s
            """,
            [request],
        ).fetchall()
        if rows:
            return rows[0]
        time.sleep(0.1)
    return None
