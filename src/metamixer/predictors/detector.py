"""Object detection: images in, boxes, masks, classes and scores out."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn
from torchvision.transforms.v2.functional import pil_to_tensor

from ..data.detection.transforms import DetectionPreprocessing
from ..data.images.given import name_of, pictures_of
from ..data.images.reading import Picture, read_image
from ..errors import InputWarning
from ..models.cascade_mask_rcnn import to_file
from ..models.tasks import DETECTION
from .detections import Detections
from .predictor import Predictor, class_names, preprocessing_of


class Detector(Predictor):
    """A network with its preprocessing and categories: `Detector.load("best.ckpt")("street.jpg")`.

    categories: COCO's category id -> name, in label order. precision: fp32 or bf16.
    """

    task = DETECTION.name
    memory_format = torch.channels_last

    def __init__(
        self,
        network: nn.Module,
        preprocessing: DetectionPreprocessing,
        categories: Mapping[int, str],
        *,
        precision: str = "fp32",
    ):
        super().__init__(network, precision=precision)
        self.preprocessing = preprocessing
        self.category_ids = list(categories)
        self.classes = list(categories.values())

    @classmethod
    def of(cls, network: nn.Module, info: Mapping[str, Any]) -> Self:
        names = class_names(info, network.num_classes)
        numbers = info.get("category_ids") or range(1, len(names) + 1)
        return cls(network, preprocessing_of(DetectionPreprocessing, info), dict(zip(numbers, names, strict=True)))

    def settings(self) -> dict[str, Any]:
        return {"classes": len(self.classes)}

    def inputs(self, given: Any) -> Picture | list[Picture]:
        return pictures_of(given)

    @torch.inference_mode()
    def result(self, picture: Picture, *, score_threshold: float = 0.05) -> Detections:
        """The objects of an image with at least this score."""
        pixels = pil_to_tensor(read_image(picture, name=name_of(picture)))
        image = self.preprocessing(pixels).to(self.device)
        with self.computing():
            found = self.run([image])[0]
        sure = found["scores"] >= score_threshold
        found = to_file({key: value[sure] for key, value in found.items()}, image, pixels.shape[1:])
        return Detections(found, classes=self.classes, category_ids=self.category_ids, picture=picture)


def image_ids(paths: Sequence[Path]) -> list[int]:
    """Image ids from file names that are unique numbers (000000000139.jpg), else 1, 2, ...; warns if some are."""
    numbers: dict[int, Path] = {}
    odd = []
    for path in paths:
        number = int(path.stem) if path.stem.isascii() and path.stem.isdigit() else None
        if number is None or number in numbers:
            odd.append(path)
        else:
            numbers[number] = path
    if not odd:
        return list(numbers)
    if len(odd) < len(paths):
        said = f"{odd[0]}: not named by a unique number, so image_id counts the images, 1 to {len(paths)}"
        warnings.warn(said, InputWarning, stacklevel=2)
    return list(range(1, len(paths) + 1))
