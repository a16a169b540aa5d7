"""Super-resolution: images in, images of 2 to 4 times the size out, tile by tile in bounded memory."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ..checkpoints.published_info import expect_model
from ..checkpoints.source import weights_name
from ..data.given import each_of
from ..data.images.given import name_of, named_pictures
from ..data.images.lossless import PictureFile, read_picture
from ..data.images.transparency import extend_color
from ..errors import InputError
from ..inference.tiles import split, tile_side
from ..models import create_model, list_models
from ..models.ffnet_sr import SCALES, receptive_field
from ..models.tasks import SUPER_RESOLUTION
from ..ops.fusion import fuse
from ..system.allocator import keep_freed_memory
from .predictor import Network, Predictor
from .upscaled import UpscaledArray, UpscaledImage, UpscaledTensor

FULL = {"uint8": 255, "uint16": 65535}
"""The value of white in integer types; in floating point it is 1."""

COLOUR_MODES = ("L", "RGB", "I;16")
"""Pillow's modes that the network upscales directly; LA and RGBA are one of them plus alpha."""

EXAMPLE_SIDE = 256
"""Side of the tile on which deploy forms are built and timed."""


class Upscaler(Predictor):
    """An upscaling network: `Upscaler("ffnet_sr_nano", scale=2)(image)` or `Upscaler.load("best.ckpt")(image)`.

    Args:
        model: a network's name; its own weights are used unless `checkpoint` is given.
        scale: upscaling factor; None: the checkpoint's, or 2.
        checkpoint: a checkpoint of a training run, an exported file or a published checkpoint.
        memory: limit in MiB of the network's largest tensors, which determines the tile size.
        backend, precision, device: see `load`.
    """

    task = SUPER_RESOLUTION.name
    memory_format = torch.channels_last

    def __init__(
        self,
        model: str | None = None,
        scale: int | None = None,
        *,
        checkpoint: str | Path | None = None,
        memory: int = 256,
        backend: str | None = None,
        precision: str = "fp32",
        device: str = "cpu",
    ):
        place = {"device": device, "backend": backend, "precision": precision}
        vars(self).update(vars(self.load(checkpoint, model=model, scale=scale, memory=memory, **place)))

    @classmethod
    def load(
        cls,
        source: str | Path | None = None,
        *,
        model: str | None = None,
        checkpoint: str | Path | None = None,
        scale: int | None = None,
        **settings,
    ) -> Self:
        """`Predictor.load`; a name means its weights for `scale`; settings: also `memory`."""
        if scale is not None and scale not in SCALES:
            raise InputError(f"scale {scale}, expected one of {', '.join(map(str, SCALES))}")
        source = checkpoint if source is None else source
        if model is not None:
            expect_model(model, cls.task)
        if source is None or source in list_models(cls.task):
            source = weights_name(source or model, cls.task, scale=scale)
            model = None
        return super().load(source, model=model, scale=scale, **settings)

    @classmethod
    def of(cls, network: Network, info: Mapping[str, Any], *, scale: int | None = None, memory: int = 256) -> Self:
        found = network.scale if isinstance(network, nn.Module) else info["model_args"].get("scale")
        if scale not in (None, found):
            raise InputError(f"a checkpoint of scale {found}, expected {scale}")
        keep_freed_memory()
        upscaler = cls.__new__(cls)  # __init__ would load a network
        upscaler.hold(network)
        module = upscaler.network if isinstance(network, nn.Module) else _layers_of(info)
        upscaler.scale = module.scale
        upscaler.margin = receptive_field(module)
        upscaler.tile = tile_side(module, memory, margin=upscaler.margin)
        return upscaler

    def example(self) -> Tensor:
        """Noise of at most the size of a tile."""
        side = min(self.tile + 2 * self.margin, EXAMPLE_SIDE)
        return torch.rand(1, 3, side, side)

    def inputs(self, given: Any) -> Any | list[Any]:
        if isinstance(given, Image.Image | np.ndarray | Tensor):
            return given
        if isinstance(given, str | os.PathLike):
            return named_pictures(given)
        return each_of(given, self.inputs, what="image", expected="a path, a URL, a Pillow image, an array or a tensor")

    def result(self, image: Any) -> UpscaledImage | UpscaledArray | UpscaledTensor | Tensor:
        """The enlarged image, of the same type as the input.

        image: a path; a Pillow image (modes L, LA, RGB, RGBA, I;16); an array (H, W), (H, W, 1) or (H, W, 3), uint8,
        uint16 or float in [0, 1]; or a tensor (3, H, W) or (B, 3, H, W) of one of these types.
        """
        if isinstance(image, Image.Image):
            return UpscaledImage.of(self.enlarge_picture(image), scale=self.scale, source=name_of(image))
        if isinstance(image, Tensor):
            enlarged = self._enlarge_tensor(image)
            return enlarged if image.ndim == 4 else UpscaledTensor.holding(enlarged, scale=self.scale, source="image")
        if isinstance(image, np.ndarray):
            pixels = self.enlarge(image[:, :, None])[:, :, 0] if image.ndim == 2 else self.enlarge(image)
            return UpscaledArray.holding(pixels, scale=self.scale, source="image")
        file = self.enlarge_file(read_picture(Path(image)))
        return UpscaledImage.of_file(file, scale=self.scale, source=str(image))

    def _enlarge_tensor(self, image: Tensor) -> Tensor:
        if not image.numel():
            raise InputError(f"tensor of shape {list(image.shape)}, expected pixels in it")
        if image.dtype == torch.bfloat16:  # which NumPy doesn't support
            return self._enlarge_tensor(image.float()).to(image.dtype)
        if image.ndim == 4:
            return torch.stack([self._enlarge_tensor(single) for single in image])
        if image.ndim != 3:
            raise InputError(
                f"tensor of shape {list(image.shape)}, expected (3, height, width) or (batch, 3, height, width)"
            )
        pixels = self.enlarge(image.detach().cpu().permute(1, 2, 0).numpy())
        return torch.from_numpy(pixels).permute(2, 0, 1).contiguous().to(image.device)

    def enlarge_file(self, file: PictureFile, *, on_tile: Callable[[int, int], object] | None = None) -> PictureFile:
        """Upscale a file's pixels and transparency; everything else is unchanged. on_tile: as in `enlarge`."""
        if file.alpha is None:
            return file.with_pixels(self.enlarge(file.colour, on_tile=on_tile), None)
        colour = extend_color(file.colour, file.alpha)
        return file.with_pixels(self.enlarge(colour, on_tile=on_tile), enlarge_alpha(file.alpha, self.scale))

    def enlarge_picture(
        self, image: Image.Image, *, on_tile: Callable[[int, int], object] | None = None
    ) -> Image.Image:
        """Upscale a Pillow image of one of the modes above, its alpha by bicubic. on_tile: as in `enlarge`."""
        if image.mode in ("LA", "RGBA"):
            pixels = np.asarray(image)
            alpha = pixels[:, :, -1]
            extended = extend_color(pixels[:, :, :-1], alpha)
            opaque = Image.fromarray(extended[:, :, 0] if extended.shape[2] == 1 else extended)
            colour = self.enlarge_picture(opaque, on_tile=on_tile)
            colour.putalpha(Image.fromarray(enlarge_alpha(alpha, self.scale)))
            return colour
        if image.mode not in COLOUR_MODES:
            raise InputError(f"image mode {image.mode!r}, expected L, LA, RGB, RGBA or I;16")
        pixels = np.asarray(image)
        enlarged = self.enlarge(pixels.reshape(*pixels.shape[:2], -1), on_tile=on_tile)
        return Image.fromarray(enlarged[:, :, 0] if enlarged.shape[2] == 1 else enlarged)

    @torch.inference_mode()
    def enlarge(self, pixels: np.ndarray, *, on_tile: Callable[[int, int], object] | None = None) -> np.ndarray:
        """pixels: (H, W, 1) gray or (H, W, 3), uint8, uint16 or float -> (scale * H, scale * W, C), of the same type.

        on_tile: called after each tile with (tiles done, all tiles).
        """
        check_pixels(pixels)
        height, width, channels = pixels.shape
        result = np.empty((height * self.scale, width * self.scale, channels), pixels.dtype)
        tiles = list(split(height, width, side=self.tile, margin=self.margin))
        for done, tile in enumerate(tiles, start=1):
            small = as_network_input(pixels[tile.seen]).to(self.device)
            with self.computing():
                large = self.run(small)[0].cpu().float()
            if channels == 1:
                large = large.mean(dim=0, keepdim=True)
            result[tile.written(self.scale)] = as_pixels(large[(slice(None), *tile.kept(self.scale))], pixels.dtype)
            if on_tile:
                on_tile(done, len(tiles))
        return result


