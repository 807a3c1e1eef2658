"""The target project as its clients reach it: supabase-py, and errors with a remedy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cli.client import rpc_answers
from shared.errors import (
    DatabaseForbidden,
    DatabaseUnavailable,
    ObjectExists,
    ObjectNotFound,
    RequestError,
    SettingsError,
    StorageError,
    StorageForbidden,
    StorageRefused,
    StorageUnavailable,
    Unauthorized,
)
from shared.settings import ENVIRONMENT, Secret, Settings

if TYPE_CHECKING:
    import httpx
    from storage3 import SyncBucket
    from supabase import Client

TIMEOUT_SECONDS = 120  # a large file over a slow line
UNREACHABLE = "Start the embedded stack with `neural-search up`, or check SUPABASE_URL."


class Project:
    """The project of the settings, as the secret key where there is one, else as the publishable key.

    To be closed, or used as a context manager: it holds connections.
    """

    def __init__(self, settings: Settings):
        self.settings = settings
        self.url: str = settings.need("supabase_url")
        self._connections = ExitStack()

    def __enter__(self) -> Project:
        return self

    def __exit__(self, *_: object) -> None:
        self._connections.close()

    @property
    def _key(self) -> Secret:
        return self.settings.secret_key or self.settings.need("publishable_key")

    @property
    def key_variable(self) -> str:
        """The environment variable of the key that this project is reached with."""
        return ENVIRONMENT["secret_key" if self.settings.secret_key else "publishable_key"][0]

    @cached_property
    def storage(self) -> Client:
        """An ordinary client; of many threads' use is only its `.storage`."""
        # supabase takes 0.6 s to import.
        import httpx
        from supabase import ClientOptions, SupabaseException, create_client

        from shared.supabase import surroundings
        from shared.supabase.bounded_transport import KEEP_ALIVE

        client = httpx.Client(
            timeout=TIMEOUT_SECONDS,
            limits=KEEP_ALIVE,
            trust_env=False,
            proxy=surroundings.proxy(self.url),
            verify=httpx.create_ssl_context(),  # the environment's certificates count for all
        )
        http = self._connections.enter_context(client)
        options = ClientOptions(httpx_client=http, auto_refresh_token=False, persist_session=False)
        try:
            return create_client(self.url, str(self._key), options=options)
        except SupabaseException as error:
            raise SettingsError(f"SUPABASE_URL or the key makes no sense: {error}. Check both.") from error

    def call(self, function: str, **arguments: Any) -> Any:
        """A database function's answer, with the key's rights; DatabaseUnavailable for another server's."""
        return self.call_as(
            "secret_key" if self.settings.secret_key else "publishable_key", function, **arguments
        )

    def call_as(self, key: str, function: str, **arguments: Any) -> Any:
        """The same as one of the two keys; SettingsError where that isn't set."""
        from shared.supabase.credentials import caller
        from shared.supabase.database import Database

        database = Database(self.url, caller({}, self.settings.need(key)), self._http)
        try:
            answer = database.call(function, **arguments)
        except DatabaseUnavailable as error:
            raise DatabaseUnavailable(f"{error} at {self.url}. {UNREACHABLE}") from error
        except Unauthorized as error:
            variable = ENVIRONMENT[key][0]
            raise Unauthorized(refused(self.url, variable), value=variable) from error
        except DatabaseForbidden as error:
            raise DatabaseForbidden(f"{error}: check {ENVIRONMENT[key][0]}.") from error
        return rpc_answers.checked(function, answer, self.url)

    def buckets(self) -> list[SyncBucket]:
        """Those that the key sees."""
        with storage_errors(self.key_variable):
            try:
                return self.storage.storage.list_buckets()
            except (TypeError, ValueError) as error:  # storage-py takes any JSON for Storage's
                raise StorageUnavailable(f"{self.url} answered without buckets. {UNREACHABLE}") from error

    def require_bucket(self, name: str | None) -> None:
        """RequestError where the secret key sees no such bucket; publishable keys mostly see none at all."""
        if name is None:
            return
        known = [bucket.name for bucket in self.buckets()]
        if name not in known and self.settings.secret_key:
            raise RequestError(unknown_bucket(name, known))

    @cached_property
    def _http(self) -> httpx.Client:
        from shared.supabase.database import http_client

        return self._connections.enter_context(http_client())


def refused(place: str, variable: str) -> str:
    """The message of an error whose `value` is the environment variable of the key."""
    return f"{place} refuses the key: check {variable}."


def unknown_bucket(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else "`neural-search buckets list` shows them all."
    return f"There is no bucket {name!r}. {hint}"


@contextmanager
def storage_errors(key_variable: str = "the key") -> Iterator[None]:
    """Translates supabase-py's exceptions, by the status in the body: HTTP's own is mostly 400.

    Without such a body a gateway before Storage answered, with a page or words of its own.
    """
    import httpx
    from storage3.exceptions import StorageApiError

    from shared.supabase.bounded_transport import reason

    try:
        yield
    except httpx.HTTPError as error:
        raise StorageUnavailable(f"Storage doesn't answer: {reason(error)}. {UNREACHABLE}") from error
    except StorageApiError as error:
        status, is_storages = str(error.status), isinstance(error.__cause__, httpx.HTTPStatusError)
        said = error.message if is_storages else f"A gateway before Storage answered {status}"
        if not is_storages and status < "500" and status not in ("401", "413", "429"):
            raise StorageUnavailable(f"{said}. {UNREACHABLE}") from error
        raise _storage_error(status, str(error.code), said, key_variable) from error


def _storage_error(status: str, code: str, message: str, key_variable: str) -> StorageError:
    if "Bucket not found" in message:
        return StorageError("there is no such bucket, or this key may not use it: check --bucket.")
    if "InvalidKey" in code or message.startswith("Invalid key"):
        return StorageRefused(
            "Storage takes no such characters in a name. Rename the file (plain letters work)."
        )
    if status == "404":
        return ObjectNotFound()
    if status == "401":
        return StorageForbidden(refused("Storage", key_variable), value=key_variable)
    if status == "403":
        return StorageForbidden(f"{message}. Set SUPABASE_SECRET_KEY, or let a policy allow it.")
    if status == "409":
        return ObjectExists("another file has this name there. `neural-search upload --upsert` replaces it.")
    if status == "413":
        return StorageError(f"{message}. Upload a smaller file, or raise the bucket's limit.")
    if status == "429" or status.startswith("5"):
        return StorageUnavailable(f"Storage is overloaded or failed ({status}: {message}). Try again later.")
    return StorageError(f"{message} ({status}).")
