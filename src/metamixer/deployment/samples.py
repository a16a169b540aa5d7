"""Inputs for calibration and comparison: preprocessed images of a folder, or arrays."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset

from ..data.arrays import read_array
from ..data.images.reading import IMAGE_SUFFIXES, read_dataset, read_image
from ..data.preprocessing import Preprocessing, without_normalization
from ..errors import InputError
from ..models.tasks import CLASSIFICATION, TASKS, uniform, unknown_input
from ..system.files import files_below


def read_samples(folder: str | Path, preprocessing: Preprocessing | None, example: Tensor, *, limit: int) -> Tensor:
    """At most `limit` evenly spaced inputs (N, ...) of a folder: images, or .npy arrays of the example's shape.

    Raises InputError if there are none or a shape differs.
    """
    kind, suffixes = ("images", IMAGE_SUFFIXES) if preprocessing else (".npy arrays", (".npy",))
    files = files_below(folder, suffixes)
    if not files:
        raise InputError(f"{folder}: no {kind} in this folder, expected some for calibration and comparison")
    chosen = spread(len(files), limit)
    return torch.stack([_read(files[i], preprocessing, tuple(example.shape[1:])) for i in chosen])


def read_labelled(folder: str | Path, preprocessing: Preprocessing, *, limit: int | None) -> tuple[Dataset, list[str]]:
    """At most `limit` images below FOLDER/CLASS with labels, and the class names."""
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
    """Seeded values in [0, 1] of the example's size and, for free sizes, also of other batches and sizes."""
    generator = torch.Generator().manual_seed(0)
    batch, own = shape[0] or 2, list(example.shape[1:])
    sizes = [[batch, *own]]
    if shape[0] is None:
        sizes += [[1, *own], [5, *own]]
    if None in shape[1:]:
        sizes.append(
            [
                batch,
                *(
                    size + 32 * (i + 1) if free is None else size
                    for i, (size, free) in enumerate(zip(own, shape[1:], strict=True))
                ),
            ]
        )
    for size in sizes:
        yield torch.rand(size, generator=generator)


def spread(count: int, limit: int) -> list[int]:
    """At most `limit` evenly spaced indices below `count`."""
    taken = min(count, limit)
    return [i * count // taken for i in range(taken)]


def image_preprocessing(info: Mapping[str, Any]) -> Preprocessing | None:
    """The preprocessing of a classifier; None for a network of another task."""
    classifies = info["task"] == CLASSIFICATION.name and info["preprocessing"]
    return Preprocessing.from_dict(info["preprocessing"]) if classifies else None


def example_of(
    network: nn.Module, info: Mapping[str, Any], *, size: int | None = None, shape: tuple[int, ...] | None = None
) -> Any:
    """The example input of the network's task (`models.tasks`), or seeded values in [0, 1] of `shape`.

    Raises InputError if its size is unknown.
    """
    if shape is not None:
        return uniform(*shape)
    if info.get("task") not in TASKS:
        raise unknown_input(info)
    return TASKS[info["task"]].example(network, info, size)


def _read(file: Path, preprocessing: Preprocessing | None, shape: tuple[int, ...]) -> Tensor:
    if preprocessing:
        image = read_image(file, mode=preprocessing.mode, name=str(file))
        sample = without_normalization(preprocessing).transform()(image)
    else:
        array = read_array(file)
        if array.dtype.kind not in "iufb":
            raise InputError(f"{file}: values of type {array.dtype}, expected numbers")
        sample = torch.from_numpy(array.astype(np.float32))
        if not sample.isfinite().all():
            raise InputError(f"{file}: contains NaN or infinite values, expected finite numbers")
    if tuple(sample.shape) != shape:
        raise InputError(f"{file}: shape {list(sample.shape)}, expected {list(shape)}, the network's input")
    return sample
