"""PNG files of 16 bits with color or alpha (ISO 15948), which Pillow truncates to 8 bits: torchvision reads them.

torchvision ends the process on a damaged file. Therefore it gets a file that is packed anew from checked parts.
"""

import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from ...errors import InputError

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

BANDS = {2: 3, 4: 2, 6: 4}
"""Number of bands by PNG's number of the kind of image: RGB, gray with alpha, RGBA."""

TRANSPARENT_COLOR = 6
"""Bytes of the color that is transparent, in an RGB file."""

LARGEST_FILTER = 4

METERS_PER_INCH = 0.0254

WHOLE = ((0, 0, 1, 1),)
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row, and steps, of each pass of an interlaced file."""


def is_deep_color_png(path: Path) -> bool:
    """Whether a file is a PNG of 16 bits with color or alpha."""
    with path.open("rb") as file:
        head = file.read(26)
    return head.startswith(PNG_SIGNATURE) and len(head) == 26 and head[24] == 16 and head[25] in BANDS


def decode_deep_png(path: Path) -> np.ndarray:
    """Decode to (H, W, C) uint16; raises InputError for a damaged file."""
    from torchvision.io import ImageReadMode, decode_image

    data = torch.frombuffer(bytearray(packed_anew(path.read_bytes(), path)), dtype=torch.uint8)
    with warnings.catch_warnings():
        # torchvision recommends another package for video.
        warnings.simplefilter("ignore", DeprecationWarning)
        return decode_image(data, ImageReadMode.UNCHANGED).permute(1, 2, 0).numpy()


def packed_anew(data: bytes, path: Path) -> bytes:
    """A PNG of the same pixels and transparent color, and nothing else; raises InputError for a damaged file."""
    parts: dict[bytes, bytes] = {}
    for name, content in chunks(data):
        parts[name] = parts.get(name, b"") + content
    head = parts.get(b"IHDR", b"")
    if len(head) != 13 or head[8:12] not in (bytes((16, kind, 0, 0)) for kind in BANDS) or head[12] > 1:
        raise InputError(f"{path}: the PNG has a damaged header")
    lengths = row_lengths(*struct.unpack_from(">2I", head), 2 * BANDS[head[9]], ADAM7 if head[12] else WHOLE)
    rows = unpacked(parts.get(b"IDAT", b""), sum(lengths))
    starts = np.cumsum([0, *lengths[:-1]])
    if len(rows) != sum(lengths) or np.frombuffer(rows, np.uint8)[starts].max() > LARGEST_FILTER:
        raise InputError(f"{path}: the PNG has damaged or missing pixels")
    transparent = parts.get(b"tRNS", b"") if head[9] == 2 else b""
    color = chunk(b"tRNS", transparent) if len(transparent) == TRANSPARENT_COLOR else b""
    packed = chunk(b"IDAT", zlib.compress(rows, 1))
    return PNG_SIGNATURE + chunk(b"IHDR", head) + color + packed + chunk(b"IEND", b"")


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The name and content of each chunk, up to the end or the first damaged one."""
    place = len(PNG_SIGNATURE)
    while place + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, place)
        content = data[place + 8 : place + 8 + length]
        if len(content) < length or name == b"IEND":
            return
        yield name, content
        place += 12 + length


def chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a file."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def row_lengths(width: int, height: int, pixel: int, passes: tuple[tuple[int, int, int, int], ...]) -> list[int]:
    """Bytes of each row with its filter, of all passes; pixel: bytes of a pixel."""
    lengths = []
    for left, top, step_x, step_y in passes:
        columns, rows = -(-(width - left) // step_x), -(-(height - top) // step_y)
        lengths += [1 + columns * pixel] * (rows if columns > 0 else 0)
    return lengths


def unpacked(data: bytes, most: int) -> bytes:
    """The decompressed bytes, at most this many; what precedes the damage in a damaged stream."""
    stream = zlib.decompressobj()
    try:
        return stream.decompress(data, most)
    except zlib.error:
        return b""


def write_deep_png(
    bands: np.ndarray,
    path: Path,
    *,
    icc_profile: bytes | None = None,
    exif: bytes | None = None,
    xmp: bytes | None = None,
    dpi: tuple[float, float] | None = None,
) -> None:
    """Write (H, W, 2, 3 or 4) uint16: gray with alpha, RGB or RGBA; dpi: pixels per inch, across and down."""
    height, width, count = bands.shape
    kind = {bands: kind for kind, bands in BANDS.items()}[count]
    rows = np.zeros((height, 1 + 2 * count * width), np.uint8)
    rows[:, 1:] = bands.astype(">u2").reshape(height, -1).view(np.uint8)
    with path.open("wb") as file:
        file.write(PNG_SIGNATURE + chunk(b"IHDR", struct.pack(">2I5B", width, height, 16, kind, 0, 0, 0)))
        if icc_profile:
            file.write(chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc_profile)))
        if exif:
            file.write(chunk(b"eXIf", exif.removeprefix(b"Exif\0\0")))
        if xmp:
            file.write(chunk(b"iTXt", b"XML:com.adobe.xmp" + bytes(5) + xmp))
        if dpi:
            file.write(chunk(b"pHYs", struct.pack(">2IB", *(round(each / METERS_PER_INCH) for each in dpi), 1)))
        file.write(chunk(b"IDAT", zlib.compress(rows.data, 6)) + chunk(b"IEND", b""))
