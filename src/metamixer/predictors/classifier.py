"""Pictures in, classes and probabilities out."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from ..checkpoints.published_info import classifier_info
from ..data.images.class_names import imagenet_names
from ..data.images.reading import Picture, read_image
from ..data.preprocessing import Preprocessing
from ..errors import InputError
from ..models.tasks import CLASSIFICATION
from .predictor import Network, Predictor, preprocessing_of


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
            raise InputError("doesn't tell its classes, expected a classifier")
        return cls(network, preprocessing, classes)

    @classmethod
    def of_imagenet(cls, network: nn.Module) -> Self:
        """A timm network with ImageNet's classes, which knows its own preprocessing."""
        return cls.of(network, classifier_info(network))

    def example(self, *, batch_size: int = 1) -> Tensor:
        """Noise as pictures are once they are normalized."""
        shape = (batch_size, self.preprocessing.in_chans, self.preprocessing.size, self.preprocessing.size)
        return torch.randn(shape, generator=torch.Generator().manual_seed(0))

    def read(self, picture: Picture) -> Tensor:
        """A picture as the network takes it (C, H, W), turned upright by its EXIF remark; raises InputError that names
        it.
        """
        name = str(picture) if isinstance(picture, str | Path) else "image"
        return self.transform(read_image(picture, mode=self.preprocessing.mode, name=name))

    def __call__(self, pictures: Picture | Sequence[Picture]) -> Tensor:
        """pictures: a path or Pillow image -> probabilities (classes,); several -> (N, classes)."""
        if isinstance(pictures, Picture):
            return self([pictures])[0]
        if len(pictures) == 0:
            raise InputError("no pictures, expected at least one")
        return self.probabilities([self.read(picture) for picture in pictures])

    @torch.inference_mode()
    def probabilities(self, images: Sequence[Tensor]) -> Tensor:
        """images: as `read` gives them -> probabilities (N, classes)."""
        with self.computing():
            logits = self.run(torch.stack(list(images)).to(self.device))
        if logits.ndim != 2 or logits.shape[1] != len(self.classes):
            raise InputError(f"output of shape {list(logits.shape)}, expected {len(self.classes)} classes")
        return logits.float().softmax(dim=1).cpu()

    def top(
        self, pictures: Sequence[Picture], k: int = 5, *, batch_size: int = 32
    ) -> Iterator[list[tuple[str, float]]]:
        """For each picture the k likeliest classes with their probabilities, likeliest first."""
        for start in range(0, len(pictures), batch_size):
            yield from self.likeliest(self(pictures[start : start + batch_size]), k)

    def likeliest(self, probabilities: Tensor, k: int) -> list[list[tuple[str, float]]]:
        """probabilities: (N, classes) -> for each row the k likeliest classes with theirs, likeliest first."""
        shares, indices = probabilities.topk(min(k, len(self.classes)))
        rows = zip(indices.tolist(), shares.tolist(), strict=True)
        return [[(self.classes[index], share) for index, share in zip(*row, strict=True)] for row in rows]
