"""A restorer, then an upscaler: photographs enlarged at scales for which no network does both."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .image_to_image import OnTile, Treatment
from .restorer import Restorer
from .upscaler import Upscaler


@dataclass(frozen=True)
class RestoreThenUpscale:
    """The upscaler's result for the restored image; the restorer keeps the size and chooses its strength."""

    restorer: Restorer
    upscaler: Upscaler

    @property
    def scale(self) -> int:
        """How many times larger results are."""
        return self.upscaler.scale

    def treatment(self, image: Any, *, on_tile: OnTile | None = None) -> Treatment:
        """Both treatments, one after the other; about: the restorer's estimate and strength."""
        first, second = self.restorer.treatment(image), self.upscaler.treatment(image, on_tile=on_tile)

        def change(pixels: np.ndarray) -> np.ndarray:
            return second.change(first.change(pixels))

        return Treatment(change, first.about)
