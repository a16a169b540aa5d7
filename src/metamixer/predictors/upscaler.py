"""Super-resolution: images in, images of 2 to 4 times the size out, tile by tile in bounded memory."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from ..checkpoints.source import expect_name, weights_name
from ..errors import InputError
from ..inference.ensemble import check_ensemble
from ..models import list_models
from ..models.ffnet_sr import SCALES
from ..models.tasks import SUPER_RESOLUTION
from .image_to_image import ImageToImage, OnTile, Treatment
from .image_types import check_pixels
from .predictor import Network
from .upscaled import UpscaledArray, UpscaledImage, UpscaledTensor

FARTHEST = 2
"""Largest absolute value in floating point: outputs of a network may slightly exceed 1; 255 is another scale."""


class Upscaler(ImageToImage):
    """An upscaling network: `Upscaler("ffnet_sr_nano", scale=2)(image)` or `Upscaler.load("best.ckpt")(image)`.

    Args:
        model: a network's name; its own weights are used unless `checkpoint` is given. Or a network, with its `info`.
        scale: upscaling factor; None: the checkpoint's, or 2.
        checkpoint: a checkpoint of a training run, an exported file or a published checkpoint.
        memory: limit in MiB of the network's largest tensors, which determines the tile size.
        ensemble: 2, 4 or 8: the mean over as many mirrored and turned images, which takes as many times as long.
        backend, precision, device: see `load`.
    """

    task = SUPER_RESOLUTION.name
    array, tensor, picture = UpscaledArray, UpscaledTensor, UpscaledImage

    def __init__(
        self,
        model: str | Network | None = None,
        scale: int | None = None,
        *,
        info: Mapping[str, Any] | None = None,
        checkpoint: str | Path | None = None,
        memory: int = 256,
        ensemble: int | None = None,
        backend: str | None = None,
        precision: str = "fp32",
        device: str = "cpu",
    ):
        settings: dict[str, Any] = {"memory": memory, "ensemble": ensemble}
        if info is not None:
            super().__init__(model, info, **settings)
            return
        if model is not None and not isinstance(model, str):
            raise InputError("info None, expected the network's, as metamixer.load_checkpoint returns both")
        how = {"device": device, "backend": backend, "precision": precision}
        loaded = self.load(checkpoint, model=model, scale=scale, **settings, **how)
        super().__init__(loaded.network, loaded.info, **settings)
        self.source, self.precision, self.run = loaded.source, loaded.precision, loaded.run

    @classmethod
    def load(
        cls,
        source: str | Path | None = None,
        *,
        model: str | None = None,
        checkpoint: str | Path | None = None,
        scale: int | None = None,
        **settings,
    ) -> Self:
        """`Predictor.load`; a name means its weights for `scale`; settings: also `memory` and `ensemble`."""
        if scale is not None and scale not in SCALES:
            raise InputError(f"scale {scale}, expected one of {', '.join(map(str, SCALES))}")
        check_ensemble(settings.get("ensemble"))
        source = checkpoint if source is None else source
        if model is not None:
            expect_name(model, cls.task)
        if source is None or source in list_models(cls.task):
            source = weights_name(source or model, cls.task, scale=scale)
            model = None
        return super().load(source, model=model, scale=scale, **settings)

    def treatment(self, image: Any, *, on_tile: OnTile | None = None) -> Treatment:
        return Treatment(lambda pixels: self.enlarge(pixels, on_tile=on_tile), {"scale": self.scale})

    def enlarge(self, pixels: np.ndarray, *, on_tile: OnTile | None = None) -> np.ndarray:
        """pixels: (H, W, 1) gray or (H, W, 3), uint8, uint16 or float -> (scale * H, scale * W, C), of the same type.

        on_tile: called after each tile with (tiles done, all tiles).
        """
        check_pixels(pixels, limit=FARTHEST)
        return self.in_tiles(pixels, self.predicted, on_tile)
