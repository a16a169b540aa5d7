"""Semantic segmentation: images in, a class per pixel, areas of classes, and colored images with a legend out."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor

from ..data.images.colour import read_colour_image
from ..data.images.given import pictures_of
from ..data.images.reading import Picture
from ..data.segmentation.transforms import SegmentationPreprocessing
from ..drawing.legend import distinct_colours
from ..errors import InputError, expect_room
from ..inference.sliding import check_window, label_map
from ..models.tasks import SEGMENTATION
from .predictor import Network, Predictor, class_names, preprocessing_of
from .segmentation import Segmentation

WINDOW = 1024
"""Default side in pixels of the sliding window, unless the checkpoint defines it."""
OVERLAP = 0.25
MOST_CLASSES = 256
"""A label map has a byte for each pixel."""


class Segmenter(Predictor):
    """A network with its preprocessing, classes and colors: `Segmenter.load("best.ckpt")("street.jpg")`.

    values: of the classes in label files; None: their indices. grey_images: accept gray images, because the network
    was trained on some. precision: fp32 or bf16.
    """

    task = SEGMENTATION.name
    memory_format = torch.channels_last

    def __init__(
        self,
        network: Network,
        preprocessing: SegmentationPreprocessing,
        classes: Sequence[str],
        colours: Sequence[Sequence[int]],
        *,
        values: Sequence[int] | None = None,
        grey_images: bool = False,
        precision: str = "fp32",
    ):
        if len(classes) > MOST_CLASSES:
            raise InputError(f"{len(classes)} classes, expected at most {MOST_CLASSES}: a label map has 8 bits")
        super().__init__(network, precision=precision)
        self.classes = list(classes)
        self.colours = [tuple(colour) for colour in colours]
        self.values = list(range(len(classes)) if values is None else values)
        if not len(self.classes) == len(self.colours) == len(self.values):
            raise InputError(
                f"{len(self.colours)} colors and {len(self.values)} values of {len(self.classes)} classes, expected "
                "one for each"
            )
        self.grey_images = grey_images
        self.preprocessing = preprocessing
        self.use_windows(preprocessing.window, preprocessing.stride)

    @classmethod
    def of(cls, network: Network, info: Mapping[str, Any]) -> Self:
        names = class_names(info, info["model_args"].get("num_classes", 0))
        colours = info.get("colours") or distinct_colours(len(names))
        preprocessing = preprocessing_of(SegmentationPreprocessing, info)
        about = {"values": info.get("values"), "grey_images": info.get("grey_images", False)}
        return cls(network, preprocessing, names, colours, **about)

    def settings(self) -> dict[str, Any]:
        return {"classes": len(self.classes)}

    def example(self) -> Tensor:
        """Noise in the size of a window."""
        side = self.preprocessing.window
        expect_room("window", (1, 3, side, side))
        return torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))

    def use_windows(self, window: int | None, stride: int | None = None) -> None:
        """Set the sliding window: side in pixels (None: 1024) and stride (None: a quarter of overlap)."""
        window = window or WINDOW
        stride = stride or max(round(window * (1 - OVERLAP)), 1)
        check_window(window, stride)
        self.preprocessing = replace(self.preprocessing, window=window, stride=stride)

    def inputs(self, given: Any) -> Picture | list[Picture]:
        return pictures_of(given)

    @torch.inference_mode()
    def result(self, picture: Picture, *, grey_images: bool = False) -> Segmentation:
        """The label of each pixel of an image; grey_images: accept gray images, as if the training had some."""
        pixels = pil_to_tensor(read_colour_image(picture, grey_images=grey_images or self.grey_images))
        with self.computing():
            labels = label_map(self.run, pixels.to(self.device), self.preprocessing).cpu().numpy()
        about = {"classes": self.classes, "colours": self.colours, "values": self.values}
        return Segmentation.of(labels, **about, picture=picture)
