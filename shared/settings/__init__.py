"""The settings, read from the environment in this one place."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit, urlunsplit

from shared.errors import SettingsError
from shared.secrets import api_keys, masking
from shared.settings import data_folder

CHECKOUT = Path(__file__).resolve().parents[2]


class Secret(str):
    """A string that doesn't show itself in a `repr`, a traceback's locals or a log of settings."""

    def __repr__(self) -> str:
        return "Secret('***')" if self else "Secret('')"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """This process's settings. An empty string means: not set. `need` reads the indispensable ones."""

    supabase_url: str  # the project's API, without a trailing slash
    public_url: str  # the same, as browsers reach it
    publishable_key: Secret  # sb_publishable_… or the legacy anon JWT: acts as anon
    secret_key: Secret  # sb_secret_… or the legacy service_role JWT: acts as service_role
    user_token: Secret  # a user's access token, for commands that look through their eyes
    query_url: str  # where the query function answers
    embed_url: str  # where embed_on_upload answers
    storage_transformations: str  # on where the project has Storage's image transformation, else off
    page_frame_origins: tuple[str, ...]  # whose pages may show ours in a frame
    webhook_secrets: tuple[Secret, ...]  # accepted in x-webhook-secret; two of them while rotating
    embedding_models: tuple[str, ...]  # the models this process can load; the first is its default
    embedding_device: str  # auto, cpu or cuda
    embedding_engine: str  # auto, openvino or torch
    embedding_precision: str  # auto or int8
    embedding_cache: Path  # where converted and compiled models are kept
    max_image_bytes: int
    max_image_pixels: int
    max_decode_seconds: int  # of the CPU, for one image, and for all of a request
    max_decode_memory: int  # bytes, of one decoder process
    log_level: str  # of the functions: debug, info or warning
    database_url: Secret  # only for commands that need a direct connection
    local_data: Path  # the embedded stack's folder
    local_port: int  # the embedded stack's gateway
    local_jwt_algorithm: str  # of its users' tokens: ES256 or HS256

    @property
    def secrets(self) -> list[str]:
        """The values to be told nowhere; short ones, which a password may be, are parts of any text."""
        passwords = api_keys.passwords(self.database_url)
        own = (self.secret_key, self.user_token, *self.webhook_secrets, *passwords)
        return [secret for secret in own if len(secret) >= api_keys.LEAST_SECRET]

    def need(self, field: str) -> Any:
        """The setting's value; SettingsError, naming the variable, where it is empty."""
        if value := getattr(self, field):
            return value
        names = " or ".join(ENVIRONMENT[field])
        text = f"{names} is not set. Set it, or start the embedded stack with `neural-search up`."
        raise SettingsError(text, told=text)


# Setting -> the environment variables that may hold it, the first of them preferred.
ENVIRONMENT: dict[str, tuple[str, ...]] = {
    "supabase_url": ("SUPABASE_URL",),
    "public_url": ("SUPABASE_PUBLIC_URL",),
    "publishable_key": ("SUPABASE_PUBLISHABLE_KEY", "SUPABASE_ANON_KEY", "SUPABASE_PUBLISHABLE_KEYS"),
    "secret_key": ("SUPABASE_SECRET_KEY", "SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_SECRET_KEYS"),
    "user_token": ("SUPABASE_USER_TOKEN",),
    "query_url": ("QUERY_URL",),
    "embed_url": ("EMBED_URL",),
    "storage_transformations": ("STORAGE_TRANSFORMATIONS",),
    "page_frame_origins": ("PAGE_FRAME_ORIGINS",),
    "webhook_secrets": ("EMBED_WEBHOOK_SECRET",),
    "embedding_models": ("EMBEDDING_MODELS",),
    "embedding_device": ("EMBEDDING_DEVICE",),
    "embedding_engine": ("EMBEDDING_ENGINE",),
    "embedding_precision": ("EMBEDDING_PRECISION",),
    "embedding_cache": ("EMBEDDING_CACHE",),
    "max_image_bytes": ("MAX_IMAGE_BYTES",),
    "max_image_pixels": ("MAX_IMAGE_PIXELS",),
    "max_decode_seconds": ("MAX_DECODE_SECONDS",),
    "max_decode_memory": ("MAX_DECODE_MEMORY",),
    "log_level": ("LOG_LEVEL",),
    "database_url": ("DATABASE_URL",),
    "local_data": ("LOCAL_DATA",),
    "local_port": ("LOCAL_PORT",),
    "local_jwt_algorithm": ("LOCAL_JWT_ALGORITHM",),
}

