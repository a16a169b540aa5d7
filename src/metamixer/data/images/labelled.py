"""Labelled images: folders, Hugging Face data sets, WebDataset shards, and handwritten digits that need no download."""

from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import lightning as L
import numpy as np
from PIL import Image
from timm.data import create_dataset
from torch.utils.data import DataLoader, Dataset, IterableDataset

from ...errors import InputError, first_line
from ...system.files import files_below
from ..loading import evaluation_loader, training_loader
from ..preprocessing import Augmentation, Preprocessing, Transform
from .decoding import decoding
from .orientation import find_turn
from .splits import expect_same_classes, expect_two_splits, split_folder

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
"""What files are taken for images in a folder."""

READERS = {"hfds": "datasets", "hfids": "datasets", "wds": "webdataset"}
"""The library that each of timm's readers needs."""


def images_below(folder: str | Path) -> list[Path]:
    """The images in a folder and its subfolders, in order; raises InputError where there is none."""
    images = files_below(folder, IMAGE_SUFFIXES)
    if not images:
        raise InputError(f"{folder}: no images in this folder, expected files such as *.jpg or *.png")
    return images


class LabelledImages(Dataset):
    """Images of one of timm's readers; one that can't be read is an error that names it, never another image in its place."""

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
        """Where the image is, for messages."""
        known = None
        with suppress(AssertionError):  # of a reader that keeps no names
            known = self.reader.filename(index, absolute=True)
        return known or f"image {index}"


def read_image(file, *, mode: str = "RGB", name: str = "image", upright: bool = True) -> Image.Image:
    """Open and decode a whole image, of an animation the first frame, as `mode`; raises InputError that names it.

    upright: turn it as its EXIF remark says, which is how people see and label it.
    """
    with decoding(name):
        image = file if isinstance(file, Image.Image) else Image.open(file)
        image.load()  # of a PNG the remark may follow the pixels
        turn = find_turn(image) if upright else None
        image = as_8_bits(image, name).convert(mode)
        return image if turn is None else image.transpose(turn)


def as_8_bits(image: Image.Image, name: str) -> Image.Image:
    """The image with 16 bits of grey brought to 8, which Pillow would cut off at 255; raises InputError for other deep grey."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise InputError(f"{name}: values of mode {image.mode}, whose white is unknown, expected 8 or 16 bits: convert it before")
    return image


class Digits(Dataset):
    """scikit-learn's 1,797 handwritten digits of 8x8 pixels; every fifth one of a class is for testing (360)."""

    def __init__(self, *, train: bool, transform: Transform, mode: str = "RGB"):
        from sklearn.datasets import load_digits

        digits = load_digits()
        position = np.zeros(len(digits.target), dtype=int)
        for label in range(10):
            of_class = digits.target == label
            position[of_class] = np.arange(of_class.sum())
        chosen = (position % 5 != 4) if train else (position % 5 == 4)
        self.pixels = (digits.images[chosen] * (255 / 16)).round().astype(np.uint8)
        self.labels = digits.target[chosen].tolist()
        self.mode = mode
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, index: int) -> Image.Image:
        """The digit as it was drawn, dark on white paper the other way round: bright on black."""
        return Image.fromarray(self.pixels[index]).convert(self.mode)

    def __getitem__(self, index: int):
        return self.transform(self.image(index)), self.labels[index]


