"""Rotation of images according to the EXIF orientation tag."""

from PIL import Image

ORIENTATION = 0x0112
"""EXIF tag."""
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> the transposition that makes the image upright."""
SIDEWAYS = [TURNS[orientation] for orientation in (5, 6, 7, 8)]
"""Transpositions that exchange width and height."""


def find_turn(source: Image.Image | bytes) -> Image.Transpose | None:
    """The transposition that makes an image upright, from a decoded image or EXIF bytes; None if there is none."""
    try:
        if isinstance(source, Image.Image):
            exif = source.getexif()
        else:
            exif = Image.Exif()
            exif.load(source)
        return TURNS.get(exif.get(ORIENTATION))
    except Exception:  # cameras also write invalid EXIF
        return None
