"""Finding, decoding and labeling images from files and timm's data sets."""

import warnings
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image
from timm.data import create_dataset
from torch.utils.data import Dataset, IterableDataset

from ...errors import InputError, InputWarning, first_line
from ...system.files import files_below, refuse_special
from ..preprocessing import Transform
from .decoding import decoding, expect_whole
from .folders import IMAGE_SUFFIXES, FolderReader, class_images
from .orientation import find_turn
from .shards import ShardReader
from .splits import split_folder

Picture = str | Path | Image.Image

GREY_MODES = ("1", "L", "LA", "La", "I", "F")
"""Pillow's modes of gray images; I;16 and its variants count as I."""

MOST_IN_12_BITS = 4096

nearly_black: list[str] = []
"""The image of 12 bits that this process has warned of: a data set of them is told once."""

READERS = {"hfds": "datasets", "hfids": "datasets", "wds": "webdataset"}
"""The library that each of timm's readers needs."""


def images_below(folder: str | Path) -> list[Path]:
    """The images in a folder and its subfolders, sorted; raises InputError if there are none."""
    images = files_below(folder, IMAGE_SUFFIXES)
    if not images:
        raise InputError(f"{folder}: no images in this folder, expected files such as *.jpg or *.png")
    return images


class LabelledImages(Dataset):
    """Images of a timm reader; an unreadable image is an error that names it, and is never replaced by another."""

    def __init__(self, reader, *, mode: str, transform: Transform):
        self.reader = reader
        self.mode = mode
        self.transform = transform

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, index: int):
        file, label = self.reader[index]
        return self.transform(read_image(file, mode=self.mode, name=self.filename(index))), label

    def filename(self, index: int) -> str:
        """The image's path or index, for messages."""
        known = None
        with suppress(AssertionError):  # a reader without file names
            known = self.reader.filename(index, absolute=True)
        return known or f"image {index}"


def read_image(file, *, mode: str = "RGB", name: str = "image", upright: bool = True) -> Image.Image:
    """Open and decode an image (the first frame of an animation) as `mode`; raises InputError that names it.

    upright: rotate according to the EXIF orientation tag, as viewers and labeling tools do.
    """
    if isinstance(file, str | Path):
        refuse_special(Path(file))
    with decoding(name):
        image = file if isinstance(file, Image.Image) else Image.open(file)
        expect_whole(image)
        image.load()  # in a PNG the EXIF data may follow the pixels
        turn = find_turn(image) if upright else None
        image = as_8_bits(image, name).convert(mode)
        return image if turn is None else image.transpose(turn)


def is_grey(mode: str) -> bool:
    """Whether a Pillow mode is gray."""
    return mode.split(";")[0] in GREY_MODES


def as_8_bits(image: Image.Image, name: str) -> Image.Image:
    """Scale 16-bit gray to 8 bits, which Pillow would clip at 255; raises InputError for other deep gray modes.

    Warns of the first image that is nearly black because its values have 12 bits or fewer, as a microscope's.
    """
    if image.mode.startswith("I;16"):
        pixels = np.asarray(image)
        if 0 < (largest := pixels.max()) < MOST_IN_12_BITS and not nearly_black:
            nearly_black.append(name)
            told = f"{name}: 16 bits, but no value above {largest}: nearly black; multiply the values first"
            warnings.warn(told, InputWarning, stacklevel=2)
        return Image.fromarray((pixels >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise InputError(
            f"{name}: mode {image.mode}, whose white point is unknown, expected 8 or 16 bits: convert it first"
        )
    return image


def read_dataset(
    root: str,
    dataset: str = "",
    *,
    split: str = "validation",
    is_training: bool = False,
    batch_size: int,
    seed: int = 0,
    mode: str,
    transform: Transform,
) -> Dataset:
    """Read a split of folders of classes, or of a data set with timm's readers; raises InputError if there is nothing
    to read.
    """
    if not dataset:
        reader = FolderReader(class_images(split_folder(root, split)))
        if len(reader.class_to_idx) < 2:
            raise InputError(
                f"{Path(root)}: no class folders for split {split!r}, expected {split}/CLASS/IMAGE with at least two "
                "classes"
            )
        return LabelledImages(reader, mode=mode, transform=transform)
    expect_reader(dataset)
    try:
        images = create_dataset(
            dataset,
            root=root,
            split=split,
            is_training=is_training,
            batch_size=batch_size,
            seed=seed,
            input_img_mode=mode,
        )
    except ConnectionError as error:
        raise InputError(
            f"data.dataset {dataset!r}: can't be fetched ({first_line(error)}): check the connection"
        ) from None
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        raise InputError(f"{root}: no labeled images for split {split!r} ({first_line(error)})") from None
    images.transform = transform
    if isinstance(images, IterableDataset):
        reader = shard_reader(root, images.reader)
        return LabelledImages(reader, mode=mode, transform=transform) if reader else images
    return LabelledImages(images.reader, mode=mode, transform=transform)


def shard_reader(root: str, stream) -> ShardReader | None:
    """An indexed reader of the shards of timm's stream; None if they aren't tar files on disk."""
    split = getattr(stream, "split_info", None)
    shards = [Path(root, name) for name in getattr(split, "filenames", ())]
    if not shards or not all(shard.suffix == ".tar" and shard.is_file() for shard in shards):
        return None
    return ShardReader(shards, suffixes=IMAGE_SUFFIXES, label=split.alt_label)


def expect_reader(dataset: str) -> None:
    """Raise InputError if the library that reads this data set isn't installed."""
    library = READERS.get(dataset.partition("/")[0].lower())
    if library and find_spec(library) is None:
        raise InputError(f"data.dataset {dataset!r} needs {library}: pip install 'metamixer[readers]'")


def class_names(reader) -> list[str] | None:
    """The reader's class names in index order, or None if it has none."""
    indices = getattr(reader, "class_to_idx", None)
    if indices:
        return sorted(indices, key=indices.get)
    features = getattr(getattr(reader, "dataset", None), "features", None)
    label = (features or {}).get(getattr(reader, "label_key", "label"))
    return list(label.names) if hasattr(label, "names") else None


def find_images(paths: Sequence[str | Path]) -> list[Path]:
    """Expand folders to their images, sorted; raises InputError if there are none."""
    found = list(chain.from_iterable(_images_at(Path(path)) for path in paths))
    if not found:
        raise InputError("no images given, expected files or folders")
    return found


def _images_at(path: Path) -> list[Path]:
    if not path.exists():
        raise InputError(f"{path}: no such file or folder, expected images")
    refuse_special(path)
    return [path] if path.is_file() else images_below(path)
