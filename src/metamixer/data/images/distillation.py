"""Images for a student and its teacher: with labels in folders of classes, or without."""

import hashlib
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from timm.utils.misc import natural_key
from torch.utils.data import Dataset

from ...errors import InputError
from ..held_out import read_held_out, split_as_listed
from ..preprocessing import Preprocessing, Transform
from .folders import ClassImages, FolderReader, folders_of, images_of
from .labelled import ImageData
from .reading import LabelledImages, images_below, read_image
from .splits import split_folders
from .views import ViewedImages, Views


class DistillationData(ImageData):
    """Labelled images that training sees in a few fixed crops each; evaluation sees them as ever.

    Args:
        root: folder of the data set, with CLASS/IMAGE, or train/CLASS/IMAGE and val/CLASS/IMAGE.
        views: the crops.
        holdout: without a folder for validation, one of every so many images of each class is held out; None: a random
            fifth by the seed.
        split: the split.json of a run, whose validation images are held out instead.
        seed: of shuffling, and of the images held out.
    """

    labelled = True

    def __init__(
        self,
        root: str = ".",
        *,
        views: Views = Views(),
        holdout: int | None = None,
        split: str | None = None,
        batch_size: int = 128,
        num_workers: int = 2,
        preprocessing: Preprocessing = Preprocessing(),
        seed: int = 0,
    ):
        super().__init__(root, batch_size=batch_size, num_workers=num_workers, preprocessing=preprocessing, seed=seed)
        if holdout is not None and holdout < 2:
            raise InputError(f"data.holdout {holdout}, expected at least 2: the rest is trained on")
        self.holdout = holdout
        self.split = split
        self.views = views
        self.crops: np.ndarray | None = None

    def training_images(self) -> Dataset:
        """The training split as Pillow images; raises InputError if its classes differ from the validation split's."""
        return self._training_split(unchanged)

    def folders(self) -> dict[str, ClassImages]:
        """The images of "train" and "validation" by class."""
        divide = None if self.holdout is None else partial(divide_evenly, holdout=self.holdout)
        if self.split is not None:
            divide = partial(split_as_listed, held=read_held_out(self.split))
        return folders_of(self.root, self.loading.seed, divide=divide)

    def files(self) -> dict[str, list[Path]]:
        """The images of "train" and "validation"."""
        return {part: images_of(classes) for part, classes in self.folders().items()}

    def names(self) -> list[str]:
        """The training images' file names below the root."""
        images, folder = self.training_images(), split_folders(self.root)["train"]
        return [os.path.relpath(images.filename(index), folder) for index in range(len(images))]

    def size_on_disk(self) -> int:
        """The size of the training images' files."""
        images = self.training_images()
        return sum(os.path.getsize(images.filename(index)) for index in range(len(images)))

    def draw_crops(self) -> np.ndarray:
        """The crops of all views, by the seed."""
        return self.views.draw(len(self.training_images()))

    def about(self) -> dict[str, Any]:
        """What a teacher's outputs for the views depend on."""
        names = self.names()
        return {
            "images": len(names),
            "files": hashlib.sha256("\n".join(names).encode()).hexdigest()[:16],
            "image bytes": self.size_on_disk(),
            "views": self.views.as_dict(),
            "crops": "not squashed",  # as they were where images aren't square, before a cache said so
            "preprocessing": self.preprocessing.as_dict(),
        }

    def training_dataset(self) -> Dataset:
        crops = self.crops if self.crops is not None else self.draw_crops()
        return ViewedImages(self.training_images(), crops, count=self.views.count, preprocessing=self.preprocessing)

    def _read(self, split: str, transform: Transform) -> Dataset:
        reader = FolderReader(self.folders()["train" if split == "train" else "validation"])
        return LabelledImages(reader, mode=self.preprocessing.mode, transform=transform)


class UnlabelledDistillationData(DistillationData):
    """Images without labels, below any folder; one of `holdout` is kept for validation.

    Args:
        root: the folder.
        holdout: the validation split's images are the first of every so many.
    """

    labelled = False

    def __init__(self, root: str = ".", *, holdout: int = 20, **settings):
        super().__init__(root, holdout=holdout, **settings)

    @property
    def classes(self) -> None:
        """None: there are no labels."""
        return None

    def files(self) -> dict[str, list[Path]]:
        return {"train": self._paths("train"), "validation": self._paths("val")}

    def names(self) -> list[str]:
        return [str(path.relative_to(self.root)) for path in self._paths("train")]

    def size_on_disk(self) -> int:
        return sum(path.stat().st_size for path in self._paths("train"))

    def _paths(self, split: str) -> list[Path]:
        paths = images_below(self.root)
        if len(paths) < 2:
            raise InputError(f"{self.root}: 1 image, expected at least 2, one of them for validation")
        return [path for number, path in enumerate(paths) if (number % self.holdout == 0) == (split != "train")]

    def _read(self, split: str, transform: Transform) -> Dataset:
        return ImageFiles(self._paths(split), mode=self.preprocessing.mode, transform=transform)


class ImageFiles(Dataset):
    """Images from files; each has the label 0, which stands for none."""

    def __init__(self, paths: Sequence[Path], *, mode: str, transform: Transform):
        self.paths = paths
        self.mode = mode
        self.transform = transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int):
        path = self.paths[index]
        return self.transform(read_image(path, mode=self.mode, name=str(path))), 0


def divide_evenly(images: Sequence[Path], holdout: int) -> tuple[list[Path], list[Path]]:
    """The images to train with, and one of every `holdout` in natural order to validate with."""
    ordered = sorted(images, key=lambda image: natural_key(str(image)))
    held = ordered[min(holdout, len(ordered)) - 1 :: holdout]
    return [image for image in ordered if image not in held], held


def unchanged(image: Image.Image) -> Image.Image:
    """The image itself: a function of a module, which worker processes can be sent."""
    return image
