"""Where the embedded stack listens: on this machine alone, and its functions where no web page finds them."""

from __future__ import annotations

import json
import sys
from ipaddress import ip_address

import psutil
import pytest

from local.stack import INFO_FILE, Stack


def listening(stack: Stack) -> dict[str, set[str]]:
    """The addresses of each process, those of its own processes too."""
    processes = json.loads((stack.settings.local_data / INFO_FILE).read_text())["processes"]
    return {
        name: {
            connection.laddr.ip
            for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        for name, pid in processes.items()
    }


def test_nobody_else_reaches_the_stack(embedded_stack: Stack) -> None:
    found = listening(embedded_stack)
    assert found["gateway"] == {"127.0.0.1"}
    assert all(addresses for addresses in found.values())
    assert all(ip_address(one).is_loopback for addresses in found.values() for one in addresses)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have one loopback address")
def test_no_web_page_guesses_where_the_functions_are(embedded_stack: Stack) -> None:
    """They answer pages of any origin; only the gateway before them refuses those of elsewhere."""
    found = listening(embedded_stack)
    addresses = [one for name in ("query", "embed_on_upload") for one in found[name]]
    assert len(addresses) == 2 and len({"127.0.0.1", *addresses}) == 3
