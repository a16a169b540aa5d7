"""The result of a point segmenter: a class for each point of a cloud."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..data.arrays import write_arrays
from ..data.points.clouds import PREDICTION, Cloud, kind_of, write_labelled
from ..drawing.clouds import draw_cloud
from ..errors import InputError, counted
from .results import MOST_SHOWN, ArrayResult
from .segmentation import count_labels


class PointLabels(ArrayResult):
    """The class (N,) of every point.

    classes: class names by label; cloud: the points; file: the file they were read from, or None. `save` writes a copy
    of the file with the labels added, or an NPZ for a cloud that wasn't read from a file.
    """

    classes: list[str]
    cloud: Cloud
    file: Path | None

    @classmethod
    def of(cls, labels: np.ndarray, *, classes: Sequence[str], cloud: Cloud, file: Path | None) -> "PointLabels":
        return cls.holding(labels, classes=list(classes), cloud=cloud, file=file, source=str(file or "cloud"))

    def counts(self) -> dict[str, int]:
        """The number of points of each class that occurs, most frequent first."""
        return count_labels(self.view(np.ndarray), self.classes)

    def draw(self) -> Image.Image:
        """The cloud from above and from the side, with a legend."""
        return draw_cloud(self.cloud.coordinates, self.view(np.ndarray), self.classes)

    def writers(self):
        own = kind_of(self.file) if self.file is not None else ".npz"
        own = own if own in (".ply", ".las", ".laz") else ".npz"
        return {**super().writers(), own: self._write_cloud}

    def _write_cloud(self, path: Path) -> None:
        labels = self.view(np.ndarray)
        if self.file is not None:
            if not self.file.exists():
                raise InputError(f"{self.file}: no such file, expected the labeled cloud")
            write_labelled(self.file, path, labels)
            return
        write_arrays(path, {**self.cloud.arrays(), PREDICTION: labels.astype(np.int32)})

    def to_dict(self) -> dict[str, Any]:
        classes = {name: {"points": n, "share": n / len(self)} for name, n in self.counts().items()}
        return {"cloud": self.source, "points": len(self), "classes": classes}

    def line(self) -> str:
        shares = ", ".join(f"{name} {n / len(self):.1%}" for name, n in [*self.counts().items()][:MOST_SHOWN])
        return f"{counted(len(self), 'point')}: {shares}"
