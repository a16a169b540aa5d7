"""The result of a classifier: probabilities with class names."""

from collections.abc import Iterator, Sequence
from typing import Any

from PIL import Image
from torch import Tensor

from ..data.images.given import name_of
from ..data.images.reading import Picture, read_image
from ..drawing.legend import beside, legend, stacked
from ..errors import counted
from .results import MOST_SHOWN, TensorResult

BAR = (70, 110, 180)


class Classification(TensorResult):
    """The probabilities (classes,) of one image.

    classes: class names; picture: the input image.
    """

    classes: list[str]
    picture: Picture

    @classmethod
    def of(cls, probabilities: Tensor, classes: Sequence[str], picture: Picture) -> "Classification":
        return cls.holding(probabilities, classes=list(classes), picture=picture, source=name_of(picture))

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.top(1)[0][0]

    @property
    def probability(self) -> float:
        """The probability of the most probable class."""
        return self.top(1)[0][1]

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """The k most probable classes with their probabilities, in descending order."""
        shares, indices = self.plain().topk(min(k, len(self.classes)))
        return [(self.classes[i], share) for i, share in zip(indices.tolist(), shares.tolist(), strict=True)]

    def draw(self) -> Image.Image:
        """The image, with its most probable classes to its right."""
        image = read_image(self.picture, name=self.source)
        return beside(image, legend([(f"{share:.1%}  {name}", BAR) for name, share in self.top(MOST_SHOWN)]))

    def to_dict(self, k: int = 5) -> dict[str, Any]:
        return {
            "image": self.source,
            "classes": [{"name": name, "probability": share} for name, share in self.top(k)],
        }

    def line(self) -> str:
        return "; ".join(f"{name} {share:.1%}" for name, share in self.top(MOST_SHOWN))


class Classifications(TensorResult):
    """The probabilities (N, classes) of several images; each row is a `Classification`."""

    classes: list[str]
    pictures: list[Picture]

    @classmethod
    def of(cls, probabilities: Tensor, classes: Sequence[str], pictures: Sequence[Picture]) -> "Classifications":
        return cls.holding(
            probabilities, classes=list(classes), pictures=list(pictures), source=counted(len(pictures), "image")
        )

    def __getitem__(self, key):
        row = self.plain()[key]
        return Classification.of(row, self.classes, self.pictures[key]) if isinstance(key, int) else row

    def __iter__(self) -> Iterator[Classification]:
        return (self[i] for i in range(len(self)))

    def draw(self) -> Image.Image:
        """All images with their classes, one below the other."""
        return stacked([each.draw() for each in self])

    def to_dict(self, k: int = 5) -> dict[str, Any]:
        return {"images": [each.to_dict(k) for each in self]}

    def line(self) -> str:
        return "; ".join(f"{each.source}: {each.label} {each.probability:.1%}" for each in self)
