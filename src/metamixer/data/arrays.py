"""NumPy's files, NPY and NPZ: what a header declares is compared with the file before memory is taken for it."""

import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..errors import InputError, first_line
from ..system.files import refuse_special, written_whole

MOST, TIMES = 256 * 2**20, 50
"""Bytes that the arrays of an NPZ may have: so many, or so many times the file's own."""
MAX_ARRAYS = 1_000


def read_array(path: Path) -> np.ndarray:
    """A .npy file; raises InputError that names it."""
    refuse_special(path)
    try:
        with path.open("rb") as file:
            return _read_npy(file, path.stat().st_size)
    except Exception as error:  # NumPy parses the header as Python does
        raise InputError(
            f"{path}: not a readable array ({first_line(error)}): truncated, or another kind of file"
        ) from None


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a .npz file by name; raises InputError that names it."""
    arrays, name = {}, "list of arrays"
    try:
        most = max(MOST, TIMES * path.stat().st_size)
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
            declared = sum(info.file_size for info in infos)
            if declared > most or len(infos) > MAX_ARRAYS:
                raise ValueError(f"{len(infos)} arrays of {declared} bytes, expected at most {MAX_ARRAYS} of {most}")
            for info in infos:
                name = info.filename.removesuffix(".npy")
                with archive.open(info) as file:
                    arrays[name] = _read_npy(file, info.file_size)
    except Exception as error:  # zipfile, zlib and NumPy each raise their own
        raise InputError(
            f"{path}: not a readable NPZ file ({name[:80]}: {first_line(error)}): truncated, or another kind of file"
        ) from None
    return arrays


def write_arrays(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a compressed .npz file atomically; unlike in NumPy's own function, an array may be named `file`."""
    with written_whole(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asarray(array), allow_pickle=False)


def _read_npy(file: BinaryIO, size: int) -> np.ndarray:
    version = np.lib.format.read_magic(file)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(
        version
    )
    if read_header is None:
        raise ValueError(f"version {version}, expected 1.0 or 2.0")
    shape, columns_first, dtype = read_header(file)
    if dtype.hasobject:
        raise ValueError("Object arrays can run code, expected numbers: not loaded")
    if min(shape, default=0) < 0 or len(shape) > 8 or math.prod(shape) * dtype.itemsize > size:
        raise ValueError(f"shape {list(shape)[:8]} of {dtype}, expected what {size} bytes hold")
    content = file.read(math.prod(shape) * dtype.itemsize)
    array = np.frombuffer(content, dtype, math.prod(shape))
    return array.reshape(shape, order="F" if columns_first else "C")
