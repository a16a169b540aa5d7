"""Restoration: photographs in, without their noise and JPEG artifacts out, of the same size or 2 to 4 times larger."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
from torch import Tensor, lerp
from torch.nn import functional as F

from ..checkpoints.source import expect_name
from ..data.images.lossless import quality_of
from ..data.restoration.estimate import estimate
from ..errors import InputError
from ..inference.ensemble import check_ensemble
from ..models import list_models
from ..models.ffnet_sr import RESTORATION_SCALES
from ..models.tasks import RESTORATION
from ..zoo.weights import Weights, weights_for
from .image_to_image import ImageToImage, OnTile, Treatment
from .image_types import FULL, check_pixels
from .predictor import Network
from .restored import RestoredArray, RestoredImage, RestoredTensor
from .upscaler import Upscaler

Second = TypeVar("Second", bound=ImageToImage)

FARTHEST = 8
"""Largest absolute value in floating point: noise may leave [0, 1] by far; 255 is another scale."""


class Restorer(ImageToImage):
    """A restoration network: `Restorer.load()("photo.jpg")`, `Restorer.load("best.ckpt")(image)`.

    With the weights of the package it is two networks. At scale 1, gray images have one of their own; above, images
    that need less than a full restoration are also enlarged by an `Upscaler` for clean ones. The second network is
    loaded when the first such image comes. A single network of three channels takes gray as a color; one of a single
    channel restores each color by itself.
    """

    task = RESTORATION.name
    array, tensor, picture = RestoredArray, RestoredTensor, RestoredImage
    strength: float | None = None
    load_gray: Callable[[], Self] | None = None
    gray: Self | None = None
    load_clean: Callable[[], Upscaler] | None = None
    clean: Upscaler | None = None

    @classmethod
    def load(
        cls,
        source: str | Path | None = None,
        *,
        model: str | None = None,
        checkpoint: str | Path | None = None,
        scale: int | None = None,
        strength: float | None = None,
        **settings,
    ) -> Self:
        """`Predictor.load`; a network's name means its weights for `scale`.

        scale: how many times larger results are; None: the checkpoint's, or the smallest that there are weights for.
        strength: see `treatment`; settings: also `memory`, the limit in MiB of the network's largest tensors, which
        determines the tile size, and `ensemble`, 2, 4 or 8: the mean over as many mirrored and turned images, which
        takes as many times as long.
        """
        check_strength(strength)
        if scale is not None and scale not in RESTORATION_SCALES:
            raise InputError(f"scale {scale}, expected one of {', '.join(map(str, RESTORATION_SCALES))}")
        check_ensemble(settings.get("ensemble"))
        source = checkpoint if source is None else source
        if model is not None:
            expect_name(model, cls.task)
        if source is None and model not in (None, *list_models(cls.task)):
            source, model = model, None  # the name of weights
        settings["strength"] = strength
        if source is not None and source not in list_models(cls.task):
            return super().load(source, model=model, scale=scale, **settings)
        color, gray = found_weights(source or model, scale)
        restorer = super().load((color or gray).name, **settings)
        if color and gray:
            restorer.load_gray = partial(super().load, gray.name, **settings)
        if restorer.scale > 1:
            del settings["strength"]
            restorer.load_clean = partial(Upscaler.load, scale=restorer.scale, **settings)
        return restorer

    @classmethod
    def of(cls, network: Network, info: Mapping[str, Any], *, strength: float | None = None, **settings) -> Self:
        check_strength(strength)
        restorer = super().of(network, info, **settings)
        restorer.strength = strength
        return restorer

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "strength": "by an estimate" if self.strength is None else self.strength}

    def treatment(self, image: Any, *, strength: float | None = None, on_tile: OnTile | None = None) -> Treatment:
        """strength: 0 leaves an image unchanged (at a scale above 1: only enlarges it), 1 restores it fully.

        None: the one given to `load`, or by the estimate of noise and JPEG quality; 1 for a checkpoint of a scale above
        1, which has no upscaler beside it.
        """
        check_strength(strength)
        about: dict[str, Any] = {"scale": self.scale}
        wanted = self.strength if strength is None else strength

        def change(pixels: np.ndarray) -> np.ndarray:
            check_pixels(pixels, limit=FARTHEST)
            found = estimate(pixels, white=FULL.get(pixels.dtype.name, 1), quality=quality_of(image))
            own = found.strength if self.scale == 1 or self.load_clean else 1.0
            about.update(estimate=found, strength=own if wanted is None else float(wanted))
            return self.fitting(pixels.shape[2]).restore(pixels, about["strength"], on_tile=on_tile)

        return Treatment(change, about)

    def restore(self, pixels: np.ndarray, strength: float = 1.0, *, on_tile: OnTile | None = None) -> np.ndarray:
        """pixels: (H, W, 1) gray or (H, W, 3), uint8, uint16 or float -> (scale * H, scale * W, C), of the same type.

        on_tile: called after each tile with (tiles done, all tiles).
        """
        if strength == 0 and self.scale == 1:
            return pixels.copy()
        return self.in_tiles(pixels, partial(self.blended, strength=strength), on_tile)

    def blended(self, small: Tensor, *, strength: float) -> Tensor:
        """Between enlargements without restoration and the network's results, (B, C, scale * H, scale * W)."""
        if strength == 0:
            return self.enlarged(small)
        restored = self.predicted(small)
        return lerp(self.enlarged(small), restored, strength) if strength < 1 else restored

    def enlarged(self, small: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, scale * H, scale * W), not restored; by bicubic without an upscaler."""
        if self.scale == 1:
            return small
        if self.load_clean is None:
            return F.interpolate(small, scale_factor=self.scale, mode="bicubic", antialias=True)
        if self.clean is None:
            self.clean = self.beside(self.load_clean())
        return self.clean.predicted(small)

    def fitting(self, channels: int) -> "Restorer":
        """The restorer whose network fits images of this many channels best."""
        if channels == 1 and self.gray is None and self.load_gray is not None:
            self.gray = self.beside(self.load_gray())
        return self.gray if channels == 1 and self.gray is not None else self

    def beside(self, other: Second) -> Second:
        """A second predictor on this one's device."""
        if other.device != self.device:  # `to` would undo its backend
            other.to(str(self.device))
        return other


