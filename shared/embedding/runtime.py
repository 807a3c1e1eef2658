"""OpenVINO itself, imported in this one place."""

from __future__ import annotations

import importlib
import sys
from typing import Any, cast

# OpenVINO's converter reports its use over the network and never asks. Now the reporter can't be imported,
# which OpenVINO takes as "not installed"; it was also a quarter of the import's time.
cast(dict[str, Any], sys.modules).setdefault("openvino_telemetry", None)

ov: Any = importlib.import_module("openvino")
