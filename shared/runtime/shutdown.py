"""The end of this process, announced by SIGTERM."""

from __future__ import annotations

import threading

requested = threading.Event()  # set by the server; leases are given back then
