"""Graphs to code for this processor, kept on disk beside the graph so that the next process starts faster."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

from shared.embedding import artifacts
from shared.embedding.engines.openvino_runtime import ov, reason
from shared.errors import ModelBroken


@cache
def core() -> Any:
    """The process's one runtime. Made on first use: it starts threads, which a later fork would lose."""
    return ov.Core()


@cache
def native_precision() -> str:
    """bf16 where the processor computes in it, else f32."""
    return "bf16" if "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32"


def compiled_graph(graph: Path, config: dict[str, Any]) -> Any:
    """The graph, ready to run. ModelBroken where OpenVINO can't read it."""
    try:
        return _compile(graph, config)
    except RuntimeError as error:
        raise ModelBroken(
            f"OpenVINO can't load {str(graph)!r}: {reason(error)} "
            "Remove its folder and start again, and it will be converted anew."
        ) from error


def _compile(graph: Path, config: dict[str, Any]) -> Any:
    folder = graph.parent / "compiled"
    if not os.access(graph.parent, os.W_OK):
        return core().compile_model(graph, "CPU", config | _sealed(folder))
    with artifacts.locked(folder):
        # OpenVINO notices a cut-off file, another version and another processor, but not a changed weight.
        for name in artifacts.altered(folder):
            (folder / name).unlink(missing_ok=True)
        compiled = core().compile_model(graph, "CPU", config | _cached(folder))
        if artifacts.altered(folder):
            for path in folder.glob("*.blob"):
                path.chmod(0o644)  # OpenVINO's 0440 would lock out a function that runs as another user
            artifacts.seal(folder)
        return compiled


def _cached(folder: Path) -> dict[str, Any]:
    # Without a second copy of the weights, which are in the graph's own file: 2 MB instead of 56.
    return {"CACHE_DIR": folder, "CACHE_MODE": "OPTIMIZE_SIZE"}


def _sealed(folder: Path) -> dict[str, Any]:
    # In a container, code compiled while it was built can be read, though not repaired or added to.
    return _cached(folder) if folder.is_dir() and not artifacts.altered(folder) else {}
