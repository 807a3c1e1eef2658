"""A model's name and the settings to an embedder, converting the model first where that is needed."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

from tokenizers import Tokenizer

from shared import errors, settings
from shared.embedding import artifacts, precision_check, registry
from shared.embedding.artifacts import Artifact
from shared.embedding.embedder import Embedder, Engine
from shared.embedding.model_config import ModelConfig
from shared.errors import ModelBroken, SettingsError, UnknownModel
from shared.settings import Settings


def load(
    model: str | None = None, *, configuration: Settings | None = None, precision: str | None = None
) -> Embedder:
    """The model (the first of EMBEDDING_MODELS by default), ready to embed on this machine.

    `precision` is f32, bf16 or int8 where the openvino engine should have another than the settings say.
    """
    configuration = configuration or settings.load()
    name = model or configuration.embedding_models[0]
    if _engine_of(name, configuration) == "torch":
        return _load_torch(name, configuration)
    if configuration.embedding_precision != "auto":
        precision = precision or configuration.embedding_precision
    return _load_openvino(name, configuration, precision)


def prepare(model: str | None = None, *, configuration: Settings | None = None) -> bool:
    """Convert the model for the CPU, in a process of its own. False where there was nothing to do.

    SettingsError where it is to be served in 8 bits, which aren't made by the way.
    """
    configuration = configuration or settings.load()
    name = model or configuration.embedding_models[0]
    if _engine_of(name, configuration) == "torch":
        return False
    found = artifacts.find(name, configuration.embedding_cache)
    artifact = found or _converted(name, configuration.embedding_cache)
    if configuration.embedding_precision == "int8":
        artifacts.need_quantised(artifact)
    return found is None


def engine_name(configuration: Settings) -> str:
    """The engine that these settings mean on this machine: torch on a GPU, openvino on a CPU."""
    engine, device = configuration.embedding_engine, configuration.embedding_device
    if engine == "openvino" and device == "cuda":
        raise SettingsError(
            "EMBEDDING_ENGINE=openvino runs on the CPU. Set EMBEDDING_DEVICE=cpu or EMBEDDING_ENGINE=torch."
        )
    if engine == "auto":
        engine = "torch" if device == "cuda" or (device == "auto" and _has_gpu()) else "openvino"
    if engine == "torch" and configuration.embedding_precision == "int8":
        raise SettingsError(
            "EMBEDDING_PRECISION=int8 is for the openvino engine, and these settings mean torch. "
            "Set EMBEDDING_ENGINE=openvino and EMBEDDING_DEVICE=cpu, or EMBEDDING_PRECISION=auto."
        )
    return engine


def _engine_of(name: str, configuration: Settings) -> str:
    """As `engine_name`; for an exported model, which is no torch module, always openvino."""
    engine = engine_name(configuration)
    if engine == "openvino" or not registry.is_exported(name):
        return engine
    if configuration.embedding_engine == "torch" or configuration.embedding_device == "cuda":
        raise SettingsError(
            f"{name!r} is an exported model, which OpenVINO runs on the CPU. "
            "Set EMBEDDING_ENGINE=openvino and EMBEDDING_DEVICE=cpu."
        )
    return "openvino"


def _has_gpu() -> bool:
    # Asking torch takes its import, seconds and 200 MB, so the driver's file is looked at first.
    if not Path("/dev/nvidiactl").exists() or importlib.util.find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()


def _load_openvino(name: str, configuration: Settings, precision: str | None) -> Embedder:
    artifact = _converted(name, configuration.embedding_cache)
    from shared.embedding import openvino_precision  # 50 MB that the torch engine doesn't need
    from shared.embedding.engines.openvino_engine import OpenVinoEngine

    tokenizer = artifacts.tokenizer(artifact)
    if precision in (None, "int8"):
        native = openvino_precision.trusted_native(artifact, tokenizer)
        engine = OpenVinoEngine(artifact, precision or native, native)
    else:
        engine = OpenVinoEngine(artifact, precision)
    return _embedder(artifact.record, engine, tokenizer, configuration)


def _load_torch(name: str, configuration: Settings) -> Embedder:
    registry.check(name)
    if importlib.util.find_spec("torch") is None:
        raise SettingsError(
            "These settings mean the torch engine, and torch isn't installed here. Install "
            "neural-search[torch], or set EMBEDDING_ENGINE=openvino and EMBEDDING_DEVICE=cpu."
        )
    # Seconds and hundreds of megabytes, which the openvino engine does without.
    from shared.embedding.conversion.opening import open_source
    from shared.embedding.engines.torch_engine import TorchEngine, choose_device

    device = choose_device(configuration.embedding_device)
    source = open_source(name)
    tokenizer = Tokenizer.from_str(source.tokenizer) if source.tokenizer else None
    engine = TorchEngine(source, device)
    if engine.precision != "f32":
        exact = TorchEngine(source, device, "f32")
        verdict = precision_check.compare(engine, exact, source.record, tokenizer)
        if not precision_check.accepted(verdict, engine.precision, name):
            engine = exact
    return _embedder(source.record, engine, tokenizer, configuration)


def _embedder(
    record: ModelConfig, engine: Engine, tokenizer: Tokenizer | None, configuration: Settings
) -> Embedder:
    return Embedder(
        record,
        engine,
        tokenizer,
        max_image_bytes=configuration.max_image_bytes,
        max_image_pixels=configuration.max_image_pixels,
    )


def _converted(name: str, cache: Path) -> Artifact:
    if artifact := artifacts.find(name, cache):
        return artifact
    _check_converter(name, cache)
    with artifacts.lock(name, cache):
        if artifacts.find(name, cache) is None:  # it may have appeared while another process held the lock
            artifacts.sweep(name, cache)
            _convert(name, cache)
    if artifact := artifacts.find(name, cache):
        return artifact
    raise ModelBroken(f"The conversion of {name!r} was removed while it was being loaded. Start again.")


def _check_converter(name: str, cache: Path) -> None:
    if registry.is_exported(name):
        return
    if importlib.util.find_spec("torch"):
        registry.check(name)
        if registry.fingerprint(name):
            return
    there = ", ".join(artifacts.converted(cache)) or "none"
    raise UnknownModel(
        f"A model isn't converted in {str(cache)!r} (there: {there}): {registry.described(name)}. What "
        "converting it takes isn't installed here. Install neural-search[torch], or build the container with "
        "this model."
    )


def _convert(name: str, cache: Path) -> None:
    converter = "import_exported" if registry.is_exported(name) else "convert"
    process = subprocess.run(
        [sys.executable, "-m", f"shared.embedding.conversion.{converter}", name],
        env=settings.child_environment({"EMBEDDING_CACHE": str(cache)}),
        stdin=subprocess.DEVNULL,  # nobody would see what it asks
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode:
        raise _conversion_error(name, process)


def _conversion_error(name: str, process: subprocess.CompletedProcess[str]) -> errors.NeuralSearchError:
    try:
        report = json.loads(process.stdout.strip().splitlines()[-1])
        error: errors.NeuralSearchError = getattr(errors, report["class"])(report["message"], value=name)
        return error
    except (ValueError, IndexError, KeyError, TypeError, AttributeError):
        if process.returncode < 0:
            return ModelBroken(
                f"Converting {name!r} for the CPU was ended by signal {-process.returncode}. It takes "
                "several times the memory of the weights; give it more, or convert elsewhere.",
                value=name,
            )
        reason = process.stderr.strip().splitlines()[-1:] or [f"exit status {process.returncode}"]
        return ModelBroken(f"The model {name!r} can't be converted for the CPU: {reason[0]}", value=name)
