"""The result of an upscaler: the enlarged image, of the same type as the input."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..data.images.given import as_array, picture_of
from ..data.images.lossless import FORMATS, PictureFile, write_picture_file
from ..errors import InputError
from ..system.files import written_whole
from .results import ArrayResult, Result, TensorResult

SUFFIXES = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}
"""Pillow's format by the suffix of a file's name."""


class Upscaled(Result):
    """An enlarged image; scale: the factor. `save` writes an image file, whatever the type."""

    scale: int

    @property
    def image(self) -> Image.Image:
        """The result as a Pillow image."""
        pixels = self.view(np.ndarray) if isinstance(self, np.ndarray) else as_array(self.plain())
        return picture_of(pixels.clip(0, 1) if pixels.dtype.kind == "f" else pixels)  # the network may exceed white

    def draw(self) -> Image.Image:
        return self.image

    def writers(self):
        def write(path: Path) -> None:
            with written_whole(path) as part:
                form = SUFFIXES[path.suffix.lower()]
                self.image.save(part, format=form, **FORMATS[form])

        return {".json": super().writers()[".json"], **dict.fromkeys(SUFFIXES, write)}

    def to_dict(self) -> dict[str, Any]:
        width, height = self.image.size
        return {"image": self.source, "scale": self.scale, "width": width, "height": height}

    def __str__(self) -> str:
        width, height = self.image.size
        return f"{width}x{height}, {self.scale} times larger"


class UpscaledArray(Upscaled, ArrayResult):
    """An enlarged array."""

    line = Upscaled.__str__
    __str__ = ArrayResult.__str__
    __repr__ = ArrayResult.__repr__


class UpscaledTensor(Upscaled, TensorResult):
    """An enlarged tensor."""


class UpscaledImage(Upscaled, Image.Image):
    """An enlarged Pillow image.

    file: the enlarged image with the depth, color profile and EXIF data of its file; None without a file.
    """

    file: PictureFile | None

    @classmethod
    def of(cls, image: Image.Image, *, scale: int, source: str, file: PictureFile | None = None) -> "UpscaledImage":
        result = cls()
        vars(result).update(vars(image), scale=scale, source=source, file=file)
        return result

    @classmethod
    def of_file(cls, file: PictureFile, *, scale: int, source: str) -> "UpscaledImage":
        """From a file; for 16-bit color, which Pillow doesn't support, the pixels are an 8-bit preview."""
        image = file.preview() if file.is_deep_colour else file.image()
        return cls.of(image, scale=scale, source=source, file=file)

    @property
    def image(self) -> Image.Image:
        return self

    def save(self, fp, format: str | None = None, **options):
        """Save as Pillow does; an image from a file keeps its depth, color profile and EXIF data."""
        if self.file is None or format or options or not isinstance(fp, str | Path):
            return Image.Image.save(self, fp, format, **options)
        path = Path(fp)
        if path.suffix.lower() not in SUFFIXES:
            raise InputError(f"{path}: expected a name that ends in one of {', '.join(SUFFIXES)}")
        write_picture_file(replace(self.file, format=SUFFIXES[path.suffix.lower()]), path)
        return path

    def show(self, *title, **options) -> None:
        """Open the image in the system's viewer."""
        Image.Image.show(self, *title, **options)
