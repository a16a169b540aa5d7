"""Which way up a picture is, by the remark of the camera that took it."""

from PIL import Image

ORIENTATION = 0x0112
"""EXIF's tag."""
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes an image upright, by EXIF's orientation."""


def find_turn(source: Image.Image | bytes) -> Image.Transpose | None:
    """What makes an image upright, by the EXIF of a decoded one or by EXIF alone; None where that tells nothing."""
    try:
        if isinstance(source, Image.Image):
            exif = source.getexif()
        else:
            exif = Image.Exif()
            exif.load(source)
        return TURNS.get(exif.get(ORIENTATION))
    except Exception:  # what cameras write is not always EXIF
        return None