# Another in each project: the embedded stack has its own. The others are a machine's or a person's choice.
OF_A_PROJECT = (
    *("supabase_url", "public_url", "publishable_key", "secret_key", "user_token", "query_url", "embed_url"),
    *("storage_transformations", "webhook_secrets", "database_url"),
)

DEFAULTS: dict[str, str] = {
    "storage_transformations": "off",
    "embedding_models": "efficientnet-lite0-concepts",
    "embedding_device": "auto",
    "embedding_engine": "auto",
    "embedding_precision": "auto",
    "embedding_cache": "~/.cache/neural-search",
    "max_image_bytes": str(50 * 1024 * 1024),
    "max_image_pixels": str(100_000_000),
    "max_decode_seconds": "20",
    "max_decode_memory": str(2 * 1024**3),
    "log_level": "info",
    "local_data": str(CHECKOUT / ".local"),
    "local_port": "54321",
    "local_jwt_algorithm": "ES256",
}

# The webhook's secret must be none of these. All other settings may be told in errors and logs.
KEYS = ("publishable_key", "secret_key", "user_token", "database_url")
SECRETS = ("webhook_secrets", *KEYS)

SPACES = " \t\r\n"  # which Python's own parser leaves out of an address
BEYOND_AN_ORIGIN = set("*;',\"\\")  # which mean something else in a Content-Security-Policy
API = re.compile("/(auth|functions|rest|storage)/v1$")  # the end of one API's address
DIGITS = re.compile(r"\d{1,19}", re.ASCII)
COUNT = re.compile(r"[1-9][0-9]{0,2}")
LEAST_DECODE_MEMORY = 128 * 1024 * 1024  # for a decoder process itself, and a modest image

CHOICES = {
    "storage_transformations": ("on", "off"),
    "embedding_device": ("auto", "cpu", "cuda"),
    "embedding_engine": ("auto", "openvino", "torch"),
    "embedding_precision": ("auto", "int8"),
    "log_level": ("debug", "info", "warning"),
    "local_jwt_algorithm": ("ES256", "HS256"),
}

