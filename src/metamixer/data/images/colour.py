"""Images in color: reading one as RGB, and refusing a gray one."""

from pathlib import Path

from PIL import Image

from ...errors import InputError
from .decoding import decoding
from .given import name_of
from .reading import Picture, is_grey, read_image


def read_colour_image(picture: Picture, *, grey_images: bool = False) -> Image.Image:
    """Open and decode an image as RGB; raises InputError for a gray one unless `grey_images`."""
    if not grey_images and isinstance(picture, Image.Image):
        expect_colour(picture.mode, name=name_of(picture))
    elif not grey_images:
        check_colour(Path(picture))
    return read_image(picture, name=name_of(picture))


def check_colour(picture: Path) -> None:
    """Raise InputError for a gray or unreadable image, without decoding it."""
    expect_colour(mode_of(picture), name=str(picture))


def mode_of(picture: Path) -> str:
    """The Pillow mode of an image file, without decoding it; raises InputError for an unreadable one."""
    with decoding(picture), Image.open(picture) as image:
        return image.mode


def expect_colour(mode: str, *, name: str) -> None:
    """Raise InputError for a gray Pillow mode."""
    if is_grey(mode):
        raise InputError(
            f"{name}: a gray image (mode {mode}), expected color; --grey_images (grey_images=True in Python, "
            "data.grey_images: true in a recipe) accepts it as three equal channels"
        )
