"""The proxy of deploy/compose.yaml, as a real nginx reads it: no address alone uses up its places or disk."""

from __future__ import annotations

import re
import select
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest
import yaml
from support import http_servers
from support.echo_server import Echo
from support.http_servers import free_port
from support.prerequisites import need, unavailable
from support.waiting import eventually

from shared.settings import CHECKOUT

PROJECT = yaml.safe_load((CHECKOUT / "deploy" / "compose.yaml").read_text())
SETTINGS = PROJECT["configs"]["proxy"]["content"].replace("$$", "$")
# The official image has it built in.
STREAM = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
HTTP = """http {{
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
"""


class Names:
    """A name server like Docker's, which tells one address for every name."""

    def __init__(self) -> None:
        self.address = "127.0.0.1"
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.at = "{}:{}".format(*self._socket.getsockname())

    def __enter__(self) -> Names:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _serve(self) -> None:
        with suppress(OSError):  # closed
            while True:
                question, client = self._socket.recvfrom(512)
                self._socket.sendto(self._answer(question), client)

    def _answer(self, question: bytes) -> bytes:
        """RFC 1035: the question with one record, or for others than A without."""
        is_a = question[-4:] == b"\0\1\0\1"
        head = question[:2] + b"\x81\x80\0\1" + (b"\0\1" if is_a else b"\0\0") + b"\0\0\0\0"
        record = b"\xc0\x0c\0\1\0\1" + struct.pack("!IH", 600, 4) + socket.inet_aton(self.address)
        return head + question[12:] + (record if is_a else b"")


def placed(settings: str, folder: Path, port: int, query: str, names: str) -> str:
    """The settings, with addresses and files of this machine."""
    for theirs, ours in (
        ("listen 8080", f"listen 127.0.0.1:{port}"),
        ("query:8080", query),
        ("127.0.0.11 valid=5s", f"{names} valid=1s"),
        ("/run/query.sock", f"{folder}/socket"),
        ("/dev/stdout", f"{folder}/requests"),
        ("error_log stderr", f"error_log {folder}/errors"),
        ("http {\n", HTTP.format(folder=folder)),
    ):
        assert theirs in settings
        settings = settings.replace(theirs, ours)
    module = f"load_module {STREAM};" if STREAM.exists() else ""
    return f"{module} daemon off; master_process off; pid {folder}/pid; {settings}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("nginx")


@pytest.fixture(scope="module")
def names() -> Iterator[Names]:
    with Names() as server:
        yield server


@pytest.fixture(scope="module")
def port(folder: Path, names: Names) -> Iterator[int]:
    how = "These tests need nginx with its module stream: `apt-get install nginx-light libnginx-mod-stream`."
    nginx, mine = need("nginx", how), free_port()
    about = subprocess.run([nginx, "-V"], capture_output=True, text=True, check=True).stderr
    if "--with-stream " not in f"{about} " and not STREAM.exists():
        unavailable(how)
    with Echo() as query:
        file = folder / "nginx.conf"
        file.write_text(
            placed(SETTINGS, folder, mine, query.url.replace("http://127.0.0.1", "query"), names.at)
        )
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


def ended(connection: socket.socket) -> bool:
    connection.settimeout(0)
    try:
        return not connection.recv(1)
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def test_an_address_has_so_many_connections_whether_a_request_comes_or_not(port: int):
    [most] = map(int, re.findall(r"limit_conn connections (\d+);", SETTINGS))
    with ExitStack() as open_:
        held = [open_.enter_context(socket.create_connection(("127.0.0.1", port), 10, ("127.0.0.10", 0)))
                for _ in range(most + 30)]  # fmt: skip
        for one in held:
            with suppress(ConnectionError):
                one.sendall(b"G")
        eventually(lambda: sum(map(ended, held)) >= 30)
        assert sum(map(ended, held)) == 30
        assert httpx.get(f"http://127.0.0.1:{port}/live").status_code == 200
    [available] = map(int, re.findall(r"worker_connections (\d+);", SETTINGS))
    assert 10 * 4 * most < available  # each is one of both servers', and of both with what is behind it


def test_callers_are_known_by_their_own_addresses(port: int):
    transport = httpx.HTTPTransport(local_address="127.0.0.11")
    with httpx.Client(transport=transport) as client:
        told = client.get(f"http://127.0.0.1:{port}/live", headers={"X-Forwarded-For": "8.8.8.8"}).json()
    assert told["headers"]["x-forwarded-for"] == "127.0.0.11"


def test_no_token_is_logged(port: int, folder: Path):
    transport = httpx.HTTPTransport(local_address="127.0.0.12")
    with httpx.Client(transport=transport) as client:
        answers = [client.get(f"http://127.0.0.1:{port}/preview?token=eyJsecret") for _ in range(300)]
    assert {answer.status_code for answer in answers} == {200, 429}
    logged = (folder / "requests").read_text()
    assert '"GET /preview" 200' in logged and '"GET /preview" 429' in logged
    assert "eyJsecret" not in logged + (folder / "errors").read_text()


def test_its_own_refusals_are_problems_that_pages_elsewhere_may_read(port: int):
    url = f"http://127.0.0.1:{port}/"
    with httpx.Client(transport=httpx.HTTPTransport(local_address="127.0.0.14")) as client:
        large = client.post(url, content=bytes(99_000_000))
        busy = next(one for _ in range(100) if (one := client.get(url)).status_code != 200)
    for answer, status, kind in ((large, 413, "payload-too-large"), (busy, 429, "busy")):
        assert (answer.status_code, answer.json()["status"], answer.json()["type"]) == (status, status, kind)
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert busy.headers["Retry-After"] == "10"


def test_a_disk_that_takes_no_body_is_told_as_busy(port: int, folder: Path):
    """A folder that is gone ends in nginx as a full disk does."""
    bodies, away = folder / "body", folder / "away"
    bodies.rename(away)
    try:
        with httpx.Client(transport=httpx.HTTPTransport(local_address="127.0.0.15")) as client:
            answer = client.post(f"http://127.0.0.1:{port}/", content=bytes(4_000_000))
    finally:
        away.rename(bodies)
    assert (answer.status_code, answer.json()["status"], answer.json()["type"]) == (503, 503, "busy")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Retry-After"] == "10"


def test_query_is_found_where_it_is_now(port: int, names: Names):
    """Made anew, it has another address, and maybe another container has its old one."""
    with httpx.Client(transport=httpx.HTTPTransport(local_address="127.0.0.13")) as client:

        def answers(status: int) -> bool:
            time.sleep(0.2)  # below the limit of requests
            return client.get(f"http://127.0.0.1:{port}/live").status_code == status

        assert answers(200)
        names.address = "127.0.0.2"  # where nobody is
        eventually(lambda: answers(502))
        names.address = "127.0.0.1"
        eventually(lambda: answers(200))


def test_addresses_reach_query_as_they_were_sent(port: int):
    with httpx.Client(transport=httpx.HTTPTransport(local_address="127.0.0.14")) as client:
        told = client.get(f"http://127.0.0.1:{port}/live/%2Fa%20b?c=%2F&d").json()
    assert told["path"] == "/live/%2Fa%20b?c=%2F&d"
