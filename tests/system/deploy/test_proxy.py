"""The proxy of deploy/compose.yaml, as a real nginx reads it: one address alone can't use up its disk."""

from __future__ import annotations

import re
import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
import yaml
from support import http_servers
from support.echo_server import Echo
from support.http_servers import free_port
from support.prerequisites import need

from shared.settings import CHECKOUT

PROJECT = yaml.safe_load((CHECKOUT / "deploy" / "compose.yaml").read_text())
SETTINGS = PROJECT["configs"]["proxy"]["content"].replace("$$", "$")
MAIN = """
daemon off; master_process off; error_log stderr crit; pid {folder}/pid;
events {{ worker_connections 128; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  {settings}
}}
"""


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    nginx = need("nginx", "These tests need nginx: `apt-get install nginx-light`.")
    folder, mine = tmp_path_factory.mktemp("nginx"), free_port()
    with Echo() as query:
        settings = SETTINGS.replace("listen 8080", f"listen 127.0.0.1:{mine}")
        settings = settings.replace("http://query:8080", query.url)
        file = Path(folder) / "nginx.conf"
        file.write_text(MAIN.format(folder=folder, settings=settings))
        with http_servers.process([nginx, "-c", str(file)], {}, f"http://127.0.0.1:{mine}/live"):
            yield mine


def refused(port: int, head: str, address: str, connections: int = 10) -> int:
    """How many of so many requests whose bodies don't come are refused at once."""
    with ExitStack() as open_:
        waiting = [open_.enter_context(socket.create_connection(("127.0.0.1", port), 10, (address, 0)))
                   for _ in range(connections)]  # fmt: skip
        for one in waiting:
            one.sendall(f"POST / HTTP/1.1\r\nHost: query\r\n{head}\r\n\r\n".encode())
        # nginx has one process here, so that these were read before a later request is answered.
        for _ in range(2):
            httpx.get(f"http://127.0.0.1:{port}/live")
        answered, _, _ = select.select(waiting, [], [], 0)
        assert all(one.recv(1000).startswith(b"HTTP/1.1 429 ") for one in answered)
        return len(answered)


LARGE = {
    "100 kB": "Content-Length: 100000",
    "with zeros": "Content-Length: 0000000071000000",
    "chunked": "Transfer-Encoding: chunked",
}


@pytest.mark.parametrize("number, head", list(enumerate(LARGE.values(), 2)), ids=LARGE)
def test_four_large_bodies_of_one_address_are_waited_for(port: int, number: int, head: str):
    assert refused(port, head, f"127.0.0.{number}") == 6


def test_small_bodies_and_those_of_other_addresses_are_not_counted(port: int):
    assert refused(port, "Content-Length: 99999", "127.0.0.7") == 0
    assert [refused(port, LARGE["100 kB"], f"127.0.0.{number}", 4) for number in (8, 9)] == [0, 0]


def test_the_proxys_disk_has_room_for_several_such_addresses():
    [most] = re.findall(r"client_max_body_size (\d+)m;", SETTINGS)
    [bodies] = re.findall(r"limit_conn large (\d+);", SETTINGS)
    [disk] = re.findall(r"/var/cache/nginx:size=(\d+)g", " ".join(PROJECT["services"]["proxy"]["tmpfs"]))
    assert 3 * int(bodies) * int(most) < int(disk) * 1024
