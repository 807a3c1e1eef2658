"""`python -m local.child MODULE ARGUMENT…`: runs a module, and ends when the process that started it is gone.

The parent holds the other end of standard input and never writes. However the parent ends, even killed, that
pipe closes, so that no function and no gateway is left behind on its port.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time

GRACE = 5.0  # seconds to end in an orderly way


def main() -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    module, sys.argv = sys.argv[1], sys.argv[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _end_with_parent() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(1)


if __name__ == "__main__":
    main()
