"""`supabase gen types`, by the real command, for our functions; the docs show its output."""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from urllib.parse import parse_qs, urlsplit

import pytest
from support import npm_packages
from support.databases import Clone

from shared.settings import CHECKOUT

HERE = Path(__file__).parent
APP = CHECKOUT / "examples" / "vite"
EXCERPT = re.compile(r"```ts\n(.*?)```", re.DOTALL)
PROGRAM = """
import { createClient } from '@supabase/supabase-js'
import type { Database } from './database'

const supabase = createClient<Database>('https://ref.supabase.co', 'key')
const { data: states } = await supabase
  .rpc('object_states', { bucket: 'albums', names: ['a.jpg'] })
  .throwOnError()
const state: string | undefined = states[0]?.state
const { data: found } = await supabase
  .rpc('match_documents', { query_embedding: '[0.1]', match_count: 10, filter: { bucket: 'albums' } })
  .throwOnError()
const best: number | undefined = found[0]?.similarity
// @ts-expect-error
await supabase.rpc('object_states', { bucket: 'albums' })
// @ts-expect-error
await supabase.rpc('match_document', {})
console.log(state, best)
export {}
"""


@pytest.fixture
def generated(database: Clone, tmp_path: Path) -> str:
    packages = npm_packages.install(HERE)
    with reached_by_tcp(database.url("postgres")) as url:
        done = subprocess.run(
            [packages / ".bin" / "supabase", "gen", "types", "typescript", f"--remote={url}"],
            cwd=tmp_path,  # it leaves files behind
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_docs_show_what_it_makes_of_our_functions(generated: str):
    [excerpt] = EXCERPT.findall((CHECKOUT / "examples" / "README.md").read_text())
    functions = squeezed(excerpt.split("…")[0]), squeezed(excerpt.split("…")[1])
    assert all(function and function in squeezed(generated) for function in functions), (
        "show in examples/README.md what `supabase gen types` makes of object_states and match_documents"
    )


def test_calls_are_checked_against_them(generated: str):
    npm_packages.install(APP)
    folder = APP / "build"
    folder.mkdir(exist_ok=True)
    (folder / "database.ts").write_text(generated)
    (folder / "typed.ts").write_text(PROGRAM)
    flags = [
        "--noEmit",
        "--strict",
        "--skipLibCheck",
        "--target",
        "es2022",
        "--module",
        "es2022",
        "--moduleResolution",
        "bundler",
    ]
    checked = subprocess.run(
        [APP / "node_modules/.bin/tsc", *flags, folder / "typed.ts"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert checked.returncode == 0, checked.stdout


def squeezed(text: str) -> str:
    """Without a formatter's changes."""
    return re.sub(r"[\s\",;()]", "", text)


@contextmanager
def reached_by_tcp(url: str) -> Iterator[str]:
    """Our Postgres listens on a unix socket alone; the command takes addresses with a port."""
    parts = urlsplit(url)
    socket = f"{parse_qs(parts.query)['host'][0]}/.s.PGSQL.5432"
    ports: list[int] = []
    ready, loop = Event(), asyncio.new_event_loop()

    async def serve() -> None:
        server = await asyncio.start_server(lambda *ends: forward(socket, *ends), "127.0.0.1", 0)
        ports.append(server.sockets[0].getsockname()[1])
        ready.set()
        async with server:
            with contextlib.suppress(asyncio.CancelledError):
                await server.serve_forever()

    task = loop.create_task(serve())
    thread = Thread(target=lambda: loop.run_until_complete(task))
    thread.start()
    ready.wait(10)
    try:
        yield f"postgresql://postgres:x@127.0.0.1:{ports[0]}{parts.path}?sslmode=disable"
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()
        loop.close()


async def forward(socket: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    theirs, ours = await asyncio.open_unix_connection(socket)
    await asyncio.gather(pipe(reader, ours), pipe(theirs, writer), return_exceptions=True)


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()
