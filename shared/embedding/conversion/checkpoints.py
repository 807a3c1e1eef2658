"""Any dual encoder or vision backbone of a known family that transformers loads, by hub name or folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import AutoConfig, AutoModel

from shared.embedding import preprocessing, registry
from shared.embedding.conversion.checkpoint_images import read_image_input
from shared.embedding.conversion.checkpoint_texts import read_text_input
from shared.embedding.families import FAMILIES, Family, Pooling
from shared.embedding.model_config import ImageInput, ModelConfig, Resize
from shared.embedding.towers import Normalise, Source, unit
from shared.errors import ModelBroken, UnknownModel


def open_checkpoint(name: str) -> Source:
    """The checkpoint's towers; everything about them is read from its own configuration.

    UnknownModel where there is no such checkpoint; ModelBroken where it is incomplete or of no known family.
    """
    config = _config(name)
    family = _family(name, config.model_type)
    model = _model(name, family)
    how = read_image_input(name, family, config)
    image = _image_tower(model, family, how).eval()
    tokenizer, text_input = read_text_input(name, family.texts, config) if family.texts else (None, None)
    text = TextTower(model).eval() if family.texts else None
    record = ModelConfig(
        model=name,
        architecture=config.model_type,
        dimensions=_dimensions(name, image, text, how),
        image=how,
        text=text_input,
    )
    return Source(record=record, image=image, text=text, tokenizer=tokenizer and tokenizer.to_str())


class ProjectedImage(nn.Module):
    """A dual encoder's image features."""

    def __init__(self, model: nn.Module, how: ImageInput):
        super().__init__()
        self.model, self.normalise = model, Normalise(how)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        features = cast(Any, self.model).get_image_features(pixel_values=self.normalise(pixels))
        return unit(features.pooler_output)


class PatchImage(nn.Module):
    """A dual encoder's features of pictures that keep their aspect ratio, as patches (SigLIP 2, NaFlex).

    transformers resizes the position embeddings to each picture's grid one by one, which no graph can do.
    Resizing is linear, though: the matrix comes in with the picture, and the graph only multiplies.
    """

    def __init__(self, model: nn.Module, how: ImageInput):
        super().__init__()
        self.model, self.normalise = cast(Any, model), Normalise(how)
        self.model.vision_model.embeddings.resize_positional_embeddings = _resized

    def forward(self, patches: torch.Tensor, resizing: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        count, length, values = patches.shape
        pixels = self.normalise(patches.reshape(count, length, values // 3, 3))
        features = self.model.get_image_features(
            pixel_values=pixels.permute(0, 2, 3, 1).reshape(count, length, values),
            pixel_attention_mask=mask,
            spatial_shapes=resizing,
        )
        return unit(features.pooler_output)


def _resized(positions: torch.Tensor, resizing: torch.Tensor, max_length: int) -> torch.Tensor:
    return resizing.to(positions.dtype) @ positions.flatten(0, 1)


class ClassToken(nn.Module):
    """A vision backbone's class token after its last layer norm.

    Not `pooler_output`: for DINOv2 that is the same, and ViT classifiers come without the pooler's weights.
    """

    def __init__(self, model: nn.Module, how: ImageInput):
        super().__init__()
        self.model, self.normalise = model, Normalise(how)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return unit(self.model(pixel_values=self.normalise(pixels)).last_hidden_state[:, 0])


class TextTower(nn.Module):
    """A dual encoder's text features."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, ids: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        features = cast(Any, self.model).get_text_features(input_ids=ids, attention_mask=mask)
        return unit(features.pooler_output)


TOWERS: dict[Pooling, type[ProjectedImage] | type[ClassToken]] = {
    Pooling.projected: ProjectedImage,
    Pooling.class_token: ClassToken,
}


def _image_tower(model: nn.Module, family: Family, how: ImageInput) -> nn.Module:
    if how.resize == Resize.patches:
        return PatchImage(model, how)
    return TOWERS[Pooling(family.pooling)](model, how)


def _config(name: str) -> Any:
    try:
        return AutoConfig.from_pretrained(name, trust_remote_code=False)  # else transformers asks
    except (OSError, ValueError, KeyError) as error:
        if Path(name).is_dir():
            raise ModelBroken(f"{name!r} has no configuration that transformers knows: {error}") from error
        told = registry.described(name)
        reason = str(error).splitlines()[0].replace(name, told)
        raise UnknownModel(
            f"A checkpoint is neither in the hub's cache here nor can it be downloaded: {told}. {reason} "
            "Check the name and the network, or give a folder's path."
        ) from (error if told == repr(name) else None)


def _family(name: str, model_type: str) -> Family:
    if family := FAMILIES.get(model_type):
        return family
    raise ModelBroken(
        f"{name!r} is of the type {model_type!r}, which has no image tower that we know how to use. "
        f"Expected one of: {', '.join(FAMILIES)}."
    )


def _model(name: str, family: Family) -> nn.Module:
    options = {"add_pooling_layer": False} if family.has_pooler else {}
    try:
        model, found = AutoModel.from_pretrained(
            name, output_loading_info=True, dtype=torch.float32, trust_remote_code=False, **options
        )
    except Exception as error:  # safetensors, pickle and transformers each have their own for a broken file
        raise ModelBroken(
            f"The weights of {name!r} can't be loaded, as after a cut-off download: {error} Fetch them anew."
        ) from error
    if missing := sorted(found["missing_keys"]):
        raise ModelBroken(
            f"The weights of {name!r} are incomplete: {len(missing)} are missing, among them {missing[0]!r}. "
            "Fetch the checkpoint again."
        )
    return cast(nn.Module, model)


def _dimensions(name: str, image: nn.Module, text: nn.Module | None, how: ImageInput) -> int:
    pictures = preprocessing.batch(preprocessing.grey_pictures(1), how)
    try:
        with torch.inference_mode():
            dimensions = image(*(torch.from_numpy(array) for array in pictures)).shape[1]
            texts = text(torch.zeros((1, 1), dtype=torch.int64)).shape[1] if text else dimensions
    except (ValueError, RuntimeError) as error:
        raise ModelBroken(f"The preprocessing of {name!r} doesn't fit its image tower: {error}") from error
    if texts != dimensions:
        raise ModelBroken(f"{name!r} makes {dimensions} dimensions of images, but {texts} of texts.")
    return int(dimensions)
