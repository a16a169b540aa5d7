"""Pairs of a small and a large image: patches for training, whole images for evaluation."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from ...errors import InputError, at_least
from ..images.decoding import decoding
from ..images.reading import images_below, is_grey, read_image
from ..loading import Loading, read_ahead
from ..module import DataModule
from .quality import least_side
from .resizing import crop_to_multiple, imresize


class ImagePairs(Dataset):
    """Whole images: (small (3, h, w) in [0, 1], large (C, H, W) uint8), C = 1 for a gray image, else 3.

    large: folders of large images, searched recursively. small: folder of the small ones, named like the large ones,
    with any suffix and optionally `x2` (x3, x4) appended, in the same subfolder or with a unique name; "": made from
    the large ones by MATLAB's bicubic.
    """

    def __init__(self, large: Sequence[str | Path], small: str | Path = "", *, scale: int):
        self.scale = scale
        places = [(folder, file) for folder in large for file in images_below(folder)]
        self.files = [file for _, file in places]
        self.small_files = find_small_files(small, places, scale=scale) if small else [None] * len(self.files)

    def __len__(self) -> int:
        return len(self.files)

    def pair(self, index: int, *, mode: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """small (h, w, C) and large (H, W, C), uint8, in the ratio of the scale; mode: Pillow's, None: the file's."""
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
                f"{small_file}: {small.shape[1]}x{small.shape[0]} pixels, expected {width}x{height}, {file} "
                f"divided by {self.scale}"
            )
        return small, large

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        small, large = self.pair(index)
        expect_measurable(large, self.files[index], self.scale)
        return as_tensor(small).expand(3, -1, -1).float() / 255, as_tensor(large)


class Patches(Dataset):
    """Random patches of the pairs, flipped and rotated: (small (3, p / scale, p / scale), large (3, p, p)) in [0, 1].

    count: patches per epoch; size: p, the side of the large patch; keep_decoded: cache decoded images as uint8, on
    first use or by `read_ahead`. Images smaller than a patch are padded by reflection.
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

        def turned(patch: np.ndarray) -> Tensor:
            return as_tensor(np.rot90(patch[:, :: 1 - 2 * flip], quarter_turns)).float() / 255

        return turned(small), turned(large)

    def read_ahead(self, *, threads: int) -> None:
        """Fill the cache of decoded images."""
        if self.keep_decoded:
            read_ahead(self._pair, len(self.pairs), threads=threads)

    def _pair(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        if index not in self.decoded:
            small, large = self.pairs.pair(index, mode="RGB")
            pair = mirrored_up_to(small, self.size // self.pairs.scale), mirrored_up_to(large, self.size)
            if not self.keep_decoded:
                return pair
            self.decoded[index] = pair
        return self.decoded[index]


class SuperResolutionData(DataModule):
    """Images for training and evaluating super-resolution.

    Args:
        root: folder that the other paths are relative to.
        scale: upscaling factor; must be the task's.
        train, val: folders of large images; test: the same, by default those of `val`.
        train_small, val_small, test_small: folders of the small images; "": made by MATLAB's bicubic.
        patch_size: side of a large patch in pixels; a multiple of the scale.
        batch_size: patches per batch and process.
        patches_per_epoch: number of patches in an epoch, spread evenly over the images.
        keep_decoded: cache decoded training images; with workers all are decoded before the first step, and shared
            between forked processes (Linux). False for data sets larger than memory.
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
        super().__init__(Loading(batch_size, num_workers, seed, evaluation_batch_size=1, evaluation_workers=0))
        expect_patches(scale, patch_size, patches_per_epoch)
        self.root = Path(root)
        self.scale = scale
        self.folders = {
            "train": (train, train_small),
            "val": (val, val_small),
            "test": (test or val, test_small if test else val_small),
        }
        self.patch_size = patch_size
        self.patches_per_epoch = patches_per_epoch
        self.keep_decoded = keep_decoded

    def pairs(self, split: str) -> ImagePairs:
        """The whole images of "train", "val" or "test"; raises InputError if none are given or found."""
        large, small = self.folders[split]
        if not large:
            raise InputError(f"data.{split} is empty, expected folders of images")
        return ImagePairs(
            [self.root / folder for folder in large], self.root / small if small else "", scale=self.scale
        )

    @cached_property
    def patches(self) -> Patches:
        """The training patches."""
        return Patches(
            self.pairs("train"), count=self.patches_per_epoch, size=self.patch_size, keep_decoded=self.keep_decoded
        )

    def training_dataset(self) -> Patches:
        return self.patches

    def evaluation_dataset(self, split: str) -> ImagePairs:
        """The whole images of a split."""
        return self.pairs(split)


def expect_patches(scale: int, patch_size: int, patches_per_epoch: int) -> None:
    """Raise InputError for settings of which no patches can be made."""
    at_least("scale", scale, 1)
    at_least("patches_per_epoch", patches_per_epoch, 1)
    if patch_size < scale or patch_size % scale:
        raise InputError(f"patch_size {patch_size}, expected a multiple of the scale, {scale}")


def expect_measurable(image: np.ndarray, file: Path, scale: int, *, multiple: int = 1) -> None:
    """Raise InputError that names the file if its image, (H, W, C), is too small for the metrics.

    multiple: to which its sides will be cropped.
    """
    height, width = image.shape[:2]
    least = -(-least_side(scale) // multiple) * multiple
    if min(height, width) < least:
        raise InputError(f"{file}: {width}x{height} pixels, expected at least {least} a side for SSIM at x{scale}")


def find_small_files(folder: str | Path, large: Sequence[tuple[str | Path, Path]], *, scale: int) -> list[Path]:
    """The small image of each large one: NAMEx2.png or NAME.png in the same subfolder, or anywhere in `folder`.

    large: (folder, file) pairs. Raises InputError for a missing, ambiguous or shared small image.
    """
    by_place: dict[Path, list[Path]] = {}
    by_name: dict[str, list[Path]] = {}
    for file in images_below(folder):
        place = file.relative_to(folder).with_suffix("")
        by_place.setdefault(place, []).append(file)
        by_name.setdefault(place.name, []).append(file)
    owners: dict[Path, Path] = {}
    for root, file in large:
        names = (f"{file.stem}x{scale}", file.stem)
        near = [by_place.get(file.relative_to(root).with_name(name), []) for name in names]
        found = next(filter(None, [*near, *(by_name.get(name, []) for name in names)]), [])
        if not found:
            raise InputError(f"{file}: no small image in {folder}, expected {names[0]}{file.suffix} or {file.name}")
        if len(found) > 1:
            raise InputError(
                f"{file}: its small image may be {found[0]} or {found[1]}, expected one, or the subfolders of {root}"
            )
        if owners.setdefault(found[0], file) != file:
            raise InputError(f"{found[0]}: the small image of {owners[found[0]]} and of {file}, expected one for each")
    small = {file: found for found, file in owners.items()}
    return [small[file] for _, file in large]


def read_pixels(file: Path, *, mode: str | None = None) -> np.ndarray:
    """Read an image file as (H, W, C) uint8; mode: Pillow's, None: gray (C = 1) or RGB like the file."""
    if mode is None:
        with decoding(file), Image.open(file) as image:
            mode = "L" if is_grey(image.mode) else "RGB"
    # As stored: only one image of a pair may have kept its EXIF orientation.
    pixels = np.asarray(read_image(file, mode=mode, name=str(file), upright=False))
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def mirrored_up_to(pixels: np.ndarray, side: int) -> np.ndarray:
    """(H, W, C), padded by reflection to at least `side` on each side."""
    missing = [(0, max(side - length, 0)) for length in pixels.shape[:2]]
    return np.pad(pixels, (*missing, (0, 0)), mode="symmetric")


def as_tensor(pixels: np.ndarray) -> Tensor:
    """(H, W, C) -> (C, H, W)."""
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())
