"""Pictures in; a class for each pixel, the area of each class, and coloured pictures with a legend out."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torchvision.transforms.v2.functional import pil_to_tensor

from ..checkpoints.ours import load_ours
from ..checkpoints.published import load_published
from ..checkpoints.source import PUBLISHED_DATA
from ..data.images.reading import Picture
from ..data.segmentation.label_maps import paint, read_classes
from ..data.segmentation.pixels import read_colour_image
from ..data.segmentation.transforms import SegmentationPreprocessing
from ..drawing.legend import beside, distinct_colour, legend
from ..errors import InputError
from ..inference.sliding import check_window, label_map
from ..models import create_model
from ..models.segmentation.networks import SegmentationNetwork
from ..models.tasks import SEGMENTATION
from ..ops.fusion import fuse
from ..system.device import computing_in, find_precision

WINDOW = 1024
"""Side in pixels of the windows through which a larger picture is seen where the checkpoint names none."""
OVERLAP = 0.25
OPACITY = 0.55


class Segmenter:
    """A network in deploy form with preprocessing, classes and colours: `Segmenter.load(checkpoint="best.ckpt")("street.jpg")`.

    precision: fp32 or bf16.
    """

    def __init__(
        self,
        network: nn.Module,
        preprocessing: SegmentationPreprocessing,
        classes: Sequence[str],
        colours: Sequence[Sequence[int]],
        *,
        precision: str = "fp32",
    ):
        self.precision = find_precision(precision)
        self.network = fuse(network).to(memory_format=torch.channels_last)
        self.preprocessing = preprocessing
        self.classes = list(classes)
        self.colours = [tuple(colour) for colour in colours]
        self.use_windows(preprocessing.window, preprocessing.stride)

    @classmethod
    def load(cls, *, model: str | None = None, checkpoint: str | Path, precision: str = "fp32") -> "Segmenter":
        """From a checkpoint of ours; or from a published one, with its `model`, whose classes are ADE20K's or Cityscapes'."""
        ours = load_ours(checkpoint, task=SEGMENTATION.name, model=model)
        if ours is None:
            network = create_model(model)
            if not isinstance(network, SegmentationNetwork) or network.num_classes not in PUBLISHED_DATA:
                raise InputError(f"model {model!r}, expected a published segmenter such as ffnet_seg_ade20k or upernet_ffnet_2")
            name, preprocessing = PUBLISHED_DATA[network.num_classes]
            classes = read_classes(name)
            return cls(load_published(network, checkpoint), preprocessing, classes.names, classes.colours, precision=precision)
        network, info = ours
        names = info["classes"] or [str(label) for label in range(info["model_args"]["num_classes"])]
        colours = info.get("colours") or [distinct_colour(label) for label in range(len(names))]
        return cls(network, SegmentationPreprocessing.from_dict(info["preprocessing"]), names, colours, precision=precision)

    def use_windows(self, window: int | None, stride: int | None = None) -> None:
        """See pictures through windows of `window` pixels, None: 1024, every `stride`, None: with a quarter's overlap."""
        window = window or WINDOW
        stride = stride or max(round(window * (1 - OVERLAP)), 1)
        check_window(window, stride)
        self.preprocessing = replace(self.preprocessing, window=window, stride=stride)

    @torch.inference_mode()
    def __call__(self, picture: Picture, *, grey_images: bool = False) -> np.ndarray:
        """The label of each pixel of a path or Pillow image, (H, W) uint8, in its own size."""
        pixels = pil_to_tensor(read_colour_image(picture, grey_images=grey_images))
        pixels = pixels.to(next(self.network.parameters()).device)
        with computing_in(self.precision, pixels.device):
            return label_map(self.network, pixels, self.preprocessing).cpu().numpy()

    def areas(self, labels: np.ndarray) -> dict[str, int]:
        """The number of pixels of each class that occurs, largest first."""
        counts = np.bincount(labels.ravel(), minlength=len(self.classes))
        return {self.classes[label]: int(counts[label]) for label in np.argsort(-counts, kind="stable") if counts[label]}

    def draw(self, picture: Picture, labels: np.ndarray) -> Image.Image:
        """The picture under the colours of its classes, with a legend of those that occur at its right."""
        image = read_colour_image(picture, grey_images=True)
        overlay = Image.blend(image, paint(labels, self.colours).convert("RGB"), OPACITY)
        shares = {name: count / labels.size for name, count in self.areas(labels).items()}
        return beside(overlay, legend([(f"{name} {share:.1%}", self.colours[self.classes.index(name)]) for name, share in shares.items()]))
