"""A teacher's outputs for each view of a data set, on disk: computed at first sight, read from then on."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import InputError, first_line
from ...system.files import write_text
from ..arrays import read_array

ABOUT = "about.json"
CROPS = "crops.npy"
KNOWN = "known.npy"

NEW = ("image bytes", "teacher.weights")
"""What earlier caches don't tell."""


class OutputCache:
    """Arrays (views, width) in float16, one an output, in a folder with the crops they belong to.

    Args:
        folder: where the files are, or will be.
        about: what the outputs depend on: the teacher, the images, the crops. A folder of others is an InputError.
        crops: of each view, written where the folder is new.
    """

    def __init__(self, folder: str | Path, about: Mapping[str, Any], crops: np.ndarray):
        self.folder = Path(folder)
        self.about = dict(about)
        if not (self.folder / ABOUT).is_file():
            self.folder.mkdir(parents=True, exist_ok=True)
            np.save(self.folder / CROPS, crops)
            write_text(self.folder / ABOUT, json.dumps(self.about, indent=1))
        self._expect_same()
        self.crops = self._read_crops(crops)
        self.known = self._array(KNOWN, (len(self.crops),), np.bool_)
        self.outputs: list[np.ndarray] = []
        self._open([self._width(path) for path in self._files()])

    def __deepcopy__(self, memo: dict) -> "OutputCache":
        """Itself: two copies would write the same files."""
        return self

    def __call__(self, views: Tensor, compute: Callable[[Tensor], Sequence[Tensor]]) -> list[Tensor]:
        """The outputs of views by number, (B, width) each; those not known yet by `compute` from their places in the
        batch.
        """
        numbers = views.cpu().numpy()
        new = np.flatnonzero(~self.known[numbers])
        if len(new):
            computed = compute(torch.from_numpy(new))
            self._open([output.shape[1] for output in computed])
            for array, output in zip(self.outputs, computed, strict=True):
                array[numbers[new]] = output.cpu().numpy()
            self.known[numbers[new]] = True
        return [torch.from_numpy(array[numbers]).to(views.device, torch.float32) for array in self.outputs]

    def _open(self, widths: Sequence[int]) -> None:
        if len(self.outputs) < len(widths):  # of a run that was stopped between them, some are there
            self.outputs = [
                self._array(f"output_{number}.npy", (len(self.crops), width), np.float16)
                for number, width in enumerate(widths)
            ]

    def _read_crops(self, given: np.ndarray) -> np.ndarray:
        path = self.folder / CROPS
        crops = read_array(path)
        if crops.shape != given.shape or crops.dtype != given.dtype or not np.isfinite(crops).all():
            raise InputError(
                f"{path}: {crops.dtype} {crops.shape}, expected finite {given.dtype} {given.shape}: remove the folder"
            )
        return crops

    def _width(self, path: Path) -> int:
        array = map_array(path)
        if array.ndim != 2:
            raise InputError(f"{path}: shape {list(array.shape)}, expected (views, width): remove the folder")
        return array.shape[1]

    def _files(self) -> list[Path]:
        """Those of outputs that are there."""
        numbers = {path: path.stem.removeprefix("output_") for path in self.folder.glob("output_*.npy")}
        return sorted((path for path in numbers if numbers[path].isdecimal()), key=lambda path: int(numbers[path]))

    def _array(self, name: str, shape: tuple[int, ...], dtype: type) -> np.ndarray:
        """A file's array, mapped into memory; a new one is of zeros, which take no space on disk."""
        path = self.folder / name
        if not path.is_file():
            return np.lib.format.open_memmap(path, "w+", dtype, shape)
        map_array(path)  # "r+" would lengthen a file that is too short
        array = map_array(path, "r+")
        if array.shape != shape or array.dtype != dtype:
            raise InputError(
                f"{path}: {array.dtype} {array.shape}, expected {np.dtype(dtype)} {shape}: remove the folder"
            )
        return array

    def _expect_same(self) -> None:
        path = self.folder / ABOUT
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(found, dict):
                raise ValueError(f"a {type(found).__name__}")
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(
                f"{path}: can't be read ({first_line(error)}), expected what a cache's outputs depend on"
            ) from None
        for key, value in json.loads(json.dumps(self.about)).items():
            if found.get(key) != value and (key in found or key not in NEW):
                raise InputError(
                    f"{self.folder}: a cache for {key} {found.get(key)!r}, expected one for {value!r}, or a new folder"
                )


def map_array(path: Path, mode: str = "r") -> np.ndarray:
    """An array of a .npy file, mapped into memory; raises InputError that names it where it is none."""
    try:
        return np.lib.format.open_memmap(path, mode=mode)
    except Exception as error:  # NumPy parses the header as Python does
        raise InputError(f"{path}: can't be read ({first_line(error)}), expected an array: remove the folder") from None
