"""Images with a class per pixel: a folder of images, a folder of label PNGs, and a YAML file of the classes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from ...errors import InputError
from ...system.files import files_below
from ..images.decoding import decoding
from ..images.given import name_of
from ..images.reading import IMAGE_SUFFIXES, is_grey, read_image
from ..loading import Loading, read_ahead
from ..module import DataModule
from .label_maps import PixelClasses, read_classes, read_label_map
from .transforms import SegmentationAugmentation, SegmentationPreprocessing


class LabelledPixels(Dataset):
    """Images with a label per pixel.

    With augmentation an item is (image (3, *crop), labels (*crop)); otherwise (image (3, H, W) uint8, labels (H, W)),
    unprocessed.
    """

    def __init__(
        self,
        files: Sequence[tuple[Path, Path]],
        classes: PixelClasses,
        *,
        preprocessing: SegmentationPreprocessing,
        augmentation: SegmentationAugmentation | None = None,
        grey_images: bool = False,
        in_memory: bool = False,
    ):
        self.files = files
        self.classes = classes
        self.preprocessing = preprocessing
        self.augmentation = augmentation
        self.grey_images = grey_images
        self.kept: dict[int, tuple[np.ndarray, np.ndarray]] | None = {} if in_memory else None

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, labels = (torch.from_numpy(array) for array in self.pixels(index))
        if self.augmentation is None:
            return image, labels.long()
        return self.augmentation(image, labels, self.preprocessing)

    def read_ahead(self, *, threads: int) -> None:
        """Decode every image that is kept in memory."""
        if self.kept is not None:
            read_ahead(self.pixels, len(self), threads=threads)

    def pixels(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Image (3, H, W) and labels (H, W), uint8, cached with `in_memory`."""
        if self.kept is not None and index in self.kept:
            return self.kept[index]
        picture, labels = self.files[index]
        image = read_colour_image(picture, grey_images=self.grey_images)
        pixels = np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))
        found = pixels, read_label_map(labels, self.classes, size=pixels.shape[1:])
        if self.kept is not None:
            self.kept[index] = found
        return found


def read_colour_image(picture, *, grey_images: bool = False) -> Image.Image:
    """Open and decode an image as RGB; raises InputError for a gray one unless `grey_images`."""
    if not grey_images and isinstance(picture, Image.Image):
        expect_colour(picture.mode, name=name_of(picture))
    elif not grey_images:
        check_colour(Path(picture))
    return read_image(picture, name=name_of(picture))


def check_colour(picture: Path) -> None:
    """Raise InputError for a gray or unreadable image, without decoding it."""
    with decoding(picture), Image.open(picture) as image:
        mode = image.mode
    expect_colour(mode, name=str(picture))


def expect_colour(mode: str, *, name: str) -> None:
    """Raise InputError for a gray Pillow mode."""
    if is_grey(mode):
        raise InputError(
            f"{name}: a gray image (mode {mode}), expected color; --grey_images (grey_images=True in Python, "
            "data.grey_images: true in a recipe) accepts it as three equal channels"
        )


def pair_files(
    images: Path, labels: Path, *, image_ending: str = "", label_ending: str = ""
) -> list[tuple[Path, Path]]:
    """The images below a folder, sorted, each with the label PNG of the same name below the other folder.

    image_ending, label_ending: endings of the names, before the suffix, that replace each other. Raises InputError if
    there are no images or a label file is missing.
    """
    pictures = [path for path in files_below(images, IMAGE_SUFFIXES) if path.stem.endswith(image_ending)]
    if not pictures:
        raise InputError(
            f"{images}: 0 images in this split, expected files such as *{image_ending}.jpg or *{image_ending}.png"
        )
    pairs = []
    for picture in pictures:
        stem = picture.stem.removesuffix(image_ending) + label_ending
        label = labels / picture.relative_to(images).with_name(f"{stem}.png")
        if not label.is_file():
            raise InputError(f"{label}: no such file, expected the labels of {picture}")
        pairs.append((picture, label))
    return pairs


class SegmentationData(DataModule):
    """Images with label PNGs for training and evaluation.

    Args:
        root: folder that the other paths are relative to.
        classes: "ade20k", "cityscapes", "camvid" or a YAML file with names, colors and the ignored value
            (docs/segmentation.md).
        train_images, val_images, test_images: folders of images; train_labels, val_labels, test_labels: of their
            label PNGs; None for the test split: the validation split.
        image_ending, label_ending: endings of the file names before the suffix, such as Cityscapes' _leftImg8bit and
            _gtFine_labelIds.
        batch_size: images per training batch and process; evaluation uses one at a time, of any size.
        grey_images: accept gray images as three equal channels instead of refusing them.
        in_memory: cache decoded training images; with workers all are decoded before the first step, and shared between
            forked processes (Linux).
        seed: of shuffling and augmentation.
    """

    def __init__(
        self,
        root: str = ".",
        classes: str = "classes.yaml",
        *,
        train_images: str = "train",
        train_labels: str = "train_labels",
        val_images: str = "val",
        val_labels: str = "val_labels",
        test_images: str | None = None,
        test_labels: str | None = None,
        image_ending: str = "",
        label_ending: str = "",
        batch_size: int = 2,
        num_workers: int = 2,
        preprocessing: SegmentationPreprocessing = SegmentationPreprocessing(),
        augmentation: SegmentationAugmentation = SegmentationAugmentation(),
        grey_images: bool = False,
        in_memory: bool = False,
        seed: int = 0,
    ):
        super().__init__(Loading(batch_size, num_workers, seed, evaluation_batch_size=1))
        if (test_images is None) != (test_labels is None):
            raise InputError(f"test_images {test_images}, test_labels {test_labels}, expected both or none")
        self.folders = {
            "train": (Path(root, train_images), Path(root, train_labels)),
            "val": (Path(root, val_images), Path(root, val_labels)),
            "test": (Path(root, test_images or val_images), Path(root, test_labels or val_labels)),
        }
        self.pixel_classes = read_classes(classes, root)
        self.endings = {"image_ending": image_ending, "label_ending": label_ending}
        self.preprocessing = preprocessing
        self.augmentation = augmentation
        self.grey_images = grey_images
        self.in_memory = in_memory

    @property
    def classes(self) -> list[str]:
        """Class names in label order."""
        return list(self.pixel_classes.names)

    def training_dataset(self) -> LabelledPixels:
        """The training split with augmentation."""
        return self._read("train", augmentation=self.augmentation, in_memory=self.in_memory)

    def evaluation_dataset(self, split: str) -> LabelledPixels:
        """A split ("train", "val" or "test"), unprocessed."""
        return self._read(split)

    def _read(self, split: str, **options) -> LabelledPixels:
        files = pair_files(*self.folders[split], **self.endings)
        return LabelledPixels(
            files, self.pixel_classes, preprocessing=self.preprocessing, grey_images=self.grey_images, **options
        )