def check_strength(strength: float | None) -> None:
    """Raise InputError unless it is None or from 0 to 1."""
    if strength is not None and not (isinstance(strength, int | float | np.number) and 0 <= strength <= 1):
        raise InputError(f"strength {strength!r}, expected 0 to 1")


def found_weights(network: str | None, scale: int | None) -> tuple[Weights | None, Weights | None]:
    """The weights for color and for gray images, at least one of them; raises InputError if there are none.

    network: whose weights are preferred; those of another one serve a scale for which it has none. scale: None: the
    smallest that the network has weights for.
    """
    own = weights_for(RESTORATION.name, network=network)
    if not own:
        raise InputError(f"no weights for {RESTORATION.name} are packaged, expected --checkpoint FILE")
    scale = min(map(scale_of, own)) if scale is None else scale
    known = weights_for(RESTORATION.name)
    fitting = [weights for weights in (*own, *known) if scale_of(weights) == scale]
    if not fitting:
        scales = sorted(set(map(scale_of, known)))
        found = "scale 1 only" if scales == [1] else f"scales {', '.join(map(str, scales))}"
        raise InputError(
            f"scale {scale}: no weights are packaged, expected --checkpoint FILE; there are some for {found}"
        )
    color, gray = (next((each for each in fitting if each.arguments.get("in_chans", 3) == n), None) for n in (3, 1))
    return color, gray


def scale_of(weights: Weights) -> int:
    """How many times larger the results of its network are."""
    return weights.arguments.get("scale", 1)
