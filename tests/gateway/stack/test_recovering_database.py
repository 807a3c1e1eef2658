"""A gateway that starts while Postgres recovers from a crash waits for it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from pathlib import Path

from local.postgres import SOCKET
from shared.settings import CHECKOUT

FIELDS = b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0"
STARTING_UP = b"E" + (len(FIELDS) + 4).to_bytes(4, "big") + FIELDS


def test_a_database_that_recovers_is_waited_for_and_one_that_is_away_is_not(tmp_path: Path) -> None:
    asked = []

    def recover(listener: socket.socket) -> None:
        with listener:
            for number in range(3):
                connection, _ = listener.accept()
                with connection:
                    connection.recv(4096)
                    asked.append(number)
                    connection.sendall(STARTING_UP)

    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / SOCKET))
    listener.listen()
    threading.Thread(target=recover, args=(listener,), daemon=True).start()
    url = f"postgresql://postgres@/postgres?host={tmp_path}"
    told = tmp_path / "gateway.json"
    told.write_text(json.dumps({"socket": 9, "data": str(tmp_path), "database_url": url, "functions": {}}))
    ended = subprocess.run(
        [sys.executable, "-m", "local.gateway", told],
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        timeout=60,
    )
    assert ended.returncode == 1
    assert "The database can't be reached" in ended.stderr
    assert asked == [0, 1, 2]
