"""A checkpoint's own image processor, as the few numbers that our preprocessing follows."""

from __future__ import annotations

from typing import Any, cast

from transformers import AutoImageProcessor
from transformers.image_processing_base import ImageProcessingMixin

from shared.embedding.families import Family
from shared.embedding.model_config import ImageInput, Resize
from shared.errors import ModelBroken


def read_image_input(name: str, family: Family, config: Any) -> ImageInput:
    """By the checkpoint's preprocessor_config.json. ModelBroken, naming it, for an unknown mode."""
    settings = _settings(name, family)
    for step in ("do_resize", "do_rescale"):
        if not settings.get(step):
            raise _refused(name, settings, f"{step} is {settings.get(step)!r}, expected true")
    return ImageInput(
        **_geometry(name, settings, config),
        **_scale(settings),
        resample=int(settings["resample"]),
        pooling=family.pooling,
    )


def _settings(name: str, family: Family) -> dict[str, Any]:
    try:
        if family.images:
            own, _ = ImageProcessingMixin.get_image_processor_dict(name)
            return dict(family.images) | {key: value for key, value in own.items() if value is not None}
        # Pillow's resizing rather than torchvision's: it is ours, and it needs no torchvision.
        processor = cast(Any, AutoImageProcessor).from_pretrained(
            name, backend="pil", trust_remote_code=False
        )
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelBroken(f"{name!r} has no image processor that transformers knows: {error}") from error
    return dict(processor.to_dict())


def _geometry(name: str, settings: dict[str, Any], config: Any) -> dict[str, Any]:
    if settings.get("max_num_patches"):
        return _patches(settings, config)
    size, crop = settings.get("size") or {}, settings.get("crop_size") or {}
    if settings.get("do_pad"):
        raise _refused(name, settings, "do_pad is true, expected pictures that fill the frame")
    if set(size) == {"shortest_edge"} and settings.get("do_center_crop"):
        edge, cut = size["shortest_edge"], (crop["height"], crop["width"])
        if max(cut) > edge:
            raise _refused(name, settings, f"crop_size {crop!r} is larger than size {size!r}")
        return {"resize": Resize.shortest, "size": cut, "edge": edge}
    if set(size) == {"height", "width"} and not settings.get("do_center_crop"):
        return {"resize": Resize.stretch, "size": (size["height"], size["width"]), "edge": 0}
    raise _refused(name, settings, f"size is {size!r} with do_center_crop {settings.get('do_center_crop')!r}")


def _patches(settings: dict[str, Any], config: Any) -> dict[str, Any]:
    patch, count = settings["patch_size"], settings["max_num_patches"]
    grid = int(config.vision_config.num_patches**0.5)
    side = patch * int(count**0.5)
    return {
        "resize": Resize.patches,
        "size": (side, side),
        "edge": 0,
        "patch": patch,
        "max_patches": count,
        "grid": grid,
    }


def _scale(settings: dict[str, Any]) -> dict[str, Any]:
    # (pixel * factor - mean) / std, with the factor moved over to mean and std: they are on pixels' scale.
    factor = settings["rescale_factor"]
    normalise = settings.get("do_normalize")
    mean = settings["image_mean"] if normalise else (0.0, 0.0, 0.0)
    std = settings["image_std"] if normalise else (1.0, 1.0, 1.0)
    return {"mean": tuple(value / factor for value in mean), "std": tuple(value / factor for value in std)}


def _refused(name: str, settings: dict[str, Any], reason: str) -> ModelBroken:
    kind = settings.get("image_processor_type")
    return ModelBroken(
        f"{name!r} prepares images in a way that isn't supported ({kind}: {reason}). Supported are resizing "
        "to a fixed size, resizing the shorter side with a centre crop, and SigLIP 2's patches."
    )
