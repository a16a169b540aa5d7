"""The base of the predictors from images to images: tile by tile in bounded memory, the type of the input kept."""

import os
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from ..data.given import each_of
from ..data.images.given import name_of, named_pictures
from ..data.images.lossless import read_picture
from ..deployment.runtime import Runtime
from ..errors import InputError
from ..inference.ensemble import ENSEMBLES, mean_over_symmetries
from ..inference.tiles import Tile, split, split_fixed, tile_side
from ..models import create_model
from ..models.receptive_field import channels_per_pixel, receptive_field
from ..ops.fusion import fuse
from ..system.allocator import keep_freed_memory
from .image_results import ImageArray, ImageTensor, PillowImage
from .image_types import (
    Change,
    as_network_input,
    as_pixels,
    changed_array,
    changed_file,
    changed_picture,
    changed_tensor,
)
from .predictor import Network, Predictor

EXAMPLE_SIDE = 256
"""Side of the tile on which deploy forms are built and timed."""

LEAST_SIDE = 16
"""Smaller images are extended to these sides; the networks, trained on larger ones, would change their color."""

OnTile = Callable[[int, int], object]
"""Called after each tile with (tiles done, all tiles)."""


@dataclass(frozen=True)
class Treatment:
    """change: what happens to an image's pixels; about: what its result says of it, complete after the change."""

    change: Change
    about: dict[str, Any]


