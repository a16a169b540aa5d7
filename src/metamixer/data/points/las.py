"""LAS and LAZ files: the header is judged here, and the points are decoded by a worker that may fail."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError
from ...system.worker import Worker
from . import las_worker

HEADER = 375
"""Bytes of the longest header, that of LAS 1.4; 227 of the shortest."""
COMPRESSION = 1_000
"""The most bytes of points that a byte of a LAZ file stands for."""
SMALL = 2**20
BASE, COPIES = 2**30, 12
"""Memory that the worker may take: for its libraries, and so many times the points."""
SECONDS, BYTES_PER_SECOND = 30, 2**21
"""CPU time of the worker: so much, and what it takes to decode the points this slowly."""


def read_las(path: Path) -> dict[str, np.ndarray]:
    """Arrays by name: coordinates, intensity, labels and, where the file has them, colours.

    Raises InputError that names the file where its header doesn't fit its size, or it can't be decoded within the
    limits of memory and time.
    """
    told, parts = _ask(path, {})
    shapes = told["arrays"].items()
    return {
        name: np.frombuffer(part, dtype).reshape(shape)
        for (name, (dtype, shape)), part in zip(shapes, parts, strict=True)
    }


def write_las(source: Path, part: Path, labels: np.ndarray, *, name: str, compress: bool) -> None:
    """Write the source with labels of its points to a file that exists; raises OSError where the disk refuses."""
    about = {"out": os.path.abspath(part), "name": name, "compress": compress}
    _ask(source, about, labels.astype(np.int32).tobytes())


def declared_size(path: Path) -> int:
    """Bytes of the points by the header; raises InputError where the file can't hold them."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(HEADER)
    if len(head) < 227 or head[:4] != b"LASF":
        raise InputError(f"{path}: not a readable LAS file (no header): truncated, or another kind of file")
    length = int.from_bytes(head[105:107], "little")
    old, new = int.from_bytes(head[107:111], "little"), int.from_bytes(head[247:255], "little")
    count = new if (head[24], head[25]) >= (1, 4) and len(head) >= 255 else old
    points = count * length
    factor = COMPRESSION if head[104] & 0xC0 else 1
    if points > factor * size + (SMALL if factor > 1 else 0):
        raise InputError(
            f"{path}: {count} points of {length} bytes by its header, expected fewer in {size} bytes: truncated, or "
            "not a LAS file"
        )
    return points


WORKER = Worker(las_worker.__file__)


def _ask(path: Path, about: dict[str, Any], *parts: bytes) -> tuple[dict[str, Any], list[bytes]]:
    if find_spec("laspy") is None:
        raise InputError(f"{path}: reading LAS needs laspy: pip install 'metamixer[points]'")
    try:
        points = declared_size(path)
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror})") from None
    seconds = SECONDS + points / BYTES_PER_SECOND
    asked = {"path": os.path.abspath(path), "memory": BASE + COPIES * points, **about}
    answer = WORKER.ask(asked, *parts, seconds=seconds)
    if answer is None:
        raise InputError(
            f"{path}: not a readable LAS file (its decoder failed, or took more than {seconds:.0f} s or "
            f"{asked['memory'] / 2**30:.1f} GiB)"
        )
    told, contents = answer
    if told.get("errno") and "out" in about:
        raise OSError(told["errno"], told["error"])
    if "error" in told:
        raise InputError(f"{path}: not a readable LAS file ({told['error']}): truncated?")
    return told, contents
