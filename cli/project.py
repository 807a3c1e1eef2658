"""The target project as its clients reach it: supabase-py, and errors with a remedy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from shared.errors import (
    DatabaseForbidden,
    DatabaseUnavailable,
    ObjectExists,
    ObjectNotFound,
    SettingsError,
    StorageError,
    StorageForbidden,
    StorageUnavailable,
    Unauthorized,
)
from shared.settings import ENVIRONMENT, Secret, Settings

if TYPE_CHECKING:
    import httpx
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

    @cached_property
    def storage(self) -> Client:
        """An ordinary client; of many threads' use is only its `.storage`."""
        # supabase takes 0.6 s to import.
        import httpx
        from supabase import ClientOptions, SupabaseException, create_client

        from shared.rpc import KEEP_ALIVE

        http = self._connections.enter_context(httpx.Client(timeout=TIMEOUT_SECONDS, limits=KEEP_ALIVE))
        options = ClientOptions(httpx_client=http, auto_refresh_token=False, persist_session=False)
        try:
            return create_client(self.url, str(self._key), options=options)
        except SupabaseException as error:
            raise SettingsError(f"SUPABASE_URL or the key makes no sense: {error}. Check both.") from error

    def call(self, function: str, **arguments: Any) -> Any:
        """A database function's answer, for whoever the key is."""
        return self.call_as(
            "secret_key" if self.settings.secret_key else "publishable_key", function, **arguments
        )

    def call_as(self, key: str, function: str, **arguments: Any) -> Any:
        """The same as one of the two keys; SettingsError where that isn't set."""
        from shared.identity import caller
        from shared.rpc import Database

        database = Database(self.url, caller({}, self.settings.need(key)), self._http)
        try:
            return database.call(function, **arguments)
        except DatabaseUnavailable as error:
            raise DatabaseUnavailable(f"{error} at {self.url}. {UNREACHABLE}") from error
        except (DatabaseForbidden, Unauthorized) as error:
            raise type(error)(f"{error}. Check {ENVIRONMENT[key][0]}.") from error

    @cached_property
    def _http(self) -> httpx.Client:
        from shared.rpc import http_client

        return self._connections.enter_context(http_client())


@contextmanager
def storage_errors() -> Iterator[None]:
    """Translates what supabase-py raises for Storage, by the status in the body: HTTP's own is mostly 400."""
    import httpx
    from storage3.exceptions import StorageApiError

    try:
        yield
    except httpx.HTTPError as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise StorageUnavailable(f"Storage doesn't answer: {reason}. {UNREACHABLE}") from error
    except StorageApiError as error:
        raise _storage_error(str(error.status), str(error.code), error.message) from error


def _storage_error(status: str, code: str, message: str) -> StorageError:
    if "Bucket not found" in message:
        return StorageError(
            "there is no such bucket, or this key may not use it. Create it, or check --bucket."
        )
    if "InvalidKey" in code or message.startswith("Invalid key"):
        return StorageError(
            "Storage takes no such characters in a name. Rename the file (plain letters work)."
        )
    if status == "404":
        return ObjectNotFound()
    if status == "401":
        return StorageForbidden("Storage refuses the key. Check SUPABASE_SECRET_KEY, or the publishable one.")
    if status == "403":
        return StorageForbidden(f"{message}. Set SUPABASE_SECRET_KEY, or let a policy allow it.")
    if status == "409":
        return ObjectExists("another file has this name there. --upsert replaces it.")
    if status == "413":
        return StorageError(f"{message}. Upload a smaller file, or raise the bucket's limit.")
    if status == "429" or status.startswith("5"):
        return StorageUnavailable(f"Storage is overloaded or failed ({status}: {message}). Try again later.")
    return StorageError(f"{message} ({status}).")
