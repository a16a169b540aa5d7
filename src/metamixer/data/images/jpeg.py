"""How strongly a file was compressed: JPEG's quality by its quantization tables, and whether a format is lossy."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

MOST_CHUNKS = 100
"""Parts of a WebP file among which the pixels are looked for."""

LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
"""Quantization table of quality 50 (ITU-T T.81, annex K)."""


def luminance_table(quality: int) -> np.ndarray:
    """The quantization table of a quality from 1 to 100, by the formula of libjpeg."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return ((LUMINANCE * scale + 50) // 100).clip(1, 255)


def table_quality(table: Sequence[int]) -> int:
    """The quality whose quantization table is nearest to a file's table for luminance, in any order."""
    return min(range(1, 101), key=lambda quality: abs(int(luminance_table(quality).sum()) - sum(table)))


def file_quality(image: Image.Image) -> int | None:
    """The quality of a JPEG file opened by Pillow; None for other images."""
    tables = getattr(image, "quantization", None)
    return table_quality(tables[min(tables)]) if tables else None


def is_lossy(path: Path) -> bool:
    """Whether a file is a JPEG or a lossy WebP, by its content; False for a file that can't be read."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            head = file.read(12)
            if head[:4] != b"RIFF" or head[8:] != b"WEBP":
                return head[:3] == b"\xff\xd8\xff"
            return b"VP8L" not in islice(_chunks(file), MOST_CHUNKS)
    except OSError:
        return False


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    """The names of a WebP file's chunks."""
    while len(header := file.read(8)) == 8:
        yield header[:4]
        size = int.from_bytes(header[4:], "little")
        file.seek(size + size % 2, 1)
