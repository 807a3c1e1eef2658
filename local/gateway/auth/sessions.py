"""Users and their sessions in the database: signing in, refreshing, signing out."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from typing import Any

import bcrypt

from local.gateway.auth import faults
from local.gateway.database import Connection

Row = dict[str, Any]
REUSE = 10  # seconds in which a client that lost the answer may present its old refresh token again
SCOPES = {  # of signing out -> the sessions that end
    "global": "user_id = %(user)s",
    "local": "id = %(session)s",
    "others": "user_id = %(user)s and id <> %(session)s",
}


async def sign_in(connection: Connection, email: str, password: str, user_agent: str) -> tuple[Row, Row]:
    """The user, and the new session as {session_id, token}; Fault where e-mail or password is wrong."""
    user = await _one(connection, "select * from auth.users where email = lower(%s)", email)
    if user is None or not await asyncio.to_thread(_fits, password, user["encrypted_password"]):
        raise faults.invalid_credentials()
    session = {"session_id": uuid.uuid4(), "user": user["id"], "agent": user_agent}
    await connection.execute(
        """
        insert into auth.sessions (id, user_id, created_at, updated_at, user_agent)
        values (%(session_id)s, %(user)s, now(), now(), %(agent)s)
        """,
        session,
    )
    await connection.execute("update auth.users set last_sign_in_at = now() where id = %s", [user["id"]])
    return user, await _issue(connection, user["id"], session["session_id"], parent=None)


async def refresh(connection: Connection, token: str) -> tuple[Row, Row]:
    """The user, and the session with its next token; an old token that comes late ends the session."""
    known = await _one(
        connection,
        """
        select t.*, t.updated_at > now() - make_interval(secs => %s) as recent
        from auth.refresh_tokens as t where t.token = %s for update
        """,
        REUSE,
        token,
    )
    if known is None:
        raise faults.unknown_refresh_token()
    user = await find_user(connection, known["user_id"])
    if not known["revoked"]:
        await connection.execute(
            "update auth.refresh_tokens set revoked = true, updated_at = now() where token = %s", [token]
        )
        return user, await _issue(connection, user["id"], known["session_id"], parent=token)
    if known["recent"] and (current := await _current(connection, known["session_id"])):
        return user, current
    await connection.execute("delete from auth.sessions where id = %s", [known["session_id"]])
    await connection.commit()  # the refusal must not undo it
    raise faults.used_refresh_token()


async def find_user(connection: Connection, user_id: str) -> Row:
    """The user of a valid token; Fault where they are gone."""
    user = await _one(connection, "select * from auth.users where id::text = %s", str(user_id))
    if user is None:
        raise faults.no_session()
    return user


async def check(connection: Connection, session_id: str | None) -> None:
    """Fault where the session was signed out."""
    if await _one(connection, "select 1 from auth.sessions where id::text = %s", session_id) is None:
        raise faults.no_session()


async def sign_out(connection: Connection, user_id: str, session_id: str | None, scope: str) -> None:
    """End this session (`local`), the user's others (`others`) or all of them (`global`)."""
    condition = SCOPES.get(scope, SCOPES["global"])
    values = {"user": user_id, "session": session_id}
    await connection.execute(f"delete from auth.sessions where {condition}".encode(), values)


def _fits(password: str, hashed: str | None) -> bool:
    return bool(hashed) and bcrypt.checkpw(password.encode()[:72], str(hashed).encode())


async def _issue(connection: Connection, user_id: Any, session_id: Any, parent: str | None) -> Row:
    token = secrets.token_urlsafe(9)
    await connection.execute(
        """
        insert into auth.refresh_tokens (token, user_id, session_id, parent, revoked, created_at, updated_at)
        values (%s, %s, %s, %s, false, now(), now())
        """,
        [token, str(user_id), session_id, parent],
    )
    return {"session_id": session_id, "token": token}


async def _current(connection: Connection, session_id: Any) -> Row | None:
    statement = "select session_id, token from auth.refresh_tokens where session_id = %s and not revoked"
    return await _one(connection, statement, session_id)


async def _one(connection: Connection, statement: str, *values: Any) -> Row | None:
    return await (await connection.execute(statement.encode(), values)).fetchone()
