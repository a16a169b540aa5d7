"""The result of a detector: the objects of an image."""

from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image
from torch import Tensor

from ..data.detection.coco_json import encode_mask
from ..data.images.given import name_of
from ..data.images.reading import Picture, read_image
from ..drawing.objects import draw_objects
from ..errors import counted
from .results import MOST_SHOWN, Result


class Detections(Result, dict[str, Tensor]):
    """boxes (N, 4) corners, scores (N,), labels (N,) and masks (N, H, W) bool, in pixels, highest score first.

    Each is both an attribute and a dictionary item. classes: class names by label; category_ids: COCO category ids by
    label; picture: the input image.
    """

    def __init__(
        self, found: Mapping[str, Tensor], *, classes: Sequence[str], category_ids: Sequence[int], picture: Picture
    ):
        super().__init__(found)
        self.classes = list(classes)
        self.category_ids = list(category_ids)
        self.picture = picture
        self.source = name_of(picture)

    boxes = property(lambda self: self["boxes"], doc="(N, 4): left, top, right, bottom.")
    scores = property(lambda self: self["scores"], doc="(N,): from 0 to 1.")
    labels = property(lambda self: self["labels"], doc="(N,): indices of `classes`.")
    masks = property(lambda self: self["masks"], doc="(N, height, width): True on the object.")

    @property
    def names(self) -> list[str]:
        """The class of each object."""
        return [self.classes[label] for label in self.labels.tolist()]

    def entries(self) -> list[dict[str, Any]]:
        """The objects as entries of a COCO results file, without the image id."""
        return [
            {
                "category_id": self.category_ids[label],
                "category": self.classes[label],
                "bbox": [round(value, 2) for value in (x1, y1, x2 - x1, y2 - y1)],
                "score": round(score, 5),
                "segmentation": encode_mask(mask.cpu().numpy()),
            }
            for (x1, y1, x2, y2), score, label, mask in zip(
                self.boxes.tolist(), self.scores.tolist(), self.labels.tolist(), self.masks, strict=True
            )
        ]

    def draw(self) -> Image.Image:
        """The image with its objects drawn in."""
        texts = [f"{name} {score:.0%}" for name, score in zip(self.names, self.scores.tolist(), strict=True)]
        return draw_objects(
            read_image(self.picture, name=self.source),
            boxes=self.boxes.cpu().numpy(),
            masks=self.masks.cpu().numpy(),
            labels=self.labels.tolist(),
            texts=texts,
        )

    def to_dict(self) -> dict[str, Any]:
        return {"image": self.source, "objects": self.entries()}

    def line(self) -> str:
        named = zip(self.names, self.scores.tolist(), strict=True)
        shown = [f"{name} {score:.2f}" for name, score in named]
        more = [f"{len(shown) - MOST_SHOWN} more"] if len(shown) > MOST_SHOWN else []
        return ", ".join(shown[:MOST_SHOWN] + more) or "nothing found"

    def __repr__(self) -> str:
        named = ", ".join(self.names[:MOST_SHOWN]) + (", ..." if len(self.names) > MOST_SHOWN else "")
        return f"Detections({self.source}: {counted(len(self.names), 'object')}{': ' if named else ''}{named})"
