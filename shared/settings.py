"""The settings, read from the environment in this one place."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from shared.errors import SettingsError

CHECKOUT = Path(__file__).resolve().parents[1]


class Secret(str):
    """A string that doesn't show itself in a `repr`, a traceback's locals or a log of settings."""

    def __repr__(self) -> str:
        return "Secret('***')" if self else "Secret('')"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What this process was told. An empty string means: not set. `need` reads what can't be done without."""

    supabase_url: str  # the project's API, without a trailing slash
    publishable_key: Secret  # sb_publishable_… or the legacy anon JWT: acts as anon
    secret_key: Secret  # sb_secret_… or the legacy service_role JWT: acts as service_role
    query_url: str  # where the query function answers
    embed_url: str  # where embed_on_upload answers
    webhook_secrets: tuple[Secret, ...]  # accepted in x-webhook-secret; two of them while rotating
    embedding_models: tuple[str, ...]  # the models this process can load; the first is its default
    embedding_device: str  # auto, cpu or cuda
    embedding_engine: str  # auto, openvino or torch
    embedding_precision: str  # auto or int8
    embedding_cache: Path  # where converted and compiled models are kept
    max_image_bytes: int
    max_image_pixels: int
    max_decode_seconds: int  # one image's, elapsed and of the CPU
    max_decode_memory: int  # bytes, of one decoder process
    database_url: Secret  # only for commands that need a direct connection
    local_data: Path  # the embedded stack's folder
    local_port: int  # the embedded stack's gateway

    def need(self, field: str) -> Any:
        """The setting's value; SettingsError, naming the variable, where it is empty."""
        if value := getattr(self, field):
            return value
        names = " or ".join(ENVIRONMENT[field])
        raise SettingsError(
            f"{names} is not set. Set it, or start the embedded stack with `neural-search up`."
        )


# Setting -> the environment variables that may hold it, the first of them preferred.
ENVIRONMENT: dict[str, tuple[str, ...]] = {
    "supabase_url": ("SUPABASE_URL",),
    "publishable_key": ("SUPABASE_PUBLISHABLE_KEY", "SUPABASE_ANON_KEY"),
    "secret_key": ("SUPABASE_SECRET_KEY", "SUPABASE_SERVICE_ROLE_KEY"),
    "query_url": ("QUERY_URL",),
    "embed_url": ("EMBED_URL",),
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
    "database_url": ("DATABASE_URL",),
    "local_data": ("LOCAL_DATA",),
    "local_port": ("LOCAL_PORT",),
}

DEFAULTS: dict[str, str] = {
    "embedding_models": "efficientnet-lite0-concepts",
    "embedding_device": "auto",
    "embedding_engine": "auto",
    "embedding_precision": "auto",
    "embedding_cache": "~/.cache/neural-search",
    "max_image_bytes": str(50 * 1024 * 1024),
    "max_image_pixels": str(100_000_000),
    "max_decode_seconds": "20",
    "max_decode_memory": str(2 * 1024**3),
    "local_data": str(CHECKOUT / ".local"),
    "local_port": "54321",
}

LEAST_DECODE_MEMORY = 128 * 1024 * 1024  # what a decoder process takes by itself, and a modest image

CHOICES = {
    "embedding_device": ("auto", "cpu", "cuda"),
    "embedding_engine": ("auto", "openvino", "torch"),
    "embedding_precision": ("auto", "int8"),
}

