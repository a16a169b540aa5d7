"""Pictures with a class for each pixel: a folder of images, a folder of label PNGs, and a YAML of the classes."""

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
from ..images.reading import IMAGE_SUFFIXES, is_grey, read_image
from ..loading import Loading, read_ahead
from ..module import DataModule
from .label_maps import PixelClasses, read_classes, read_label_map
from .transforms import SegmentationAugmentation, SegmentationPreprocessing


class LabelledPixels(Dataset):
    """Pictures as a segmentation network is to see them, with the labels of their pixels.

    With augmentation an item is (image (3, *crop), labels (*crop)); else (image (3, H, W) uint8, labels (H, W)) as the
    files have them.
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
        """Image (3, H, W) and labels (H, W), uint8, decoded once where they are kept in memory."""
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
    """Open and decode a whole image as RGB; raises InputError for a grey one unless `grey_images` says that it may
    be.
    """
    if not grey_images and isinstance(picture, Image.Image):
        expect_colour(picture.mode, name=str(picture))
    elif not grey_images:
        check_colour(Path(picture))
    return read_image(picture, name=str(picture))


def check_colour(picture: Path) -> None:
    """Raises InputError for a grey image or one that can't be opened, without decoding it."""
    with decoding(picture), Image.open(picture) as image:
        mode = image.mode
    expect_colour(mode, name=str(picture))


def expect_colour(mode: str, *, name: str) -> None:
    """Raises InputError for a Pillow mode of grey images."""
    if is_grey(mode):
        raise InputError(
            f"{name}: a grey image (mode {mode}), expected colour; grey_images=true takes it as three equal channels"
        )


def pair_files(
    images: Path, labels: Path, *, image_ending: str = "", label_ending: str = ""
) -> list[tuple[Path, Path]]:
    """The pictures below a folder in order, each with the label PNG of its name in the other.

    image_ending, label_ending: what stands at the end of the names, before their suffix, in place of each other. Raises
    InputError where there is no picture or a label file is missing.
    """
    pictures = [path for path in files_below(images, IMAGE_SUFFIXES) if path.stem.endswith(image_ending)]
    if not pictures:
        raise InputError(
            f"{images}: 0 pictures in this split, expected files such as *{image_ending}.jpg or *{image_ending}.png"
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
    """Pictures with label PNGs for training and evaluation.

    Args:
        root: folder that the other paths start from.
        classes: "ade20k", "cityscapes", "camvid" or a YAML file with names, colours and the ignored value
            (docs/segmentation.md).
        train_images, val_images, test_images: folders of pictures; train_labels, val_labels, test_labels: of their
            label PNGs; None for the test split: the validation split.
        image_ending, label_ending: what names end in before the suffix, as Cityscapes' _leftImg8bit and
            _gtFine_labelIds.
        batch_size: images in a training batch, in each process; evaluation takes one at a time, whatever its size.
        grey_images: whether a grey picture counts as one of three equal channels, else it is refused.
        in_memory: decode every training picture once and keep it; with workers all are decoded before the first step,
            and shared where processes are forked (Linux).
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
        """The names of the classes by label."""
        return list(self.pixel_classes.names)

    def training_dataset(self) -> LabelledPixels:
        """The training split with augmentation."""
        return self._read("train", augmentation=self.augmentation, in_memory=self.in_memory)

    def evaluation_dataset(self, split: str) -> LabelledPixels:
        """A split ("train", "val" or "test") as its files have it."""
        return self._read(split)

    def _read(self, split: str, **options) -> LabelledPixels:
        files = pair_files(*self.folders[split], **self.endings)
        return LabelledPixels(
            files, self.pixel_classes, preprocessing=self.preprocessing, grey_images=self.grey_images, **options
        )
