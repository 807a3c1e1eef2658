"""The embedded stack with our migrations, seed and model in it: started by this process, or found running."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from cli.console import output
from cli.installer.connection import connect
from cli.installer.installation import install
from local.stack import Stack
from shared import settings
from shared.errors import StackError
from shared.settings import CHECKOUT, Settings

SEED = CHECKOUT / "supabase" / "seed.sql"


@contextmanager
def launched(target: Settings) -> Iterator[Stack]:
    """The stack, ready; stopped at the end. Ctrl-C and SIGTERM end the block at any time."""
    if running := Stack.running(target):
        raise StackError(f"The embedded stack runs already at {running.url}. `neural-search down` stops it.")
    stack = Stack(target, prepare=_fill)
    with _terminable():
        try:
            _prepare_models(target)
            output.say("Starting Postgres, the gateway and the functions …")
            began = time.monotonic()
            stack.start()
            stack.wait_ready()
            output.say(f"Ready at {stack.url} after {output.seconds(time.monotonic() - began)}")
            yield stack
        finally:
            stack.stop()


def as_client(target: Settings) -> Settings:
    """A running stack's own address and keys, in spite of SUPABASE_URL."""
    own = settings.load({"LOCAL_DATA": str(target.local_data), "LOCAL_PORT": str(target.local_port)})
    return replace(target, **{field: getattr(own, field) for field in settings.OF_A_PROJECT})


def _prepare_models(target: Settings) -> None:
    from shared import embedding  # numpy and more: 0.3 s

    for name in target.embedding_models:
        output.say(f"Preparing the model {name} …")
        began = time.monotonic()
        if embedding.prepare(name, configuration=target):
            output.say(f"Converted for the CPU, once, in {output.seconds(time.monotonic() - began)}")


def _fill(own: Settings) -> None:
    """Puts the project into the stack's database as `install` would, then the demo's bucket."""
    url = own.need("database_url")
    install(url, embed_url=own.embed_url, webhook_secret=str(own.webhook_secrets[0]), buckets=[])
    with connect(url) as database:
        database.execute(SEED.read_bytes())


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM (from `down`, or a service manager) interrupts as Ctrl-C does."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
