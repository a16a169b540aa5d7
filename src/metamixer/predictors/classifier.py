"""Image classification: images in, classes and probabilities out."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self, TypeVar

import torch
from torch import Tensor

from ..data.images.class_names import imagenet_names
from ..data.images.given import name_of, pictures_of
from ..data.images.reading import Picture, read_image
from ..data.preprocessing import Preprocessing
from ..errors import MOST_VALUES, InputError, at_least
from ..models.tasks import CLASSIFICATION
from ..moved import find_moved_names
from .classification import Classification, Classifications
from .predictor import Network, Predictor, preprocessing_of

Item = TypeVar("Item")

BATCH_SIZE = 32
"""Images per batch."""


class Classifier(Predictor):
    """A network with its preprocessing and class names: `Classifier.load("best.ckpt")("cat.jpg")`."""

    task = CLASSIFICATION.name
    memory_format = torch.channels_last

    def __init__(
        self, network: Network, preprocessing: Preprocessing, classes: Sequence[str], *, precision: str = "fp32"
    ):
        super().__init__(network, precision=precision)
        self.preprocessing = preprocessing
        self.transform = preprocessing.transform()
        self.classes = list(classes)

    @classmethod
    def of(cls, network: Network, info: Mapping[str, Any]) -> Self:
        preprocessing = preprocessing_of(Preprocessing, info)
        classes = info["classes"] or imagenet_names(info["model_args"].get("num_classes", 0))
        if not classes:
            raise InputError("has no class names, expected a classifier")
        return cls(network, preprocessing, classes)

    def settings(self) -> dict[str, Any]:
        return {"classes": len(self.classes)}

    def example(self, *, batch_size: int = 1) -> Tensor:
        """Noise in the format of normalized images."""
        at_least("batch_size", batch_size, 1)
        shape = (min(batch_size, self._most_at_once()), *self.preprocessing.shape)
        return torch.randn(shape, generator=torch.Generator().manual_seed(0))

    def inputs(self, given: Any) -> Picture | list[Picture]:
        return pictures_of(given)

    def read(self, picture: Picture) -> Tensor:
        """Read and preprocess an image, rotated by its EXIF orientation, to (C, H, W); InputError names the file."""
        return self.transform(read_image(picture, mode=self.preprocessing.mode, name=name_of(picture)))

    def result(self, picture: Picture) -> Classification:
        return Classification.of(self.probabilities([self.read(picture)])[0], self.classes, picture)

    def __call__(self, given: Any, *, batch_size: int = BATCH_SIZE) -> Classification | Classifications:
        """The probabilities (classes,) of one image, or (N, classes) of several, with their classes.

        given: a path, a URL, a Pillow image, an array (H, W, 3), a tensor (3, H, W), or a folder or list of these.
        """
        at_least("batch_size", batch_size, 1)
        found = self.inputs(given)
        if not isinstance(found, list):
            return self.result(found)
        batches = self.batches(found, batch_size)
        rows = [self.probabilities([self.read(picture) for picture in batch]) for batch in batches]
        return Classifications.of(torch.cat(rows), self.classes, found)

    def batches(self, items: Sequence[Item], batch_size: int) -> Iterator[Sequence[Item]]:
        """The items in batches of `batch_size`, or of as many images as have room in memory."""
        step = min(batch_size, self._most_at_once())
        return (items[start : start + step] for start in range(0, len(items), step))

    def _most_at_once(self) -> int:
        return MOST_VALUES // math.prod(self.preprocessing.shape)

    def results(self, images: Mapping[Picture, Tensor]) -> Classifications:
        """Classify images that were read; images: image -> its output of `read`."""
        return Classifications.of(self.probabilities(list(images.values())), self.classes, list(images))

    @torch.inference_mode()
    def probabilities(self, images: Sequence[Tensor]) -> Tensor:
        """images: as returned by `read` -> probabilities (N, classes)."""
        with self.computing():
            logits = self.run(torch.stack(list(images)).to(self.device))
        if logits.ndim != 2 or logits.shape[1] != len(self.classes):
            raise InputError(f"output of shape {list(logits.shape)}, expected {len(self.classes)} classes")
        return logits.float().softmax(dim=1).cpu()

    def top(
        self, pictures: Sequence[Picture], k: int = 5, *, batch_size: int = BATCH_SIZE
    ) -> Iterator[list[tuple[str, float]]]:
        """For each image the top k classes with their probabilities, most probable first."""
        at_least("batch_size", batch_size, 1)
        for start in range(0, len(pictures), batch_size):
            yield from (each.top(k) for each in self(pictures[start : start + batch_size], batch_size=batch_size))


find_moved_names(__name__)  # names that 0.1.0 had here
