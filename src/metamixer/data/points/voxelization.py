"""From points to voxels and back: the one description that training, evaluation, prediction and checkpoints share."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from ...errors import InputError
from ...ops.sparse import LARGEST_COORDINATE
from ..preprocessing import Kept
from .clouds import Cloud

FEATURES: dict[str, tuple[str, int, Callable[[Cloud], np.ndarray | None]]] = {
    "position": ("coordinates", 3, lambda cloud: cloud.coordinates),
    "height": ("coordinates", 1, lambda cloud: cloud.coordinates[:, 2:] - np.percentile(cloud.coordinates[:, 2], 1)),
    "colour": ("colours", 3, lambda cloud: cloud.colours / 127.5 - 1),
    "normal": ("normals", 3, lambda cloud: cloud.normals),
    "intensity": ("intensity", 1, lambda cloud: cloud.intensity[:, None]),
}
"""Feature name -> the attribute of the cloud that it needs, its width, and its computation.

Height is relative to the 1st percentile, because scanners report some points below the ground.
"""


@dataclass(frozen=True)
class PointPreprocessing(Kept):
    """The input format of a point network.

    grid_size: side of a voxel in meters; features: names of `FEATURES`, in channel order; centred: positions are
    relative to the center of the cloud and its lowest point, else to the origin of the file, such as the scanner.
    """

    grid_size: float = 0.02
    features: tuple[str, ...] = ("colour", "normal")
    centred: bool = True

    def __post_init__(self):
        unknown = [name for name in self.features if name not in FEATURES]
        if unknown or not self.features:
            raise InputError(f"features {list(self.features)}, expected some of {', '.join(FEATURES)}")
        if not 0 < self.grid_size < np.inf:
            raise InputError(f"grid_size {self.grid_size}, expected a length in meters")

    @property
    def in_chans(self) -> int:
        """The number of input channels."""
        return sum(FEATURES[name][1] for name in self.features)

    def check(self, cloud: Cloud, name: str, *, scale: float = 1.0) -> None:
        """Raise InputError if the cloud lacks a feature's attribute, or is too large for the grid when scaled."""
        for feature in self.features:
            kind = FEATURES[feature][0]
            if getattr(cloud, kind) is None:
                raise InputError(f"{name}: no {kind}, expected because the network uses {', '.join(self.features)}")
        size = float(np.ptp(cloud.coordinates, axis=0).max())
        largest = (LARGEST_COORDINATE - 1) * self.grid_size / scale  # rounding may add a voxel
        if size > largest:
            enlarged = f" and views of {scale:g} times the size" if scale > 1 else ""
            raise InputError(
                f"{name}: {size:g} m from end to end, expected at most {largest:g} m with voxels of "
                f"{self.grid_size:g} m{enlarged}"
            )

    @classmethod
    def from_dict(cls, values: dict) -> Self:
        # Checkpoints without this key are of networks trained on uncentered positions.
        return super().from_dict({"centred": False, **values})

    def placed(self, cloud: Cloud) -> Cloud:
        """Center the cloud if positions are features relative to its center; applied before rotation and scaling."""
        return cloud.centred() if self.centred and "position" in self.features else cloud

    def grid(self, cloud: Cloud) -> "PointGrid":
        """Assign every point to a voxel."""
        cells = np.floor(cloud.coordinates / self.grid_size)
        cells = (cells - cells.min(axis=0)).astype(np.int64)
        side = cells.max(axis=0) + 1
        keys = (cells[:, 0] * side[1] + cells[:, 1]) * side[2] + cells[:, 2]
        order = np.argsort(keys, kind="stable")
        starts = np.flatnonzero(np.r_[True, np.diff(keys[order]) > 0])
        counts = np.diff(np.r_[starts, len(keys)])
        rows = np.empty(len(keys), dtype=np.int64)
        rows[order] = np.repeat(np.arange(len(starts)), counts)
        return PointGrid(cells, order, starts, counts, rows)

    def inputs(self, cloud: Cloud) -> Tensor:
        """The features of every point, (N, in_chans)."""
        columns = [FEATURES[name][2](cloud).astype(np.float32) for name in self.features]
        return torch.from_numpy(np.concatenate(columns, axis=1))


@dataclass(frozen=True)
class PointGrid:
    """Points grouped by voxel.

    cells: (N, 3) voxel coordinates of each point; order: point indices sorted by voxel; starts, counts: (M,) start and
    length of each voxel's points in `order`; rows: (N,) voxel index of each point.
    """

    cells: np.ndarray
    order: np.ndarray
    starts: np.ndarray
    counts: np.ndarray
    rows: np.ndarray

    def pick(self, turn: int | np.ndarray) -> np.ndarray:
        """One point of each voxel, (M,): its point number `turn`, modulo the voxel's count."""
        return self.order[self.starts + turn % self.counts]

    def fragments(self) -> Iterator[np.ndarray]:
        """Picks that together contain every point at least once: as many as the fullest voxel has points."""
        return map(self.pick, range(int(self.counts.max())))
