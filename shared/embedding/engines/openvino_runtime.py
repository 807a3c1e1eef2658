"""OpenVINO itself, imported in this one place, and its errors in short."""

from __future__ import annotations

import importlib
import sys
from typing import Any, cast

import numpy as np

# OpenVINO's converter reports its use over the network and never asks. Now the reporter can't be imported,
# which OpenVINO takes as "not installed"; it was also a quarter of the import's time.
cast(dict[str, Any], sys.modules).setdefault("openvino_telemetry", None)

ov: Any = importlib.import_module("openvino")

# OpenVINO's Python side fills its tables of element types when they are first asked for, as function-local
# statics of C++, and gives up the GIL while it does. A second thread that asks meanwhile waits for the static
# with the GIL, the first for the GIL with the static, both for ever. So they are filled here, where the lock
# of the import lets nobody else in. Making a tensor fills one table, looking at its numbers the other.
_ = ov.Tensor(np.zeros(1, np.uint8)).data


def reason(error: RuntimeError) -> str:
    """The last line: those before name places in OpenVINO's own source."""
    return str(error).strip().rpartition("\n")[2]
