"""The result of a restorer: the restored image, of the same type as the input, and what was found in the input."""

from typing import Any

from ..data.restoration.estimate import Estimate
from .image_results import ImageArray, ImageResult, ImageTensor, PillowImage


class Restored(ImageResult):
    """A restored image; estimate: of the input's noise and JPEG quality; strength: how much was restored, 0 to 1."""

    estimate: Estimate
    strength: float

    def to_dict(self) -> dict[str, Any]:
        found = {"noise": round(self.estimate.noise, 2), "jpeg_quality": self.estimate.quality}
        return {**super().to_dict(), **found, "strength": round(self.strength, 3)}

    def line(self) -> str:
        return f"{self.estimate}, strength {self.strength:.2f}"


class RestoredArray(Restored, ImageArray):
    """A restored array."""


class RestoredTensor(Restored, ImageTensor):
    """A restored tensor."""


class RestoredImage(Restored, PillowImage):
    """A restored Pillow image."""
