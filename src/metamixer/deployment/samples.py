"""Inputs for calibration and comparison: images of a folder as a network sees them, or arrays."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from ..data.images.reading import IMAGE_SUFFIXES, read_dataset, read_image
from ..data.preprocessing import Preprocessing, without_normalization
from ..errors import InputError
from ..system.files import files_below

SIDES = {"super_resolution": 64, "segmentation": 256}
"""Pixels a side of the example, by task, for networks that take any size and tell none."""


def read_samples(folder: str | Path, preprocessing: Preprocessing | None, example: Tensor, *, limit: int) -> Tensor:
    """At most `limit` inputs (N, ...) from the whole length of a folder: images, or .npy arrays each of the example's shape.

    Raises InputError where there are none or one has another shape.
    """
    kind, suffixes = ("images", IMAGE_SUFFIXES) if preprocessing else (".npy arrays", (".npy",))
    files = files_below(folder, suffixes)
    if not files:
        raise InputError(f"{folder}: no {kind} in this folder, expected some to calibrate and compare with")
    chosen = spread(len(files), limit)
    return torch.stack([_read(files[i], preprocessing, tuple(example.shape[1:])) for i in chosen])


def read_labelled(folder: str | Path, preprocessing: Preprocessing, *, limit: int | None) -> tuple[Dataset, list[str]]:
    """The images below FOLDER/CLASS with labels, at most `limit` of them, and the names of the classes."""
    images = read_dataset(
        str(folder),
        "",
        split="validation",
        is_training=False,
        batch_size=1,
        seed=0,
        mode=preprocessing.mode,
        transform=without_normalization(preprocessing).transform(),
    )
    indices = images.reader.class_to_idx
    names = sorted(indices, key=indices.get)
    return Subset(images, spread(len(images), limit or len(images))), names


def random_batches(example: Tensor, shape: tuple[int | None, ...]) -> Iterator[Tensor]:
    """Seeded values in [0, 1] in the example's size and, where sizes are free, in another batch and another size."""
    generator = torch.Generator().manual_seed(0)
    batch, own = shape[0] or 2, list(example.shape[1:])
    sizes = [[batch, *own]]
    if shape[0] is None:
        sizes += [[1, *own], [5, *own]]
    if None in shape[1:]:
        sizes.append(
            [batch, *(size + 32 * (i + 1) if free is None else size for i, (size, free) in enumerate(zip(own, shape[1:], strict=True)))]
        )
    for size in sizes:
        yield torch.rand(size, generator=generator)


def spread(count: int, limit: int) -> list[int]:
    """At most `limit` numbers below `count`, evenly over the whole."""
    taken = min(count, limit)
    return [i * count // taken for i in range(taken)]


def image_preprocessing(info: dict[str, Any]) -> Preprocessing | None:
    """What a classifier does to an image before it sees it; None for a network of another task."""
    return Preprocessing.from_dict(info["preprocessing"]) if info["task"] == "classification" and info["preprocessing"] else None


def example_of(info: dict[str, Any], *, size: int | None = None, shape: tuple[int, ...] | None = None) -> Tensor:
    """Seeded values in [0, 1] as the network takes them, a batch of one or the shape's; raises InputError where nothing says how large."""
    if shape is None:
        preprocessing, args, side = image_preprocessing(info), info["model_args"], size or SIDES.get(info["task"])
        if preprocessing:
            side = size or preprocessing.size
            shape = (1, preprocessing.in_chans, side, side)
        elif info["task"] == "forecasting" and {"lookback", "variables"} <= args.keys():
            if size:
                raise InputError(f"size {size} for {info['model']}, expected none: a forecaster's windows have the size of its checkpoint")
            shape = (1, args["lookback"], args["variables"])
        elif side:
            shape = (1, 3, side, side)
        else:
            raise InputError(f"{info['model']}: doesn't say what it takes, expected --size PIXELS or --shape, such as --shape 1 3 64 64")
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def _read(file: Path, preprocessing: Preprocessing | None, shape: tuple[int, ...]) -> Tensor:
    if preprocessing:
        image = read_image(file, mode=preprocessing.mode, name=str(file))
        sample = without_normalization(preprocessing).transform()(image)
    else:
        try:
            sample = torch.from_numpy(np.load(file, allow_pickle=False)).float()
        except (OSError, ValueError, TypeError, EOFError) as error:
            raise InputError(f"{file}: not a readable .npy array ({error})") from None
        if not sample.isfinite().all():
            raise InputError(f"{file}: holds NaN or infinite values, expected numbers")
    if tuple(sample.shape) != shape:
        raise InputError(f"{file}: of shape {list(sample.shape)}, expected {list(shape)} as the network takes it")
    return sample