# What a process of ours may take over from this one's environment besides the settings it is given.
MACHINE = (
    *("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "XDG_CACHE_HOME"),
    *("HF_HOME", "HF_HUB_OFFLINE", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "WORKERS", "THREADS"),
)

STACK_FILE = "stack.env"  # written by the running embedded stack into its folder


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings from `environ` (the process's own by default).

    Where no SUPABASE_URL is set and the embedded stack has left its address and keys in its folder, those are
    used, so that every command works on it without any configuration.
    """
    environ = os.environ if environ is None else environ
    if not environ.get("SUPABASE_URL"):
        environ = _stack_environment(environ) | {name: value for name, value in environ.items() if value}
    text = {field: _first(environ, names) or DEFAULTS.get(field, "") for field, names in ENVIRONMENT.items()}
    url = _url(text["supabase_url"], "SUPABASE_URL")
    functions = f"{url}/functions/v1" if url else ""
    return Settings(
        supabase_url=url,
        publishable_key=Secret(text["publishable_key"]),
        secret_key=Secret(text["secret_key"]),
        query_url=_url(text["query_url"], "QUERY_URL") or (functions and f"{functions}/query"),
        embed_url=_url(text["embed_url"], "EMBED_URL") or (functions and f"{functions}/embed_on_upload"),
        webhook_secrets=_webhook_secrets(text["webhook_secrets"]),
        embedding_models=tuple(_split(text["embedding_models"])),
        embedding_device=_choice(text, "embedding_device"),
        embedding_engine=_choice(text, "embedding_engine"),
        embedding_precision=_choice(text, "embedding_precision"),
        embedding_cache=Path(text["embedding_cache"]).expanduser(),
        max_image_bytes=_positive(text, "max_image_bytes"),
        max_image_pixels=_positive(text, "max_image_pixels"),
        max_decode_seconds=_positive(text, "max_decode_seconds"),
        max_decode_memory=_positive(text, "max_decode_memory", least=LEAST_DECODE_MEMORY),
        database_url=Secret(text["database_url"]),
        local_data=Path(text["local_data"]).expanduser().resolve(),
        local_port=_port(text["local_port"]),
    )


def child_environment(changes: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with `changes`, for a process that it starts."""
    return {**os.environ, **changes}


def bare_environment(values: Mapping[str, str]) -> dict[str, str]:
    """`values` and what any program needs of the machine: for a process that must not see our secrets."""
    return {name: os.environ[name] for name in MACHINE if name in os.environ} | dict(values)


def environment(settings: Settings) -> dict[str, str]:
    """`settings` as the variables that `load` reads them from."""
    values = {field.name: getattr(settings, field.name) for field in fields(settings)}
    return {
        ENVIRONMENT[name][0]: ",".join(value) if isinstance(value, tuple) else str(value)
        for name, value in values.items()
    }


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((environ[name].strip() for name in names if environ.get(name, "").strip()), "")


def _stack_environment(environ: Mapping[str, str]) -> dict[str, str]:
    folder = Path(environ.get("LOCAL_DATA") or DEFAULTS["local_data"]).expanduser()
    try:
        lines = (folder / STACK_FILE).read_text().splitlines()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SettingsError(
            f"The embedded stack's folder {folder} can't be read: {error.strerror}. "
            "Set LOCAL_DATA to another."
        ) from error
    return dict(line.split("=", 1) for line in lines if "=" in line)


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _webhook_secrets(text: str) -> tuple[Secret, ...]:
    secrets = tuple(Secret(part) for part in _split(text))
    if len(secrets) > 2:
        raise SettingsError(
            f"EMBED_WEBHOOK_SECRET holds {len(secrets)} values. Give one, or two while rotating."
        )
    return secrets


def _url(text: str, name: str) -> str:
    if text and (urlsplit(text).scheme not in ("http", "https") or not urlsplit(text).netloc):
        raise SettingsError(f"{name} is {text!r}. Expected an address like https://<ref>.supabase.co.")
    return text.rstrip("/")


def _choice(text: Mapping[str, str], field: str) -> str:
    if text[field] not in CHOICES[field]:
        expected = ", ".join(CHOICES[field])
        raise SettingsError(f"{ENVIRONMENT[field][0]} is {text[field]!r}. Expected one of: {expected}.")
    return text[field]


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise SettingsError(f"LOCAL_PORT is {text!r}. Expected a whole number from 1 to 65535.")
    return int(text)


def _positive(text: Mapping[str, str], field: str, least: int = 1) -> int:
    if not text[field].isdecimal() or int(text[field]) < least:
        raise SettingsError(
            f"{ENVIRONMENT[field][0]} is {text[field]!r}. Expected a whole number of at least {least}."
        )
    return int(text[field])
