"""Pairs of a degraded and a clean image: patches for training, whole images for evaluation."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ...errors import InputError
from ..images.reading import images_below
from ..loading import Loading, read_ahead
from ..module import DataModule
from ..super_resolution.pairs import as_tensor, expect_measurable, expect_patches, mirrored_up_to, read_pixels
from ..super_resolution.resizing import crop_to_multiple
from .degradation import DEGRADATIONS, Degradation

BLOCK = 8
"""Side of JPEG's blocks; a patch may begin anywhere in one."""

LUMA = np.float32([[0.299], [0.587], [0.114]])
"""Weights of red, green and blue in gray."""

MODES = {1: "L", 3: "RGB"}
"""Pillow's mode by the number of channels."""


class DegradedPatches(Dataset):
    """Random patches, flipped, rotated and degraded: (degraded (C, p / scale, p / scale), clean (C, p, p)).

    files: clean images. count: patches per epoch; size: p, the side of a clean patch; gray: the fraction of the patches
    that are gray, in all channels alike. Images are kept decoded.
    """

    def __init__(
        self,
        files: Sequence[Path],
        degradation: Degradation,
        *,
        scale: int,
        channels: int,
        count: int,
        size: int,
        gray: float = 0.0,
    ):
        self.files, self.degradation = files, degradation
        self.scale, self.channels, self.count, self.size, self.gray = scale, channels, count, size, gray
        self.decoded: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        random = np.random.default_rng(int(torch.randint(2**62, ())))
        clean = self._image(index % len(self.files))
        outer = self.size + BLOCK * self.scale
        top, left = (int(random.integers(length - outer + 1)) for length in clean.shape[:2])
        clean = turned(clean[top : top + outer, left : left + outer], random).astype(np.float32) / 255
        if self.gray and random.random() < self.gray:
            clean = clean @ LUMA
        degraded = self.degradation(clean, scale=self.scale, random=random)
        degraded, clean = (np.broadcast_to(each, (*each.shape[:2], self.channels)) for each in (degraded, clean))
        top, left = (int(random.integers(BLOCK)) for _ in range(2))
        side = self.size // self.scale
        clean = clean[top * self.scale :, left * self.scale :][: self.size, : self.size]
        return as_tensor(degraded[top : top + side, left : left + side]), as_tensor(clean)

    def read_ahead(self, *, threads: int) -> None:
        """Decode all images."""
        read_ahead(self._image, len(self.files), threads=threads)

    def _image(self, index: int) -> np.ndarray:
        if index not in self.decoded:
            pixels = read_pixels(self.files[index], mode=MODES[self.channels])
            self.decoded[index] = mirrored_up_to(pixels, self.size + BLOCK * self.scale)
        return self.decoded[index]


