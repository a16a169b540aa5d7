"""Results that are images, of the same type as the input: an array, a tensor or a Pillow image."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image

from ..data.images.given import as_array, picture_of
from ..data.images.lossless import FORMATS, PictureFile, metadata_of, write_picture_file
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


class ImageResult(Result):
    """An image; scale: how many times larger than the input. `save` writes an image file, whatever the type."""

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


class ImageArray(ImageResult, ArrayResult):
    """An image as an array."""

    __str__ = ArrayResult.__str__
    __repr__ = ArrayResult.__repr__


class ImageTensor(ImageResult, TensorResult):
    """An image as a tensor."""


class PillowImage(ImageResult, Image.Image):
    """A Pillow image.

    file: the image with the depth, color profile and EXIF data of its file; None without a file.
    """

    file: PictureFile | None

    @classmethod
    def of(cls, image: Image.Image, *, file: PictureFile | None = None, **about: Any) -> Self:
        """A Pillow image with these attributes."""
        result = cls()
        vars(result).update(vars(image), file=file, **about)
        return result

    @classmethod
    def of_file(cls, file: PictureFile, **about: Any) -> Self:
        """From a file; for 16-bit color, which Pillow doesn't support, the pixels are an 8-bit preview."""
        image = file.preview() if file.is_deep_colour else file.image()
        return cls.of(image, file=file, **about)

    @property
    def image(self) -> Image.Image:
        return self

    def save(self, fp, format: str | None = None, **options):
        """Save as Pillow does, with the metadata of the input; an image from a file also keeps its depth."""
        if self.file is None or format or options or not isinstance(fp, str | Path):
            return Image.Image.save(self, fp, format, **{**metadata_of(self), **options})
        path = Path(fp)
        if path.suffix.lower() not in SUFFIXES:
            raise InputError(f"{path}: expected a name that ends in one of {', '.join(SUFFIXES)}")
        write_picture_file(replace(self.file, format=SUFFIXES[path.suffix.lower()]), path)
        return path

    def show(self, *title, **options) -> None:
        """Open the image in the system's viewer."""
        Image.Image.show(self, *title, **options)