class ImageData(L.LightningDataModule):
    """Labelled images for training and evaluation.

    Args:
        root: folder of the data set.
        dataset: "" for folders of classes (root/train/CLASS/*.jpg), or timm's name of another reader, such as "hfds/NAME" or
            "wds/NAME" (with `num_classes` in the task, and `info.json` beside the shards).
        train_split, val_split, test_split: names of the splits; None for the test split: the validation split.
        batch_size: images in a batch, in each process.
        seed: of shuffling and augmentation.
    """

    def __init__(
        self,
        root: str = ".",
        dataset: str = "",
        *,
        train_split: str = "train",
        val_split: str = "validation",
        test_split: str | None = None,
        batch_size: int = 128,
        num_workers: int = 2,
        preprocessing: Preprocessing = Preprocessing(),
        augmentation: Augmentation = Augmentation(),
        seed: int = 0,
    ):
        super().__init__()
        self.root = root
        self.dataset = dataset
        self.splits = {"train": train_split, "val": val_split, "test": test_split or val_split}
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.preprocessing = preprocessing
        self.augmentation = augmentation
        self.seed = seed
        self._classes: list[str] | None = None

    @property
    def classes(self) -> list[str] | None:
        """The names of the classes by number; None where the data set doesn't tell."""
        if self._classes is None:
            self._classes = class_names(getattr(self.evaluation_dataset("val"), "reader", None))
        return self._classes

    def training_dataset(self) -> Dataset:
        """The training split with augmentation; raises InputError where it doesn't go with the validation split."""
        images = self._read("train", self.preprocessing.training_transform(self.augmentation))
        names = class_names(getattr(images, "reader", None))
        if names and self.classes:
            expect_same_classes(names, self.classes)
        return images

    def evaluation_dataset(self, split: str) -> Dataset:
        """A split ("train", "val" or "test") as the network is to see it in evaluation."""
        return self._read(split, self.preprocessing.transform())

    def train_dataloader(self) -> DataLoader:
        return training_loader(
            self.training_dataset(),
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            seed=self.seed,
            trainer=self.trainer,
        )

    def val_dataloader(self) -> DataLoader | Sequence[DataLoader]:
        return self._evaluation_loader("val")

    def test_dataloader(self) -> DataLoader | Sequence[DataLoader]:
        return self._evaluation_loader("test")

    def _evaluation_loader(self, split: str) -> DataLoader:
        return evaluation_loader(self.evaluation_dataset(split), batch_size=self.batch_size, num_workers=self.num_workers)

    def _read(self, split: str, transform: Transform) -> Dataset:
        if split == "train" and not self.dataset:
            expect_two_splits(self.root, self.splits["train"], self.splits["val"])
        return read_dataset(
            self.root,
            self.dataset,
            split=self.splits[split],
            is_training=split == "train",
            batch_size=self.batch_size,
            seed=self.seed,
            mode=self.preprocessing.mode,
            transform=transform,
        )


class DigitsData(ImageData):
    """scikit-learn's handwritten digits, enlarged; nothing to download."""

    def __init__(
        self,
        *,
        batch_size: int = 64,
        num_workers: int = 0,
        preprocessing: Preprocessing = Preprocessing(size=32, crop_pct=1.0),
        augmentation: Augmentation = Augmentation(scale=(0.7, 1.0), hflip=0.0, color_jitter=0.0, auto_augment=None, random_erasing=0.0),
        seed: int = 0,
    ):
        super().__init__(batch_size=batch_size, num_workers=num_workers, preprocessing=preprocessing, augmentation=augmentation, seed=seed)

    @property
    def classes(self) -> list[str]:
        return [str(digit) for digit in range(10)]

    def _read(self, split: str, transform: Transform) -> Dataset:
        return Digits(train=split == "train", transform=transform, mode=self.preprocessing.mode)


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
    """One split of a data set through timm's readers; raises InputError where there is nothing to read."""
    # timm's reader of folders takes suffixes by this name; its own are only three.
    reader_options = {} if dataset else {"input_key": ";".join(IMAGE_SUFFIXES)}
    if not dataset:
        split_folder(root, split)
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
            **reader_options,
        )
    except ConnectionError as error:
        raise InputError(f"data.dataset {dataset!r}: can't be fetched ({first_line(error)}), expected a connection") from None
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        raise InputError(f"{root}: no labelled images for split {split!r} ({first_line(error)})") from None
    images.transform = transform
    if isinstance(images, IterableDataset):
        return images
    if not dataset and len(class_names(images.reader) or []) < 2:
        raise InputError(f"{Path(root)}: no class folders for split {split!r}, expected {split}/CLASS/IMAGE with at least two classes")
    return LabelledImages(images.reader, mode=mode, transform=transform)


def expect_reader(dataset: str) -> None:
    """Raises InputError where the library that reads such a data set is not installed."""
    library = READERS.get(dataset.partition("/")[0].lower())
    if library and find_spec(library) is None:
        raise InputError(f"data.dataset {dataset!r}: {library} is not installed, expected it: pip install 'metamixer[readers]'")


def class_names(reader) -> list[str] | None:
    """The reader's classes in the order of their numbers, as far as it knows them."""
    indices = getattr(reader, "class_to_idx", None)
    if indices:
        return sorted(indices, key=indices.get)
    features = getattr(getattr(reader, "dataset", None), "features", None)
    label = (features or {}).get(getattr(reader, "label_key", "label"))
    return list(label.names) if hasattr(label, "names") else None
