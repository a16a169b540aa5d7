"""Results that are images, of the same type as the input: an array, a tensor or a Pillow image."""

from contextlib import nullcontext
from inspect import get_annotations
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image

from ..data.images.given import as_array, deep_file_of, picture_of
from ..data.images.lossless import FORMATS, SUFFIXES, PictureFile, in_format_of, metadata_of, write_picture_file
from ..errors import InputError
from ..system.files import written_whole
from .results import ArrayResult, Result, TensorResult


class ImageResult(Result):
    """An image; scale: how many times larger than the input. `save` writes an image file, whatever the type."""

    scale: int

    @property
    def image(self) -> Image.Image:
        """The result as a Pillow image."""
        pixels = self._pixels()
        return picture_of(pixels.clip(0, 1) if pixels.dtype.kind == "f" else pixels)  # the network may exceed white

    def _pixels(self) -> np.ndarray:
        return self.view(np.ndarray) if isinstance(self, np.ndarray) else as_array(self.plain())

    def draw(self) -> Image.Image:
        return self.image

    def writers(self):
        def write(path: Path) -> None:
            pixels = self._pixels()
            if pixels.dtype.name == "uint16":
                write_picture_file(in_format_of(deep_file_of(pixels), path), path)
                return
            with written_whole(path) as part:
                form = SUFFIXES[path.suffix.lower()]
                self.image.save(part, format=form, **FORMATS[form])

        return {".json": super().writers()[".json"], **dict.fromkeys(SUFFIXES, write)}

    def to_dict(self) -> dict[str, Any]:
        width, height = self.image.size
        return {"image": self.source, "scale": self.scale, "width": width, "height": height}


class ImageArray(ImageResult, ArrayResult):
    """An image as an array."""


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

    def __getstate__(self):
        return Image.Image.__getstate__(self), {name: vars(self)[name] for name in self.fields() if name in vars(self)}

    def __setstate__(self, state) -> None:
        pixels, fields = state
        Image.Image.__setstate__(self, pixels)
        vars(self).update(fields)

    @classmethod
    def fields(cls) -> list[str]:
        """The names of the attributes that a plain Pillow image doesn't have."""
        return [name for base in cls.__mro__ if issubclass(base, Result) for name in get_annotations(base)]

    @property
    def image(self) -> Image.Image:
        return self

    def save(self, fp, format: str | None = None, **options) -> Path | None:
        """Save as Pillow does, with the metadata of the input; an image from a file also keeps its depth.

        Returns the path; None for an open file, which gets 8 bits of color. Raises InputError for an unknown suffix,
        and for options that would cost the depth.
        """
        if not isinstance(fp, str | Path):
            Image.Image.save(self, fp, format, **{**metadata_of(self), **options})
            return None
        path = Path(fp)
        if self.file is not None and self.file.is_deep_colour and (format or options):
            raise InputError(
                f"{path}: a format or options for color of 16 bits, expected none: Pillow would write 8 bits, as "
                "RESULT.file.preview().save does"
            )
        if self.file is None or format or options:
            if format is None and path.suffix.lower() not in Image.registered_extensions():
                raise InputError(f"{path}: expected a name that ends in one of {', '.join(SUFFIXES)}")
            form = format or Image.registered_extensions()[path.suffix.lower()]
            # Only Pillow itself can append to the file that is there.
            with nullcontext(path) if options.get("append") else written_whole(path) as target:
                Image.Image.save(self, target, form, **{**metadata_of(self), **options})
            return path
        if path.suffix.lower() not in SUFFIXES:
            raise InputError(f"{path}: expected a name that ends in one of {', '.join(SUFFIXES)}")
        write_picture_file(in_format_of(self.file, path), path)
        return path

    def show(self, *title, **options) -> None:
        """Open the image in the system's viewer."""
        Image.Image.show(self, *title, **options)