def _layers_of(info: Mapping[str, Any]) -> nn.Module:
    """The layers of an exported network, without weights."""
    with torch.device("meta"):
        return fuse(create_model(info["model"], **info["model_args"]))


def check_pixels(pixels: np.ndarray) -> None:
    """Raise InputError unless the array is a valid image."""
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or 0 in pixels.shape:
        raise InputError(f"image of shape {list(pixels.shape)}, expected (height, width, 1 or 3) with pixels in it")
    if str(pixels.dtype) not in FULL and not np.issubdtype(pixels.dtype, np.floating):
        raise InputError(f"image of type {pixels.dtype}, expected uint8, uint16 or floating point")
    if np.issubdtype(pixels.dtype, np.floating):
        if not np.isfinite(pixels).all():
            raise InputError("image with NaN or infinite values, expected values in [0, 1]")
        if np.abs(pixels).max() > 2:  # outputs of a network may slightly exceed 1; 255 is another scale
            raise InputError(f"image with values from {pixels.min():g} to {pixels.max():g}, expected values in [0, 1]")


def as_network_input(pixels: np.ndarray) -> Tensor:
    """(H, W, 1 or 3) -> (1, 3, H, W) float32, white = 1."""
    image = torch.from_numpy(pixels.astype(np.float32) / FULL.get(str(pixels.dtype), 1)).permute(2, 0, 1)
    return image.expand(3, -1, -1)[None].contiguous(memory_format=torch.channels_last)


def as_pixels(image: Tensor, dtype: np.dtype) -> np.ndarray:
    """(C, H, W), white = 1 -> (H, W, C) of `dtype`; integers are rounded and clipped, floating point isn't."""
    pixels = image.permute(1, 2, 0).numpy()
    full = FULL.get(str(dtype))
    return (pixels * full).round().clip(0, full).astype(dtype) if full else pixels.astype(dtype)


def enlarge_alpha(alpha: np.ndarray, scale: int) -> np.ndarray:
    """alpha: (H, W) uint8 or uint16 -> (scale * H, scale * W), by bicubic: the network isn't trained on alpha."""
    height, width = alpha.shape
    smooth = Image.fromarray(alpha.astype(np.float32)).resize((width * scale, height * scale), Image.Resampling.BICUBIC)
    return np.asarray(smooth).round().clip(0, FULL[str(alpha.dtype)]).astype(alpha.dtype)
