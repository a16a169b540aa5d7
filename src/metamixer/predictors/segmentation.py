"""The result of a segmenter: a class for each pixel."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from ..data.images.given import name_of
from ..data.images.reading import Picture, read_image
from ..data.segmentation.label_maps import paint
from ..drawing.legend import beside, legend
from ..system.files import write_png
from .results import MOST_SHOWN, ArrayResult

OPACITY = 0.55
"""Opacity of the class colors over the image."""


class Segmentation(ArrayResult):
    """The label map (H, W) uint8 of one image, in the size of the image.

    classes, colours, values: names, colors and values in label files by label; picture: the input image.
    `save("labels.png")` writes the values, `.jpg` the overlay, `.json` the areas.
    """

    classes: list[str]
    colours: list[tuple[int, int, int]]
    values: list[int]
    picture: Picture

    @classmethod
    def of(
        cls,
        labels: np.ndarray,
        *,
        classes: Sequence[str],
        colours: Sequence[Sequence[int]],
        values: Sequence[int] | None = None,
        picture: Picture,
    ) -> "Segmentation":
        """values: None: the labels."""
        values = range(len(classes)) if values is None else values
        about = {"classes": list(classes), "colours": list(colours), "values": list(values)}
        return cls.holding(labels, **about, picture=picture, source=name_of(picture))

    def areas(self) -> dict[str, int]:
        """The number of pixels of each class that occurs, largest first."""
        return count_labels(self.view(np.ndarray), self.classes)

    def shares(self) -> dict[str, float]:
        """The areas as fractions of the image."""
        return {name: count / self.size for name, count in self.areas().items()}

    def label_image(self) -> Image.Image:
        """A palette image of the values in the colors of the classes; 16-bit grayscale if a value is above 255."""
        return paint(self.view(np.ndarray), self.colours, self.values)

    def draw(self) -> Image.Image:
        """The image overlaid with the class colors, with a legend of the classes that occur to its right."""
        image = read_image(self.picture, name=self.source)
        overlay = Image.blend(image, paint(self.view(np.ndarray), self.colours).convert("RGB"), OPACITY)
        entries = [
            (f"{name} {share:.1%}", self.colours[self.classes.index(name)]) for name, share in self.shares().items()
        ]
        return beside(overlay, legend(entries))

    def writers(self):
        return {**super().writers(), ".png": lambda path: write_png(path, self.label_image())}

    def to_dict(self) -> dict[str, Any]:
        height, width = self.shape
        classes = {name: {"pixels": count, "share": count / self.size} for name, count in self.areas().items()}
        return {"image": self.source, "width": width, "height": height, "classes": classes}

    def line(self) -> str:
        return ", ".join(f"{name} {share:.1%}" for name, share in [*self.shares().items()][:MOST_SHOWN])


def count_labels(labels: np.ndarray, classes: Sequence[str]) -> dict[str, int]:
    """The count of each class that occurs, most frequent first."""
    counts = np.bincount(labels.ravel(), minlength=len(classes))
    return {classes[label]: int(counts[label]) for label in np.argsort(-counts, kind="stable") if counts[label]}