# Variables that a child process may take over besides the settings it is given.
MACHINE = (
    *("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "XDG_CACHE_HOME"),
    *("HF_HOME", "HF_HUB_OFFLINE", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "WORKERS", "THREADS"),
)

# Children import our packages, and nothing of the folder that they are started in (python -P).
IMPORTS = {"PYTHONSAFEPATH": "1", "PYTHONPATH": str(CHECKOUT)}

STACK_FILE = "stack.env"  # of the running embedded stack, in its folder


def load(environ: Mapping[str, str] | None = None, *, for_callers: bool = False) -> Settings:
    """The settings from `environ` (the process's own by default).

    Where no SUPABASE_URL is set and the embedded stack runs, its address and keys are used, so that every
    command works on it without any configuration. `for_callers`: without the secret key, for a process that
    acts as its callers alone, though one may be there.
    """
    environ = os.environ if environ is None else environ
    if not _first(environ, ENVIRONMENT["supabase_url"]):
        environ = _stack_environment(environ) | {
            name: value for name, value in environ.items() if value.strip()
        }
    text = {field: _first(environ, names) or DEFAULTS.get(field, "") for field, names in ENVIRONMENT.items()}
    secrets = _secrets(environ)
    for field in ENVIRONMENT.keys() - set(SECRETS):
        chosen = (DEFAULTS.get(field), *CHOICES.get(field, ()))  # as a password may read, too
        api_keys.without_secret(text[field], ENVIRONMENT[field][0], () if text[field] in chosen else secrets)
    url = _project_url(text["supabase_url"])
    functions = f"{url}/functions/v1" if url else ""
    found = Settings(
        supabase_url=url,
        public_url=address(text["public_url"], "SUPABASE_PUBLIC_URL") or url,
        publishable_key=_key(environ, "publishable_key", "anon"),
        secret_key=_key(environ, "secret_key", "service_role") if not for_callers else Secret(""),
        user_token=Secret(api_keys.users(text["user_token"], "SUPABASE_USER_TOKEN")),
        query_url=address(text["query_url"], "QUERY_URL") or (functions and f"{functions}/query"),
        embed_url=address(text["embed_url"], "EMBED_URL") or (functions and f"{functions}/embed_on_upload"),
        storage_transformations=_choice(text, "storage_transformations"),
        page_frame_origins=tuple(_origin(part) for part in _split(text["page_frame_origins"])),
        webhook_secrets=_webhook_secrets(text["webhook_secrets"], _secrets(environ, KEYS)),
        embedding_models=tuple(_split(text["embedding_models"])),
        embedding_device=_choice(text, "embedding_device"),
        embedding_engine=_choice(text, "embedding_engine"),
        embedding_precision=_choice(text, "embedding_precision"),
        embedding_cache=_folder(text, "embedding_cache"),
        max_image_bytes=_number(text, "max_image_bytes"),
        max_image_pixels=_number(text, "max_image_pixels"),
        max_decode_seconds=_number(text, "max_decode_seconds"),
        max_decode_memory=_number(text, "max_decode_memory", least=LEAST_DECODE_MEMORY),
        log_level=_choice(text, "log_level"),
        database_url=_database_url(text["database_url"]),
        local_data=data_folder.resolved(_folder(text, "local_data")),
        local_port=_number(text, "local_port", most=65535),
        local_jwt_algorithm=_choice(text, "local_jwt_algorithm"),
    )
    masking.hide(found.secrets)
    return found


def is_named(field: str) -> bool:
    """Whether the environment names this setting, not a default or the running stack alone."""
    return bool(_first(os.environ, ENVIRONMENT[field]))


def require_unnamed(*settings: str) -> None:
    """SettingsError where the environment names one of these, which this process shall not have."""
    variables = (name for field in settings for name in ENVIRONMENT[field])
    if found := [name for name in variables if _first(os.environ, (name,))]:
        raise SettingsError(
            f"{', '.join(found)} in the environment of a function that acts as its callers alone. Leave it "
            "out there: embed_on_upload and the commands take it."
        )


def require_counts(*variables: str) -> None:
    """SettingsError for one that others read and take as it is, though it is no number from 1 to 999."""
    for name in variables:
        if (text := os.environ.get(name)) is not None and not COUNT.fullmatch(text):
            raise SettingsError(
                f"{name} is {api_keys.described(text)}. Expected a whole number from 1 to 999."
            )


def address(text: str, name: str) -> str:
    """`text` without its last slash; SettingsError for a text that is no address of HTTP to add paths to."""
    parts = _parts(text)
    host = parts.hostname or ""
    if text and (
        parts.scheme not in ("http", "https")
        or not host
        or set(text) & {*SPACES, "?", "#"}  # paths would go into a query or a fragment
        or set(parts.netloc) & BEYOND_AN_ORIGIN
    ):
        raise SettingsError(
            f"{name} is {api_keys.described(text)}. Expected an address like https://<ref>.supabase.co."
        )
    if parts.scheme == "http" and host.rstrip(".").endswith((".supabase.co", ".supabase.in")):
        raise SettingsError(f"{name} begins with http://, so keys would go unencrypted. Expected https://.")
    return urlunsplit(parts).rstrip("/")  # the scheme in small letters: supabase-py takes no other


def _project_url(text: str) -> str:
    url = address(text, "SUPABASE_URL")
    if API.search(url):
        raise SettingsError(
            f"SUPABASE_URL is {api_keys.described(url)}, the address of one API of the project. Expected the "
            "project's, like https://<ref>.supabase.co."
        )
    return url


def child_environment(changes: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with `changes`, for a process that it starts."""
    paths = [path for path in (IMPORTS["PYTHONPATH"], os.environ.get("PYTHONPATH")) if path]
    return {**os.environ, **IMPORTS, "PYTHONPATH": os.pathsep.join(paths), **changes}


def bare_environment(values: Mapping[str, str]) -> dict[str, str]:
    """`values` and the machine's own variables: for a process that must not see our secrets."""
    return {name: os.environ[name] for name in MACHINE if name in os.environ} | IMPORTS | dict(values)


def environment(settings: Settings) -> dict[str, str]:
    """`settings` as the variables that `load` reads them from."""
    values = {field.name: getattr(settings, field.name) for field in fields(settings)}
    return {
        ENVIRONMENT[name][0]: ",".join(value) if isinstance(value, tuple) else str(value)
        for name, value in values.items()
    }


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((environ[name].strip() for name in names if environ.get(name, "").strip()), "")


def _key(environ: Mapping[str, str], field: str, role: str) -> Secret:
    """The key that acts as `role`; SettingsError for one that acts as another."""
    name = next((name for name in ENVIRONMENT[field] if environ.get(name, "").strip()), "")
    value = environ.get(name, "").strip()
    key = api_keys.one_of(value, name) if name.endswith("_KEYS") else value
    return Secret(api_keys.checked(key, role, name))


def _stack_environment(environ: Mapping[str, str]) -> dict[str, str]:
    named = _first(environ, ENVIRONMENT["local_data"]) or DEFAULTS["local_data"]
    folder = data_folder.resolved(_folder({"local_data": named}, "local_data"))
    lines = (data_folder.told(folder, STACK_FILE) or "").splitlines()
    return dict(line.split("=", 1) for line in lines)


def _secrets(environ: Mapping[str, str], settings: Sequence[str] = SECRETS) -> set[str]:
    """The values of secret settings, those that another goes before too, and the database's password."""
    values = [environ.get(name, "") for field in settings for name in ENVIRONMENT[field]]
    passwords = [password for value in values for password in api_keys.passwords(value)]
    return {part for value in (*values, *passwords) for part in (value.strip(), *_split(value)) if part}


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _webhook_secrets(text: str, others: Collection[str]) -> tuple[Secret, ...]:
    parts = [api_keys.of_its_own(part, "EMBED_WEBHOOK_SECRET", others) for part in _split(text)]
    secrets = tuple(map(Secret, parts))
    if len(secrets) > 2:
        raise SettingsError(
            f"EMBED_WEBHOOK_SECRET holds {len(secrets)} values. Give one, or two while rotating."
        )
    return secrets


def _database_url(text: str) -> Secret:
    """An `@` or a `/` in its password would make a part of that the host's name, which errors tell."""
    authority, _, path = text.partition("://")[2].partition("?")[0].partition("/")
    if authority.count("@") > 1 or "@" in path:
        raise SettingsError(
            "DATABASE_URL has an @ too many, or one after a slash. In a password write %40 for @, %2F for /."
        )
    return Secret(text)


def _parts(text: str) -> SplitResult:
    """The address's parts, all empty where it is none, such as `http://[` or `http://x:99999`."""
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises, too
        return parts
    except ValueError:
        return SplitResult("", "", "", "", "")


def _origin(text: str) -> str:
    """Goes into the Content-Security-Policy, where more than an origin would mean something else."""
    parts = _parts(text)
    if (
        parts.scheme not in ("http", "https")
        or text != f"{parts.scheme}://{parts.netloc}"
        or set(text) & {*BEYOND_AN_ORIGIN, " "}
    ):
        raise SettingsError(
            f"PAGE_FRAME_ORIGINS holds {api_keys.described(text)}. Expected origins like "
            "https://app.example.com, with commas between them."
        )
    return text


def _choice(text: Mapping[str, str], field: str) -> str:
    if text[field] not in CHOICES[field]:
        raise _senseless(text, field, f"one of: {', '.join(CHOICES[field])}")
    return text[field]


def _number(text: Mapping[str, str], field: str, least: int = 1, most: int | None = None) -> int:
    number = int(text[field]) if DIGITS.fullmatch(text[field]) else least - 1
    if number < least or (most and number > most):
        bounds = f"from {least} to {most}" if most else f"of at least {least}"
        raise _senseless(text, field, f"a whole number {bounds}")
    return number


def _folder(text: Mapping[str, str], field: str) -> Path:
    try:
        if b"\0" in os.fsencode(text[field]):
            raise _senseless(text, field, "a folder, without a character that no name has")
        return Path(text[field]).expanduser()
    except UnicodeEncodeError as error:
        raise _senseless(text, field, "a folder, without half of a character") from error
    except RuntimeError as error:
        raise _senseless(text, field, "a folder, not one below the home of an unknown user") from error


def _senseless(text: Mapping[str, str], field: str, expected: str) -> SettingsError:
    found = api_keys.described(text[field])
    return SettingsError(f"{ENVIRONMENT[field][0]} is {found}. Expected {expected}.")
