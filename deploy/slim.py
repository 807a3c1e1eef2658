"""`slim.py FOLDER`: remove from a folder of installed packages the files that serving on a CPU never touches.

Half of OpenVINO is for other processors and for reading other formats than its own. A pattern that finds
nothing fails the build: a new version may have moved files that the image would then carry again.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

UNUSED = (
    "openvino/libs/libopenvino_intel_gpu_plugin.so",
    "openvino/libs/libopenvino_intel_npu_plugin.so",
    "openvino/libs/cache.json",  # the GPU plugin's tuning
    "openvino/libs/libopenvino_[!i]*_frontend.so*",  # all but `ir`, OpenVINO's own format
    "openvino/frontend/*/",
    "openvino/include",
    "openvino/cmake",
    "openvino/torch",
    "openvino/tools",  # conversion; OpenVINO itself does without
    "openvino_telemetry*",  # only `tools` uses it
    "numpy/**/tests",
)


def remove_unused(packages: Path) -> int:
    """The bytes that were freed."""
    freed = 0
    for pattern in UNUSED:
        found = [path for path in packages.glob(pattern) if path.name != "__pycache__"]
        if not found:
            sys.exit(f"{packages} has no {pattern}. Look where it went, and correct {Path(__file__).name}.")
        for path in found:
            freed += _remove(path)
    return freed


def _remove(path: Path) -> int:
    if path.is_file():
        size = path.stat().st_size
        path.unlink()
        return size
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    shutil.rmtree(path)
    return size


if __name__ == "__main__":
    print(f"{remove_unused(Path(sys.argv[1])) / 1e6:.0f} MB removed")
