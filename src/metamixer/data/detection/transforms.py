"""Resizing and augmentation of images with their objects (as DETR and the paper)."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from ...errors import above_zero, expect_room, from_zero_to_one, rising
from ..chance import choose, happens, uniform
from ..preprocessing import Normalisation

ImageWithObjects = dict[str, Tensor]
"""image (3, H, W) uint8 and, if known, boxes (N, 4), masks (N, H, W), labels (N,); tv_tensors."""


@dataclass(frozen=True)
class DetectionPreprocessing(Normalisation):
    """The input format of a detector.

    short_side, long_side: the image is resized so that its shorter side has `short_side` pixels, or its longer side
    `long_side` if that makes it smaller.
    """

    short_side: int = 800
    long_side: int = 1333

    def __post_init__(self):
        super().__post_init__()
        above_zero("preprocessing sides", self.short_side, self.long_side)
        expect_room("preprocessing sides", (3, self.short_side, self.long_side))

    def __call__(self, image: Tensor) -> Tensor:
        """(3, H, W) uint8 -> (3, H', W'), resized and normalized."""
        return self.normalise(resize({"image": image}, self.short_side, self.long_side)["image"])


@dataclass(frozen=True)
class DetectionAugmentation:
    """Random changes of training images; the defaults are the paper's.

    short_sides: of the image, one drawn at random; long_side: maximum of the other side; crop_probability: of first
    resizing to one of crop_short_sides and cropping to sides within crop_range; hflip: probability of a flip.
    """

    short_sides: tuple[int, ...] = (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800)
    long_side: int = 1333
    crop_probability: float = 0.5
    crop_short_sides: tuple[int, ...] = (400, 500, 600)
    crop_range: tuple[int, int] = (384, 600)
    hflip: float = 0.5

    def __post_init__(self):
        above_zero("augmentation.long_side", self.long_side)
        for name in ("short_sides", "crop_short_sides", "crop_range"):
            above_zero(f"augmentation.{name}", *getattr(self, name))
        rising("augmentation.crop_range", self.crop_range)
        from_zero_to_one("augmentation.crop_probability, hflip", self.crop_probability, self.hflip)

    def __call__(self, sample: ImageWithObjects) -> ImageWithObjects:
        """Augment the sample and drop the objects outside it."""
        if happens(self.hflip):
            sample = each(sample, F.horizontal_flip)
        if happens(self.crop_probability):
            sample = resize(sample, choose(self.crop_short_sides), self.long_side)
            sample = crop(sample, *self.crop_range)
        return keep_visible(resize(sample, choose(self.short_sides), self.long_side))


def wrap(image: Tensor, boxes: Tensor, masks: Tensor, labels: Tensor) -> ImageWithObjects:
    """Wrap plain tensors as torchvision's tv_tensors."""
    size = (image.shape[1], image.shape[2])
    return {
        "image": tv_tensors.Image(image),
        "boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=size),
        "masks": tv_tensors.Mask(masks),
        "labels": labels,
    }


def each(sample: ImageWithObjects, change: Callable, *args, **kwargs) -> ImageWithObjects:
    """Apply a torchvision function to everything but the labels."""
    return {key: value if key == "labels" else change(value, *args, **kwargs) for key, value in sample.items()}


def resize(sample: ImageWithObjects, short_side: int, long_side: int) -> ImageWithObjects:
    """Resize the shorter side to `short_side`, or less, so that the longer side is at most `long_side`."""
    height, width = sample["image"].shape[-2:]
    scale = min(long_side / max(height, width), short_side / min(height, width))
    # No antialiasing, like the published detectors' library.
    return each(sample, F.resize, [max(int(side * scale + 0.5), 1) for side in (height, width)], antialias=False)


def crop(sample: ImageWithObjects, low: int, high: int) -> ImageWithObjects:
    """Crop a random region with sides between `low` and `high` pixels, or the image's if smaller."""
    height, width = sample["image"].shape[-2:]
    rows, columns = (uniform(min(side, low), min(side, high)) for side in (height, width))
    return each(sample, F.crop, uniform(0, height - rows), uniform(0, width - columns), rows, columns)


def keep_visible(sample: ImageWithObjects) -> ImageWithObjects:
    """Drop the objects whose box or mask is empty."""
    boxes, masks = sample["boxes"], sample["masks"]
    visible = (boxes[:, 2:] > boxes[:, :2]).all(dim=1) & masks.bool().flatten(1).any(dim=1)
    return {
        "image": sample["image"],
        "boxes": tv_tensors.wrap(boxes[visible], like=boxes),
        "masks": tv_tensors.wrap(masks[visible], like=masks),
        "labels": sample["labels"][visible],
    }
