"""Resizing and augmentation of images with a label per pixel, as in the paper."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as nn_functional
from torchvision.transforms.v2 import RandomPhotometricDistort
from torchvision.transforms.v2 import functional as F

from ...errors import above_zero, expect_room, from_zero_to_one, rising
from ..chance import happens, uniform
from ..preprocessing import Normalisation
from .label_maps import IGNORED_PIXEL


@dataclass(frozen=True)
class SegmentationPreprocessing(Normalisation):
    """The input format of a segmentation network, and its sliding window.

    short_side, long_side: the image is resized so that its shorter side has `short_side` pixels, or its longer side
    `long_side` if that makes it smaller; None: not resized.
    window, stride: side and stride in pixels of the sliding window; None: the whole image at once.
    """

    short_side: int | None = None
    long_side: int = 2048
    window: int | None = None
    stride: int | None = None

    def __post_init__(self):
        super().__post_init__()
        for name in ("short_side", "long_side", "window", "stride"):
            if getattr(self, name) is not None:
                above_zero(f"preprocessing.{name}", getattr(self, name))
        if self.short_side is not None:
            expect_room("preprocessing.short_side and long_side", (3, self.short_side, self.long_side))

    def size(self, height: int, width: int, *, scale: float = 1.0) -> tuple[int, int]:
        """Height and width of the resized image."""
        factor = scale
        if self.short_side is not None:
            factor *= min(self.long_side / max(height, width), self.short_side / min(height, width))
        return max(round(height * factor), 1), max(round(width * factor), 1)

    def resize(self, image: Tensor, *, scale: float = 1.0) -> Tensor:
        """(3, H, W) uint8 -> (3, H', W') uint8."""
        size = self.size(*image.shape[1:], scale=scale)
        return image if size == tuple(image.shape[1:]) else F.resize(image, list(size), antialias=False)

    def __call__(self, image: Tensor, *, scale: float = 1.0) -> Tensor:
        """(3, H, W) uint8 -> (3, H', W'), resized and normalized."""
        return self.normalise(self.resize(image, scale=scale))


@dataclass(frozen=True)
class SegmentationAugmentation:
    """Random changes of training images; the defaults are the paper's for ADE20K.

    crop: height and width in pixels of the training crop; scale: range of factors relative to the preprocessing's size;
    category_limit: a crop is drawn again, up to ten times, if one class covers a larger fraction of it; hflip:
    probability; photometric: probability of each change of brightness, contrast, saturation and hue.
    """

    crop: tuple[int, int] = (512, 512)
    scale: tuple[float, float] = (0.5, 2.0)
    category_limit: float = 0.75
    hflip: float = 0.5
    photometric: float = 0.5

    def __post_init__(self):
        above_zero("augmentation.crop", *self.crop)
        above_zero("augmentation.scale", *self.scale)
        rising("augmentation.scale", self.scale)
        for name in ("category_limit", "hflip", "photometric"):
            from_zero_to_one(f"augmentation.{name}", getattr(self, name))

    def __call__(
        self, image: Tensor, labels: Tensor, preprocessing: SegmentationPreprocessing
    ) -> tuple[Tensor, Tensor]:
        """image: (3, H, W) uint8; labels: (H, W) uint8 -> (3, *crop) float, (*crop) int64."""
        low, high = self.scale
        factor = low + (high - low) * torch.rand(()).item()
        full = preprocessing.size(*image.shape[1:], scale=factor)
        box = self.choose_box(labels, full)
        # Only the region of the crop is resized, not the whole image.
        target = [min(side, crop) for side, crop in zip(full, self.crop, strict=True)]
        image = F.resize(F.crop(image, *box), target, antialias=False)
        labels = F.resize(F.crop(labels[None], *box), target, F.InterpolationMode.NEAREST)[0]
        if happens(self.hflip):
            image, labels = image.flip(2), labels.flip(1)
        if self.photometric > 0:
            image = PhotometricDistortion(brightness=(0.875, 1.125), hue=(-0.05, 0.05), p=self.photometric)(image)
        padding = (0, self.crop[1] - target[1], 0, self.crop[0] - target[0])
        return (
            nn_functional.pad(preprocessing.normalise(image), padding),
            nn_functional.pad(labels, padding, value=IGNORED_PIXEL).long(),
        )

    def choose_box(self, labels: Tensor, full: tuple[int, int]) -> tuple[int, int, int, int]:
        """Draw a crop, preferably of several classes, of an image resized to `full`.

        Returns top, left, height and width in `labels`.
        """
        sides = [
            max(min(round(crop * side / resized), side), 1)
            for crop, side, resized in zip(self.crop, labels.shape, full, strict=True)
        ]
        for _ in range(10):
            top, left = (uniform(0, whole - side) for whole, side in zip(labels.shape, sides, strict=True))
            counts = (
                labels[top : top + sides[0], left : left + sides[1]].flatten().bincount(minlength=256)[:IGNORED_PIXEL]
            )
            if (counts > 0).sum() > 1 and counts.max() < self.category_limit * counts.sum():
                break
        return top, left, sides[0], sides[1]


class PhotometricDistortion(RandomPhotometricDistort):
    """SSD's photometric distortion, as in the published configuration, without its channel permutation."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {**super().make_params(flat_inputs), "channel_permutation": None}