class ImageToImage(Predictor):
    """An FFNet-SR network; subclasses define the treatment of an image.

    scale: how many times larger results are; channels: of the network's images; patch: side of the squares of pixels
    that the network takes as one; margin: pixels around a tile that change its result; tile: side of a tile; fixed:
    height and width of all inputs of a file exported with one size, else None; ensemble: see `mean_over_symmetries`.
    """

    memory_format = torch.channels_last
    array: ClassVar[type[ImageArray]]
    tensor: ClassVar[type[ImageTensor]]
    picture: ClassVar[type[PillowImage]]

    def __init__(self, network: Network, info: Mapping[str, Any], *, memory: int = 256, ensemble: int | None = None):
        keep_freed_memory()
        super().__init__(network)
        self.info = info
        module = self.network if isinstance(self.network, nn.Module) else layers_of(info)
        self.scale, self.channels, self.patch = module.scale, module.in_chans, module.patch
        self.ensemble = 1 if ensemble is None else ensemble
        self.margin = receptive_field(module)
        self.tile = tile_side(channels_per_pixel(module), memory, margin=self.margin)
        self.fixed = fixed_size(network, self.ensemble)

    @classmethod
    def of(
        cls,
        network: Network,
        info: Mapping[str, Any],
        *,
        scale: int | None = None,
        memory: int = 256,
        ensemble: int | None = None,
    ) -> Self:
        found = network.scale if isinstance(network, nn.Module) else info["model_args"].get("scale")
        if scale not in (None, found):
            raise InputError(f"a checkpoint of scale {found}, expected {scale}")
        return cls(network, info=info, memory=memory, ensemble=ensemble)

    def settings(self) -> dict[str, Any]:
        return {"scale": self.scale, **({"ensemble": self.ensemble} if self.ensemble > 1 else {})}

    def example(self) -> Tensor:
        """Noise of at most the size of a tile."""
        side = min(self.tile + 2 * self.margin, EXAMPLE_SIDE) // self.patch * self.patch
        return torch.rand(1, self.channels, side, side)

    def inputs(self, given: Any) -> Any | list[Any]:
        if isinstance(given, Image.Image | np.ndarray | Tensor):
            return given
        if isinstance(given, str | os.PathLike):
            return named_pictures(given)
        return each_of(given, self.inputs, what="image", expected="a path, a URL, a Pillow image, an array or a tensor")

    @abstractmethod
    def treatment(self, image: Any, *, on_tile: OnTile | None = None, **options) -> Treatment:
        """The treatment of an image, or of a `PictureFile`."""

    def result(self, image: Any, **options) -> Any:
        """The result, of the same type as the input; options: of the treatment.

        image: a path; a Pillow image (modes L, LA, RGB, RGBA, I;16); an array (H, W), (H, W, 1) or (H, W, 3), uint8,
        uint16 or float in [0, 1]; or a tensor (3, H, W) or (B, 3, H, W) of one of these types. Arrays and tensors may
        have an alpha channel more, which is resized.
        """
        if isinstance(image, Tensor) and image.ndim == 4 and len(image):
            return torch.stack([self.result(single, **options).plain() for single in image])
        if not isinstance(image, Image.Image | Tensor | np.ndarray):
            file = read_picture(Path(image))
            treatment = self.treatment(file, **options)
            changed = changed_file(file, treatment.change, scale=self.scale)
            return self.picture.of_file(changed, source=str(image), **treatment.about)
        treatment = self.treatment(image, **options)
        if isinstance(image, Image.Image):
            changed = changed_picture(image, treatment.change, scale=self.scale)
            return self.picture.of(changed, source=name_of(image), **treatment.about)
        if isinstance(image, Tensor):
            changed = changed_tensor(image, treatment.change, scale=self.scale)
            return self.tensor.holding(changed, source="image", **treatment.about)
        changed = changed_array(image, treatment.change, scale=self.scale)
        return self.array.holding(changed, source="image", **treatment.about)

    @torch.inference_mode()
    def in_tiles(self, pixels: np.ndarray, predict: Callable[[Tensor], Tensor], on_tile: OnTile | None) -> np.ndarray:
        """pixels: (H, W, 1) gray or (H, W, 3), uint8, uint16 or float -> (scale * H, scale * W, C), of the same type.

        predict: `predicted`, or a function of it.
        """
        small = pixels.shape
        least = self.fixed or (LEAST_SIDE, LEAST_SIDE)
        missing = [(0, max(side - own, 0)) for side, own in zip(least, small[:2], strict=True)]
        pixels = np.pad(pixels, [*missing, (0, 0)], mode="edge")
        height, width, channels = pixels.shape
        result = np.empty((height * self.scale, width * self.scale, channels), pixels.dtype)
        tiles = self._tiles(height, width)
        for done, tile in enumerate(tiles, start=1):
            large = predict(as_network_input(pixels[tile.seen], self.channels).to(self.device)).cpu().flatten(0, 1)
            if channels == 1:
                large = large.mean(dim=0, keepdim=True)
            result[tile.written(self.scale)] = as_pixels(large[(slice(None), *tile.kept(self.scale))], pixels.dtype)
            if on_tile:
                on_tile(done, len(tiles))
        return result[: small[0] * self.scale, : small[1] * self.scale]

    def _tiles(self, height: int, width: int) -> list[Tile]:
        how = {"margin": self.margin, "multiple": self.patch}
        if self.fixed:
            return list(split_fixed(height, width, size=self.fixed, **how))
        return list(split(height, width, side=self.tile, **how))

    def predicted(self, small: Tensor) -> Tensor:
        """(B, channels, H, W) of any size -> (B, channels, scale * H, scale * W) float32."""
        height, width = small.shape[2:]
        missing = (0, -width % self.patch, 0, -height % self.patch)
        whole = F.pad(small, missing, mode="replicate") if any(missing) else small
        large = mean_over_symmetries(self._computed, whole, self.ensemble)
        return large[:, :, : height * self.scale, : width * self.scale]

    def _computed(self, whole: Tensor) -> Tensor:
        with self.computing():
            return self.run(whole.contiguous(memory_format=self.memory_format)).float()


def layers_of(info: Mapping[str, Any]) -> nn.Module:
    """The layers of an exported network, without weights."""
    with torch.device("meta"):
        return fuse(create_model(info["model"], **info["model_args"]))


def fixed_size(network: Network, ensemble: int) -> tuple[int, int] | None:
    """The height and width of all inputs of a file exported with one size; None for other networks.

    Raises InputError for sides that differ where the ensemble turns images by 90 degrees.
    """
    sides = network.shape[2:] if isinstance(network, Runtime) else ()
    height, width = sides if len(sides) == 2 else (None, None)
    if height is None or width is None:
        return None
    if ensemble == max(ENSEMBLES) and height != width:
        raise InputError(f"exported for {width} x {height} pixels, expected a square for ensemble {ensemble}")
    return height, width
