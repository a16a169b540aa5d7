"""Object detection: images in, boxes, masks, classes and scores out; and drawing them."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms.v2.functional import pil_to_tensor, to_pil_image
from torchvision.utils import draw_bounding_boxes, draw_segmentation_masks

from ..data.detection.coco_json import encode_mask
from ..data.detection.transforms import DetectionPreprocessing
from ..data.images.reading import Picture, read_image
from ..errors import InputWarning
from ..models.cascade_mask_rcnn import to_file
from ..models.tasks import DETECTION
from .predictor import Predictor, class_names, preprocessing_of

COLOURS = (
    "crimson",
    "royalblue",
    "forestgreen",
    "darkorange",
    "mediumorchid",
    "teal",
    "goldenrod",
    "deeppink",
    "sienna",
    "slateblue",
)
MASK_OPACITY = 0.45


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

    @torch.inference_mode()
    def __call__(self, picture: Picture, *, score_threshold: float = 0.05) -> dict[str, Tensor]:
        """Detect the objects in an image, given as a path or Pillow image.

        Returns boxes (N, 4), scores (N,), labels (N,) and masks (N, H, W) bool in pixels of the image.
        """
        pixels = pil_to_tensor(read_image(picture, name=str(picture)))
        image = self.preprocessing(pixels).to(self.device)
        with self.computing():
            found = self.run([image])[0]
        sure = found["scores"] >= score_threshold
        return to_file({key: value[sure] for key, value in found.items()}, image, pixels.shape[1:])

    def results(self, found: Mapping[str, Tensor]) -> list[dict[str, Any]]:
        """Convert detections to entries of a COCO result file, without the image id."""
        return [
            {
                "category_id": self.category_ids[label],
                "category": self.classes[label],
                "bbox": [round(value, 2) for value in (x1, y1, x2 - x1, y2 - y1)],
                "score": round(score, 5),
                "segmentation": encode_mask(mask.cpu().numpy()),
            }
            for (x1, y1, x2, y2), score, label, mask in zip(
                found["boxes"].tolist(), found["scores"].tolist(), found["labels"].tolist(), found["masks"], strict=True
            )
        ]

    def draw(self, picture: Picture, found: Mapping[str, Tensor]) -> Image.Image:
        """Draw the objects on the image."""
        pixels = pil_to_tensor(read_image(picture, name=str(picture)))
        labels = found["labels"].tolist()
        if not labels:
            return to_pil_image(pixels)
        colours = [COLOURS[label % len(COLOURS)] for label in labels]
        texts = [
            f"{self.classes[label]} {score:.0%}" for label, score in zip(labels, found["scores"].tolist(), strict=True)
        ]
        pixels = draw_segmentation_masks(pixels, found["masks"].cpu(), alpha=MASK_OPACITY, colors=colours)
        return to_pil_image(draw_bounding_boxes(pixels, found["boxes"].cpu(), labels=texts, colors=colours, width=2))


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
