"""From an image to a tensor: the one description that training, evaluation, prediction and checkpoints share."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Self

import torch
from PIL import Image
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, create_transform
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from ..errors import MOST_VALUES, InputError, at_least, expect_room
from ..system.metadata import STRICT, all_finite, read_as

LARGEST_SIDE = 16_384
"""Pixels on a side of what a network sees."""

Transform = Callable[[Image.Image], Tensor]


@dataclass(frozen=True)
class Kept:
    """A dataclass of plain values that checkpoints store."""

    __pydantic_config__ = STRICT

    def as_dict(self) -> dict:
        """Plain values, as a checkpoint stores them."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict) -> Self:
        """The inverse of `as_dict`; raises InputError that names the key and the value."""
        return read_as(cls, values, "preprocessing")


def expect_statistics(mean: Sequence[float], std: Sequence[float], channels: Sequence[int]) -> None:
    """Raise InputError unless mean and std have one value per channel. channels: the allowed numbers of channels."""
    if len(mean) not in channels or len(std) != len(mean):
        raise InputError(
            f"preprocessing.mean of {len(mean)} and std of {len(std)} values, expected "
            f"{' or '.join(map(str, channels))} of each"
        )
    if not all(value > 0 for value in std):
        raise InputError(f"preprocessing.std {list(std)}, expected values above 0")
    if not all_finite(*mean, *std):
        raise InputError(f"preprocessing.mean {list(mean)}, std {list(std)}, expected finite numbers")


@dataclass(frozen=True)
class Normalisation(Kept):
    """mean, std: per channel, of values in [0, 1]."""

    mean: tuple[float, float, float] = IMAGENET_DEFAULT_MEAN
    std: tuple[float, float, float] = IMAGENET_DEFAULT_STD

    def __post_init__(self):
        expect_statistics(self.mean, self.std, (3,))

    def normalise(self, image: Tensor) -> Tensor:
        """(3, H, W) uint8 -> float."""
        return F.normalize(F.to_dtype(image, torch.float32, scale=True), list(self.mean), list(self.std))


@dataclass(frozen=True)
class Preprocessing(Kept):
    """The input format of a network.

    Args:
        size: side of the square image in pixels.
        crop_pct: fraction of the resized image that the center crop keeps.
        interpolation: one of Pillow's, such as bicubic or bilinear.
        mean: per channel, of values in [0, 1].
        std: per channel, of values in [0, 1].
    """

    size: int = 256
    crop_pct: float = 0.9
    interpolation: str = "bicubic"
    mean: tuple[float, ...] = IMAGENET_DEFAULT_MEAN
    std: tuple[float, ...] = IMAGENET_DEFAULT_STD

    def __post_init__(self):
        names = [kind.name.lower() for kind in Image.Resampling]
        if self.interpolation not in names:
            raise InputError(f"preprocessing.interpolation {self.interpolation!r}, expected one of {', '.join(names)}")
        expect_statistics(self.mean, self.std, (1, 3))
        at_least("preprocessing.size", self.size, 1)
        if not 0 < self.crop_pct <= 100:
            raise InputError(f"preprocessing.crop_pct {self.crop_pct}, expected more than 0")
        if self.size > LARGEST_SIDE:
            raise InputError(f"preprocessing.size {self.size}, expected at most {LARGEST_SIDE} pixels")
        resized = max(self.size, round(min(self.size / self.crop_pct, MOST_VALUES)))  # before its center is cropped
        expect_room("preprocessing.size and crop_pct", (self.in_chans, resized, resized))

    @property
    def in_chans(self) -> int:
        """The number of channels."""
        return len(self.mean)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the tensor."""
        return self.in_chans, self.size, self.size

    @property
    def mode(self) -> str:
        """Pillow's mode for this number of channels."""
        return "L" if self.in_chans == 1 else "RGB"

    def transform(self) -> Transform:
        """Resize, center crop, normalize: Pillow image -> (C, size, size)."""
        return create_transform(input_size=self.shape, **self._shared())

    def training_transform(self, augmentation: "Augmentation") -> Transform:
        """The same with augmentation: Pillow image -> (C, size, size)."""
        try:
            return create_transform(
                input_size=self.shape,
                is_training=True,
                scale=augmentation.scale,
                ratio=augmentation.ratio,
                hflip=augmentation.hflip,
                color_jitter=augmentation.color_jitter,
                auto_augment=augmentation.auto_augment,
                re_prob=augmentation.random_erasing,
                re_mode="pixel",
                **self._shared(),
            )
        except AssertionError as error:  # raised by timm for an unknown policy
            raise InputError(f"augmentation.auto_augment {augmentation.auto_augment!r}: {error}") from None

    def _shared(self) -> dict:
        return {"interpolation": self.interpolation, "mean": self.mean, "std": self.std, "crop_pct": self.crop_pct}


@dataclass(frozen=True)
class Augmentation:
    """Random changes of training images; the defaults are the paper's.

    Args:
        scale: area of the random crop as a fraction of the image's.
        ratio: aspect ratio of the random crop.
        hflip: probability of a horizontal flip.
        color_jitter: strength of the color jitter.
        auto_augment: timm's policy string; none for no policy.
        random_erasing: probability of random erasing.
    """

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    hflip: float = 0.5
    color_jitter: float = 0.4
    auto_augment: str | None = "rand-m9-mstd0.5-inc1"
    random_erasing: float = 0.25

    def __post_init__(self):
        for name in ("hflip", "random_erasing"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"augmentation.{name} {getattr(self, name)}, expected a probability")
        for name in ("scale", "ratio"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise InputError(
                    f"augmentation.{name} {low}, {high}, expected two numbers above 0, the smaller one first"
                )
        at_least("augmentation.color_jitter", self.color_jitter, 0)


def without_normalization(preprocessing: Preprocessing) -> Preprocessing:
    """The same preprocessing up to values in [0, 1], the input of an exported file."""
    return replace(preprocessing, mean=(0.0,) * preprocessing.in_chans, std=(1.0,) * preprocessing.in_chans)
