"""The functions' log: one JSON object per line on stderr."""

from __future__ import annotations

import json
import sys
import time
import traceback
from contextlib import suppress
from typing import Any


def write(event: str, *, severity: str = "INFO", error: BaseException | None = None, **fields: Any) -> None:
    """One line. `error` adds its class and message, and its traceback where nobody expected it (ERROR)."""
    line = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "severity": severity, "event": event}
    if error is not None:
        fields |= {"error_class": type(error).__name__, "error_message": str(error)}
    if error is not None and severity == "ERROR":
        fields["traceback"] = "".join(traceback.format_exception(error))
    with suppress(OSError):  # a full disk, or nobody who reads: no reason to fail
        sys.stderr.write(json.dumps(line | fields, default=str) + "\n")
        sys.stderr.flush()
