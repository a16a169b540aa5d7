"""Pairs of a small and a large image: patches for training, whole images for measuring."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import lightning as L
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..decoding import decoding
from ..errors import InputError
from ..resizing import crop_to_multiple, imresize
from .images import images_below, read_image
from .loading import evaluation_loader, training_loader

GREY = ("1", "L", "LA", "I;16")
"""Pillow's modes of images without colour, which stay so in measuring."""


class ImagePairs(Dataset):
    """Whole images: (small (3, h, w) in [0, 1], large (C, H, W) uint8), C = 1 for a grey image and 3 else.

    large: folders of large images, searched with their subfolders. small: folder of the small ones, each named as its large one,
    whatever the suffix, or with `x2` (x3, x4) behind it; "": made from the large ones by MATLAB's bicubic.
    """

    def __init__(self, large: Sequence[str | Path], small: str | Path = "", *, scale: int):
        self.scale = scale
        self.files = [file for folder in large for file in images_below(folder)]
        self.small_files = find_small_files(small, self.files, scale=scale) if small else [None] * len(self.files)

    def __len__(self) -> int:
        return len(self.files)

    def pair(self, index: int, *, mode: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """small (h, w, C) and large (H, W, C), uint8, sides in the ratio of the scale; mode: Pillow's, None: grey or RGB as they are."""
        file, small_file = self.files[index], self.small_files[index]
        large = crop_to_multiple(read_pixels(file, mode=mode), self.scale)
        if min(large.shape[:2]) == 0:
            raise InputError(f"{file}: smaller than {self.scale} pixels, expected at least that for scale {self.scale}")
        if small_file is None:
            return imresize(large, 1 / self.scale), large
        small = read_pixels(small_file, mode="L" if large.shape[2] == 1 else "RGB")
        height, width = (side // self.scale for side in large.shape[:2])
        if small.shape[:2] != (height, width):
            raise InputError(
                f"{small_file}: {small.shape[1]}x{small.shape[0]} pixels, expected {width}x{height}, {file} divided by {self.scale}"
            )
        return small, large

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        small, large = self.pair(index)
        return as_tensor(small).expand(3, -1, -1).float() / 255, as_tensor(large)


class Patches(Dataset):
    """Random patches of the pairs, flipped and turned: (small (3, p / scale, p / scale), large (3, p, p)), both in [0, 1].

    count: patches in an epoch; size: p, of the large patch; keep_decoded: hold every image in memory as uint8 from its first use on.
    An image smaller than a patch is continued by its mirror image.
    """

    def __init__(self, pairs: ImagePairs, *, count: int, size: int, keep_decoded: bool = True):
        self.pairs = pairs
        self.count = count
        self.size = size
        self.keep_decoded = keep_decoded
        self.decoded: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        small, large = self._pair(index % len(self.pairs))
        scale, side = self.pairs.scale, self.size // self.pairs.scale
        top, left = (int(torch.randint(length - side + 1, ())) for length in small.shape[:2])
        small = small[top : top + side, left : left + side]
        large = large[top * scale : (top + side) * scale, left * scale : (left + side) * scale]
        quarter_turns, flip = int(torch.randint(4, ())), int(torch.randint(2, ()))
        return tuple(as_tensor(np.rot90(patch[:, :: 1 - 2 * flip], quarter_turns)).float() / 255 for patch in (small, large))

    def _pair(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        if index not in self.decoded:
            small, large = self.pairs.pair(index, mode="RGB")
            pair = mirrored_up_to(small, self.size // self.pairs.scale), mirrored_up_to(large, self.size)
            if not self.keep_decoded:
                return pair
            self.decoded[index] = pair
        return self.decoded[index]


class SuperResolutionData(L.LightningDataModule):
    """Images for training and measuring super-resolution.

    Args:
        root: folder of the data sets, below which the others lie.
        scale: how many times larger the large images are; must be the task's.
        train, val: folders of large images; test: the same, empty for those of `val`.
        train_small, val_small, test_small: folders of small images beside them; "": made by MATLAB's bicubic.
        patch_size: side of a large patch in pixels; a multiple of the scale.
        batch_size: patches in a batch, in each process.
        patches_per_epoch: as many as an epoch shall have; images take turns.
        keep_decoded: hold training images decoded in memory, so that no processor starves; False for sets larger than it.
        seed: of shuffling and cropping.
    """

    def __init__(
        self,
        root: str = ".",
        *,
        scale: int = 2,
        train: Sequence[str] = (),
        val: Sequence[str] = (),
        test: Sequence[str] = (),
        train_small: str = "",
        val_small: str = "",
        test_small: str = "",
        patch_size: int = 192,
        batch_size: int = 16,
        patches_per_epoch: int = 16000,
        num_workers: int = 0,
        keep_decoded: bool = True,
        seed: int = 0,
    ):
        super().__init__()
        if patch_size < scale or patch_size % scale:
            raise InputError(f"patch_size {patch_size}, expected a multiple of the scale, {scale}")
        self.root = Path(root)
        self.scale = scale
        self.folders = {"train": (train, train_small), "val": (val, val_small), "test": (test or val, test_small if test else val_small)}
        self.patch_size = patch_size
        self.batch_size = batch_size
        self.patches_per_epoch = patches_per_epoch
        self.num_workers = num_workers
        self.keep_decoded = keep_decoded
        self.seed = seed

    def pairs(self, split: str) -> ImagePairs:
        """The whole images of "train", "val" or "test"; raises InputError where none are named or found."""
        large, small = self.folders[split]
        if not large:
            raise InputError(f"data.{split} is empty, expected folders of images")
        return ImagePairs([self.root / folder for folder in large], self.root / small if small else "", scale=self.scale)

    @cached_property
    def patches(self) -> Patches:
        """The training patches."""
        return Patches(self.pairs("train"), count=self.patches_per_epoch, size=self.patch_size, keep_decoded=self.keep_decoded)

    def train_dataloader(self) -> DataLoader:
        return training_loader(
            self.patches,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            seed=self.seed,
            trainer=self.trainer,
        )

    def val_dataloader(self) -> DataLoader:
        return evaluation_loader(self.pairs("val"), batch_size=1, num_workers=0)

    def test_dataloader(self) -> DataLoader:
        return evaluation_loader(self.pairs("test"), batch_size=1, num_workers=0)


def find_small_files(folder: str | Path, large: Sequence[Path], *, scale: int) -> list[Path]:
    """The small image of each large one, NAMEx2.png or NAME.png; raises InputError where one is missing."""
    by_stem = {file.stem: file for file in images_below(folder)}
    found = [by_stem.get(f"{file.stem}x{scale}", by_stem.get(file.stem)) for file in large]
    if None in found:
        file = large[found.index(None)]
        raise InputError(f"{file}: no small image of it in {folder}, expected {file.stem}x{scale}{file.suffix} or {file.name}")
    return found


def read_pixels(file: Path, *, mode: str | None = None) -> np.ndarray:
    """An image file as (H, W, C) uint8; C = 1 for a grey one unless `mode` (Pillow's) says otherwise."""
    if mode is None:
        with decoding(file), Image.open(file) as image:
            mode = "L" if image.mode in GREY else "RGB"
    pixels = np.asarray(read_image(file, mode=mode, name=str(file)))
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def mirrored_up_to(pixels: np.ndarray, side: int) -> np.ndarray:
    """(H, W, C), continued by its mirror image where a side is shorter than that."""
    missing = [(0, max(side - length, 0)) for length in pixels.shape[:2]]
    return np.pad(pixels, (*missing, (0, 0)), mode="symmetric")


def as_tensor(pixels: np.ndarray) -> Tensor:
    """(H, W, C) -> (C, H, W)."""
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())
