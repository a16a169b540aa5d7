"""Objects with boxes and masks: a folder of images and a COCO JSON file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms.v2.functional import pil_to_tensor

from ...errors import InputError, at_least
from ..images.reading import read_image
from ..loading import Loading
from ..module import DataModule
from .coco_json import CocoFile, CocoImage, CocoObject, decode_mask, read_coco
from .transforms import DetectionAugmentation, DetectionPreprocessing, keep_visible, wrap

Target = dict[str, Tensor]


class CocoImages(Dataset):
    """Preprocessed images with their objects.

    Targets have boxes (N, 4), labels (N,) and masks (N, H, W). With augmentation they are in pixels of the augmented
    image, without crowds; otherwise in pixels of the file, with `iscrowd`, `area` and `size` (height, width).
    """

    def __init__(
        self,
        images: Sequence[CocoImage],
        *,
        preprocessing: DetectionPreprocessing,
        augmentation: DetectionAugmentation | None = None,
    ):
        self.images = images
        self.preprocessing = preprocessing
        self.augmentation = augmentation

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Target]:
        image = self.images[index]
        pixels = read_coco_image(image)
        if self.augmentation is None:
            return self.preprocessing(pixels), whole_target(image)
        sample = self.augmentation(keep_visible(wrap(pixels, **objects_target(image, crowds=False))))
        target = {key: sample[key].as_subclass(Tensor) for key in ("boxes", "labels", "masks")}
        return self.preprocessing.normalise(sample["image"]).as_subclass(Tensor), target


def read_coco_image(image: CocoImage) -> Tensor:
    """Read an image as (3, H, W) uint8; raises InputError if its size isn't the one in the JSON file."""
    pixels = pil_to_tensor(read_image(image.path, name=str(image.path)))
    if tuple(pixels.shape[1:]) != image.size:
        found, said = (f"{width}x{height}" for height, width in (pixels.shape[1:], image.size))
        raise InputError(
            f"{image.path}: {found} pixels, expected {said}, the size of image {image.id} in the "
            "JSON file, after EXIF rotation"
        )
    return pixels


def objects_target(image: CocoImage, *, crowds: bool) -> Target:
    """boxes (N, 4), labels (N,), masks (N, H, W) of an image's objects."""
    objects = [one for one in image.objects if crowds or not one.crowd]
    masks = [_mask(image, one) for one in objects]
    return {
        "boxes": torch.tensor([one.box for one in objects], dtype=torch.float32).reshape(-1, 4),
        "labels": torch.tensor([one.label for one in objects], dtype=torch.long),
        "masks": torch.from_numpy(np.stack(masks)) if masks else torch.zeros(0, *image.size, dtype=torch.uint8),
    }


def _mask(image: CocoImage, one: CocoObject) -> np.ndarray:
    try:
        return decode_mask(one.segmentation, image.size)
    except (ValueError, RuntimeError) as error:
        raise InputError(f"{image.path}: annotation {one.id}: its mask can't be decoded ({error})") from None


def whole_target(image: CocoImage) -> Target:
    """The target of evaluation, crowds included."""
    return {
        **objects_target(image, crowds=True),
        "iscrowd": torch.tensor([int(one.crowd) for one in image.objects], dtype=torch.long),
        "area": torch.tensor([one.area for one in image.objects]),
        "size": torch.tensor(image.size),
    }


def collate(items: Sequence[tuple[Tensor, Target]]) -> tuple[list[Tensor], list[Target]]:
    """Keep images as a list, since their sizes differ; the network pads them."""
    return [image for image, _ in items], [target for _, target in items]


class CocoData(DataModule):
    """Images with COCO JSON files for training and evaluation; the classes are those of the files.

    Args:
        root: folder that the other paths are relative to.
        train_images, val_images, test_images: folders of images; train_annotations, val_annotations,
            test_annotations: their JSON files; None for the test split: the validation split.
        batch_size: images per batch and process.
        empty_images: whether to train on images without objects; the published detectors didn't.
        limit: maximum number of images per split; None: all.
        seed: of shuffling and augmentation.
    """

    collate = collate_evaluation = staticmethod(collate)

    def __init__(
        self,
        root: str = ".",
        *,
        train_images: str = "train2017",
        train_annotations: str = "annotations/instances_train2017.json",
        val_images: str = "val2017",
        val_annotations: str = "annotations/instances_val2017.json",
        test_images: str | None = None,
        test_annotations: str | None = None,
        batch_size: int = 2,
        num_workers: int = 2,
        preprocessing: DetectionPreprocessing = DetectionPreprocessing(),
        augmentation: DetectionAugmentation = DetectionAugmentation(),
        empty_images: bool = True,
        limit: int | None = None,
        seed: int = 0,
    ):
        super().__init__(Loading(batch_size, num_workers, seed))
        if limit is not None:
            at_least("limit", limit, 1)
        if (test_images is None) != (test_annotations is None):
            raise InputError(f"test_images {test_images}, test_annotations {test_annotations}, expected both or none")
        self.files = {
            "train": (Path(root, train_images), Path(root, train_annotations)),
            "val": (Path(root, val_images), Path(root, val_annotations)),
            "test": (Path(root, test_images or val_images), Path(root, test_annotations or val_annotations)),
        }
        self.preprocessing = preprocessing
        self.augmentation = augmentation
        self.empty_images = empty_images
        self.limit = limit
        self._read: dict[str, CocoFile] = {}

    @property
    def classes(self) -> list[str]:
        """Class names in label order."""
        return list(self.annotations("val").classes)

    @property
    def category_ids(self) -> list[int]:
        """The category ids of the JSON file in label order."""
        return list(self.annotations("val").category_ids)

    def annotations(self, split: str) -> CocoFile:
        """The annotations of a split ("train", "val" or "test")."""
        if split not in self._read:
            folder, path = self.files[split]
            self._read[split] = read_coco(path, folder)
        return self._read[split]

    def training_dataset(self) -> CocoImages:
        """The training split with augmentation."""
        train = self.annotations("train")
        self.expect_same_categories("train")
        if not any(not one.crowd for image in train.images for one in image.objects):
            raise InputError(f"{self.files['train'][1]}: 0 usable objects for training, expected at least one")
        images = [image for image in train.images if self.empty_images or any(not one.crowd for one in image.objects)]
        return CocoImages(images[: self.limit], preprocessing=self.preprocessing, augmentation=self.augmentation)

    def evaluation_dataset(self, split: str) -> CocoImages:
        """A split ("train", "val" or "test"), preprocessed for evaluation."""
        self.expect_same_categories(split)
        return CocoImages(self.annotations(split).images[: self.limit], preprocessing=self.preprocessing)

    def expect_same_categories(self, split: str) -> None:
        """Raise InputError unless a split has the categories of the validation split, which define the labels."""
        found, val = self.annotations(split), self.annotations("val")
        if (found.classes, found.category_ids) != (val.classes, val.category_ids):
            raise InputError(
                f"{self.files[split][1]} and {self.files['val'][1]}: different categories, expected the same in both"
            )
