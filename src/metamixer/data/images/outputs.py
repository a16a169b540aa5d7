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
from ...system.locks import alone
from ..arrays import read_array

ABOUT = "about.json"
CROPS = "crops.npy"
KNOWN = "known.npy"

NEW = ("image bytes", "teacher.weights", "teacher.bfloat16")
"""What earlier caches don't tell."""


class OutputCache:
    """Arrays (views, width) in float16, one an output, in a folder with the crops they belong to.

    Args:
        folder: where the files are, or will be.
        about: what the outputs depend on: the teacher, the images, the crops. A folder of others is an InputError.
        crops: of each view, written where the folder is new.
        widths: of the outputs.
    """

    def __init__(self, folder: str | Path, about: Mapping[str, Any], crops: np.ndarray, widths: Sequence[int]):
        self.folder = Path(folder)
        self.about = dict(about)
        self.folder.mkdir(parents=True, exist_ok=True)
        with alone(self.folder / "files"):  # each process of a distributed training comes here
            if not (self.folder / ABOUT).is_file():
                np.save(self.folder / CROPS, crops)
                write_text(self.folder / ABOUT, json.dumps(self.about, indent=1))
        self._expect_same()
        self.crops = self._read_crops(crops)
        self.known = self._array(KNOWN, (len(self.crops),), np.bool_)
        names = [f"output_{number}.npy" for number in range(len(widths))]
        missing = [name for name in names if not (self.folder / name).is_file()]
        if missing and self.known.any():
            raise InputError(f"{self.folder}: no {missing[0]} for the views that are known: remove the folder")
        self.outputs = [
            self._array(name, (len(self.crops), width), np.float16) for name, width in zip(names, widths, strict=True)
        ]

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
            for array, output in zip(self.outputs, computed, strict=True):
                array[numbers[new]] = finite_halves(output)
            self.known[numbers[new]] = True
        return [torch.from_numpy(array[numbers]).to(views.device, torch.float32) for array in self.outputs]

    def _read_crops(self, given: np.ndarray) -> np.ndarray:
        path = self.folder / CROPS
        crops = read_array(path)
        if crops.shape != given.shape or crops.dtype != given.dtype or not np.isfinite(crops).all():
            raise InputError(
                f"{path}: {crops.dtype} {crops.shape}, expected finite {given.dtype} {given.shape}: remove the folder"
            )
        return crops

    def _array(self, name: str, shape: tuple[int, ...], dtype: type) -> np.ndarray:
        """A file's array, mapped into memory; a new one is of zeros, which take no space on disk."""
        path = self.folder / name
        with alone(self.folder / "files"):
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
        asked = json.loads(json.dumps(self.about))
        weights = asked.get("teacher.weights")
        if weights and weights == found.get("teacher.weights"):
            del asked["teacher"]  # one file has many names: its path, its folder's, that of a moved run
        for key, value in asked.items():
            if found.get(key) != value and (key in found or key not in NEW):
                raise InputError(
                    f"{self.folder}: a cache for {key} {found.get(key)!r}, expected one for {value!r}, or a new folder"
                )


def finite_halves(output: Tensor) -> np.ndarray:
    """Outputs in float16; raises InputError for those it can't represent."""
    halves = output.to(torch.float16).cpu().numpy()
    if not np.isfinite(halves).all():
        raise InputError(
            f"the teacher's outputs reach {output.abs().max().item():.3g}, expected finite ones up to 65504"
        )
    return halves


def map_array(path: Path, mode: str = "r") -> np.ndarray:
    """An array of a .npy file, mapped into memory; raises InputError that names it where it is none."""
    try:
        return np.lib.format.open_memmap(path, mode=mode)
    except Exception as error:  # NumPy parses the header as Python does
        raise InputError(f"{path}: can't be read ({first_line(error)}), expected an array: remove the folder") from None