class DegradedImages(Dataset):
    """Whole images in each of several degradations: (degraded (C, h, w) in about [0, 1], clean (C, H, W) uint8).

    The chance in a pair depends on its index alone. multiple: the degraded sides are multiples of it.
    """

    def __init__(
        self, files: Sequence[Path], degradations: Sequence[Degradation], *, scale: int, channels: int, multiple: int
    ):
        self.files, self.degradations = files, degradations
        self.scale, self.channels, self.multiple = scale, channels, multiple

    def __len__(self) -> int:
        return len(self.files) * len(self.degradations)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        degradation = self.degradations[index // len(self.files)]
        file = self.files[index % len(self.files)]
        pixels, multiple = read_pixels(file, mode=MODES[self.channels]), self.scale * self.multiple
        expect_measurable(pixels, file, self.scale, multiple=multiple)
        clean = crop_to_multiple(pixels, multiple)
        random = np.random.default_rng(index)
        degraded = degradation(clean.astype(np.float32) / 255, scale=self.scale, random=random)
        return as_tensor(degraded), as_tensor(clean)


class RestorationData(DataModule):
    """Clean images, degraded on the fly, for training and evaluating restoration.

    Args:
        root: folder that the other paths are relative to.
        scale: how many times smaller the degraded images are; must be the task's.
        channels: 3 for color, 1 for gray; must be the task's.
        train, val, test: folders of clean images; test: by default those of `val`.
        degradation: of training, a name of `DEGRADATIONS`.
        val_degradations, test_degradations: names; each validation image is measured in all of them.
        patch_size: side of a clean patch in pixels; a multiple of the scale.
        batch_size: patches per batch and process.
        patches_per_epoch: number of patches in an epoch, spread evenly over the images.
        gray: fraction of the training patches that are gray, for networks of three channels.
        seed: of shuffling, cropping and degrading.
    """

    multiple = 2
    """Evaluated images are cropped to even sides, as for networks at half the resolution."""

    def __init__(
        self,
        root: str = ".",
        *,
        scale: int = 1,
        channels: int = 3,
        train: Sequence[str] = (),
        val: Sequence[str] = (),
        test: Sequence[str] = (),
        degradation: str = "noise_and_jpeg",
        val_degradations: Sequence[str] = ("noise_25", "jpeg_20"),
        test_degradations: Sequence[str] = (),
        patch_size: int = 64,
        batch_size: int = 16,
        patches_per_epoch: int = 16000,
        gray: float = 0.0,
        num_workers: int = 0,
        seed: int = 0,
    ):
        super().__init__(Loading(batch_size, num_workers, seed, evaluation_batch_size=1, evaluation_workers=0))
        if channels not in MODES:
            raise InputError(f"channels {channels}, expected 1 or 3")
        if not 0 <= gray <= (channels == 3):
            raise InputError(
                f"data.gray {gray} with channels {channels}, expected {'0 to 1' if channels == 3 else '0'}"
            )
        expect_patches(scale, patch_size, patches_per_epoch)
        if not val_degradations:
            raise InputError("data.val_degradations is empty, expected names of degradations")
        self.root, self.scale, self.channels = Path(root), scale, channels
        self.folders = {"train": train, "val": val, "test": test or val}
        self.degradation = find_degradation("degradation", degradation)
        self.evaluated = {
            "val": [find_degradation("val_degradations", name) for name in val_degradations],
            "test": [find_degradation("test_degradations", name) for name in test_degradations or val_degradations],
        }
        self.patch_size, self.patches_per_epoch, self.gray = patch_size, patches_per_epoch, gray

    def files(self, split: str) -> list[Path]:
        """The clean images of "train", "val" or "test"; raises InputError if none are given or found."""
        if not self.folders[split]:
            raise InputError(f"data.{split} is empty, expected folders of images")
        return [file for folder in self.folders[split] for file in images_below(self.root / folder)]

    @cached_property
    def patches(self) -> DegradedPatches:
        """The training patches."""
        return DegradedPatches(
            self.files("train"),
            self.degradation,
            scale=self.scale,
            channels=self.channels,
            count=self.patches_per_epoch,
            size=self.patch_size,
            gray=self.gray,
        )

    def training_dataset(self) -> DegradedPatches:
        return self.patches

    def evaluation_dataset(self, split: str) -> DegradedImages:
        """The whole images of a split, each in all degradations."""
        sides = {"scale": self.scale, "channels": self.channels, "multiple": self.multiple}
        return DegradedImages(self.files(split), self.evaluated[split], **sides)


def turned(pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(H, W, C), flipped and rotated by quarter turns at random."""
    quarter_turns, flip = random.integers(4), random.integers(2)
    return np.rot90(pixels[:, :: 1 - 2 * flip], quarter_turns)


def find_degradation(option: str, name: str) -> Degradation:
    """A degradation by name; raises InputError for an unknown one."""
    if name not in DEGRADATIONS:
        raise InputError(f"data.{option} {name!r}, expected one of {', '.join(DEGRADATIONS)}")
    return DEGRADATIONS[name]
