"""Decoding with Pillow: its errors as one-line InputErrors, and a limit on the number of pixels."""

import ctypes
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from PIL import Image

from ...errors import InputError, at_least, first_line

MAX_PIXELS = 178_956_970
"""Default limit of an image's pixels: Pillow's own, which is twice the number from which it warns."""

UNGUARDED = Image.MAX_IMAGE_PIXELS
"""The number from which Pillow warns outside of a `bomb_guard`."""


@contextmanager
def bomb_guard(max_pixels: int) -> Iterator[None]:
    """Make Pillow refuse larger images before decoding them, for a command with the option --max_pixels."""
    at_least("max_pixels", max_pixels, 1)
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = max_pixels
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


@contextmanager
def decoding(name: object) -> Iterator[None]:
    """Wrap opening and decoding an image; raises InputError that names the image if Pillow fails."""
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{name}: no such file") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        limit, more = Image.MAX_IMAGE_PIXELS, ", or a larger --max_pixels"
        if limit == UNGUARDED:
            limit, more = MAX_PIXELS, ": make it smaller"
        raise InputError(f"{name}: more than {limit} pixels, expected fewer{more}") from None
    except Exception as error:  # Pillow's decoders trip over files in any way
        raise InputError(f"{name}: not a readable image ({first_line(error)})") from None


def expect_whole(image: Image.Image) -> None:
    """Raise ValueError for a TIFF whose strips don't cover it: Pillow leaves the rest black, up to gigabytes of it."""
    if image.format == "TIFF" and image.tile:
        width, height = (max(tile[1][side] for tile in image.tile) for side in (2, 3))
        if width * height < image.width * image.height:
            raise ValueError(f"{image.width} x {image.height} pixels, of which it holds {width} x {height}")


def quieten_libtiff() -> None:
    """Let libtiff, as it comes with Pillow, print nothing on standard error: what is wrong is in our message."""
    for library in Path(Image.__file__).parent.parent.glob("pillow.libs/libtiff*"):
        with suppress(OSError, AttributeError):
            libtiff = ctypes.CDLL(str(library))
            for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
                handler = getattr(libtiff, name)
                handler.argtypes, handler.restype = [ctypes.c_void_p], ctypes.c_void_p
                handler(None)


quieten_libtiff()
# Pillow logs what is wrong with a TIFF, which Python prints on standard error where a program handles no logs.
logging.getLogger(Image.__name__.partition(".")[0]).addHandler(logging.NullHandler())
