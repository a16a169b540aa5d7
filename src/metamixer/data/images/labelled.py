"""Labeled images: folders, Hugging Face data sets, WebDataset shards, and handwritten digits without a download."""

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from ..loading import Loading
from ..module import DataModule
from ..preprocessing import Augmentation, Preprocessing, Transform
from .reading import class_names, read_dataset
from .splits import expect_same_classes, expect_two_splits


class Digits(Dataset):
    """scikit-learn's 1,797 handwritten digits of 8x8 pixels; every fifth of a class is in the test split (360)."""

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
        """The digit without augmentation, bright on black."""
        return Image.fromarray(self.pixels[index]).convert(self.mode)

    def __getitem__(self, index: int):
        return self.transform(self.image(index)), self.labels[index]


class ImageData(DataModule):
    """Labeled images for training and evaluation.

    Args:
        root: folder of the data set.
        dataset: "" for folders of classes (root/train/CLASS/*.jpg), or timm's name of another reader, such as
            "hfds/NAME" or "wds/NAME" (with `num_classes` in the task, and `info.json` next to the shards).
        train_split, val_split, test_split: names of the splits; None for the test split: the validation split.
        batch_size: images per batch and process.
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
        super().__init__(Loading(batch_size, num_workers, seed))
        self.root = root
        self.dataset = dataset
        self.splits = {"train": train_split, "val": val_split, "test": test_split or val_split}
        self.preprocessing = preprocessing
        self.augmentation = augmentation
        self._classes: list[str] | None = None

    @property
    def classes(self) -> list[str] | None:
        """Class names in index order; None if the data set has none."""
        if self._classes is None:
            self._classes = class_names(getattr(self.evaluation_dataset("val"), "reader", None))
        return self._classes

    def training_dataset(self) -> Dataset:
        """The training split with augmentation; raises InputError if its classes differ from the validation split's."""
        return self._training_split(self.preprocessing.training_transform(self.augmentation))

    def _training_split(self, transform: Transform) -> Dataset:
        images = self._read("train", transform)
        names = class_names(getattr(images, "reader", None))
        if names and self.classes:
            expect_same_classes({"training": names, "validation": self.classes})
        return images

    def evaluation_dataset(self, split: str) -> Dataset:
        """A split ("train", "val" or "test"), preprocessed for evaluation.

        Raises InputError if the test split's classes differ from the validation split's.
        """
        images = self._read(split, self.preprocessing.transform())
        names = class_names(getattr(images, "reader", None))
        if split == "test" and names and self.classes:
            expect_same_classes({"validation": self.classes, "test": names})
        return images

    def _read(self, split: str, transform: Transform) -> Dataset:
        if split == "train" and not self.dataset:
            expect_two_splits(self.root, self.splits["train"], self.splits["val"])
        return read_dataset(
            self.root,
            self.dataset,
            split=self.splits[split],
            is_training=split == "train",
            batch_size=self.loading.batch_size,
            seed=self.loading.seed,
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
        augmentation: Augmentation = Augmentation(
            scale=(0.7, 1.0), hflip=0.0, color_jitter=0.0, auto_augment=None, random_erasing=0.0
        ),
        seed: int = 0,
    ):
        settings = {"batch_size": batch_size, "num_workers": num_workers, "seed": seed}
        super().__init__(preprocessing=preprocessing, augmentation=augmentation, **settings)

    @property
    def classes(self) -> list[str]:
        return [str(digit) for digit in range(10)]

    def _read(self, split: str, transform: Transform) -> Dataset:
        return Digits(train=split == "train", transform=transform, mode=self.preprocessing.mode)
