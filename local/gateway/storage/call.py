"""One call to Storage: who calls, which operation, and the transactions it may open."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import psycopg
from starlette.requests import Request

from local.gateway.database import STORAGE, Connection, Database
from local.gateway.identity import SERVICE, Caller
from local.gateway.storage import faults
from local.gateway.storage.body import Body
from local.gateway.storage.files import Files
from local.gateway.storage.tus.pending import Pending
from local.keys import Keys

STATEMENT_TIMEOUT = "30s"
JSON = "application/json"
MEDIA_TYPE = re.compile(r"[\w!#$%&'*+.^`|~-]+/[\w!#$%&'*+.^`|~-]+", re.ASCII)
VALID_KEY = re.compile(r"(\w|[/!\-.*'() &$@=;:+,?])+", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request to Storage with all that its handler needs."""

    request: Request
    caller: Caller
    operation: str  # storage.operation() for policies, such as storage.object.upload
    database: Database
    files: Files
    pending: Pending
    keys: Keys

    @property
    def bucket(self) -> str:
        return str(self.request.path_params["bucket"])

    @property
    def name(self) -> str:
        """The object's path in its bucket, decoded."""
        return valid_key(str(self.request.path_params["name"]))

    @property
    def as_service(self) -> Call:
        """The same call with Storage's own rights, past row level security."""
        return replace(self, caller=SERVICE)

    async def body(self) -> Body:
        """The JSON object that was sent, as JSON."""
        sent = await self.request.body()
        if media_type(self.request) != JSON:
            raise faults.invalid_body("body must be object")
        if not sent:
            raise faults.unreadable_body(f"Body cannot be empty when content-type is set to '{JSON}'")
        try:
            values = json.loads(sent)
        except (ValueError, RecursionError):
            raise faults.unreadable_body(
                f"Body is not valid JSON but content-type is set to '{JSON}'"
            ) from None
        if not isinstance(values, dict):
            raise faults.invalid_body("body must be object")
        return Body(values)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A transaction as the caller with Storage's settings for triggers and policies; errors as faults."""
        try:
            async with self.database.transaction(STORAGE, self._settings()) as connection:
                yield connection
        except psycopg.Error as error:
            raise faults.from_database(error) from error
        except UnicodeEncodeError as error:  # half a character, which JSON can hold
            raise faults.unreadable_body("Body is not valid UTF-8") from error

    def _settings(self) -> dict[str, str]:
        return {
            "role": self.caller.role,
            "request.jwt.claims": json.dumps(dict(self.caller.claims)),
            "request.jwt.claim.role": self.caller.role,
            "request.jwt.claim.sub": self.caller.user_id or "",
            "request.method": self.request.method,
            "request.path": self.request.url.path,
            "request.headers": json.dumps(dict(self.request.headers)),
            "storage.operation": self.operation,
            "storage.allow_delete_query": "true",
            "search_path": "storage, public, extensions",
            "statement_timeout": STATEMENT_TIMEOUT,
        }


def media_type(request: Request) -> str:
    """The Content-Type without its parameters; a fault for one that can't be read."""
    given = request.headers.get("content-type", "")
    kind = given.partition(";")[0].strip().lower()
    if given and not MEDIA_TYPE.fullmatch(kind):
        raise faults.invalid_content_type()
    return kind


def valid_key(key: object) -> str:
    """`key`, if it is one that Storage accepts as an object's name."""
    if not isinstance(key, str) or not VALID_KEY.fullmatch(key):
        raise faults.invalid_key(str(key or ""))
    return key
