"""Sparse voxels: features and positions, and cached relations between positions: neighbors, coarser grids, windows."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..errors import InputError
from ..moved import find_moved_names

COORDINATE_BITS = 17
MARGIN = 8
"""Room around the coordinates in a key, so that a neighbor's key is the voxel's plus a constant."""
LARGEST_COORDINATE = 2**COORDINATE_BITS - 1 - 2 * MARGIN
LARGEST_BATCH = 2 ** (63 - 3 * COORDINATE_BITS) - 1
LARGEST_KERNEL = 2 * MARGIN + 1

# A grid first used in inference mode may be trained on later, and inference tensors can't be saved for backward.
_outside_inference = torch.inference_mode(False)


@dataclass(frozen=True, eq=False)
class NeighborMap:
    """For one offset of each opposite pair: rows that have a neighbor at that offset, and the rows of the neighbors.

    pairs: (offset number, rows, neighbors), rows and neighbors (P,) int64; the opposite offset has them swapped.
    """

    kernel_size: int
    pairs: tuple[tuple[int, Tensor, Tensor], ...]

    def both_ways(self) -> list[tuple[int, Tensor, Tensor]]:
        """(index of the kernel's offset, output rows, input rows) for all offsets except the center."""
        last = self.kernel_size**3 - 1
        return [entry for i, rows, others in self.pairs for entry in ((i, rows, others), (last - i, others, rows))]


@dataclass(frozen=True, eq=False)
class Coarsening:
    """The step to a coarser resolution: its voxels, and for each fine voxel the row of the coarse one around it."""

    voxels: "VoxelGrid"
    rows: Tensor


@dataclass(frozen=True, eq=False)
class Windows:
    """Voxels grouped into windows, each padded to the size of the largest.

    window, slot: (N,) the window of each voxel and its index in it; mask: (windows, size), True for voxels.
    """

    window: Tensor
    slot: Tensor
    mask: Tensor

    @classmethod
    def of(cls, window: Tensor) -> "Windows":
        """From the window (N,) of each voxel, numbered from 0 without gaps."""
        counts = window.bincount()
        order = window.argsort(stable=True)
        first = (counts.cumsum(0) - counts).repeat_interleave(counts)
        ranks = torch.arange(len(window), device=window.device)
        slot = torch.empty_like(window).scatter_(0, order, ranks - first)
        return cls(window, slot, torch.arange(int(counts.max()), device=window.device) < counts[:, None])

    def split(self, features: Tensor) -> Tensor:
        """(N, C) -> (windows, size, C), padded with zeros."""
        padded = features.new_zeros(*self.mask.shape, features.shape[1])
        return padded.index_put((self.window, self.slot), features)

    def join(self, padded: Tensor) -> Tensor:
        """(windows, size, C) -> (N, C)."""
        return padded[self.window, self.slot]


@dataclass(frozen=True, eq=False)
class VoxelGrid:
    """Positions of voxels; caches their neighbors, coarser grids and windows.

    coordinates: (N, 3) integers from 0 to LARGEST_COORDINATE; batch: (N,) index of each voxel's scene.
    Voxels are unique.
    """

    coordinates: Tensor
    batch: Tensor
    _maps: dict[int, NeighborMap] = field(default_factory=dict, repr=False)
    _pools: dict[int, Coarsening] = field(default_factory=dict, repr=False)
    _windows: dict[int, Windows] = field(default_factory=dict, repr=False)
    _sorted: list[tuple[Tensor, Tensor]] = field(default_factory=list, repr=False)

    @classmethod
    def of(cls, coordinates: Tensor, batch: Tensor | None = None) -> "VoxelGrid":
        """Check integers; raises InputError for voxels that are negative, out of range or duplicated."""
        batch = coordinates.new_zeros(len(coordinates)) if batch is None else batch
        check_voxels(coordinates, batch)
        grid = cls(coordinates.long(), batch.long())
        keys, order = grid.sorted_keys()
        same = (keys[1:] == keys[:-1]).nonzero()
        if len(same):
            row = int(order[same[0, 0]])
            raise InputError(
                f"voxel {grid.coordinates[row].tolist()} of scene {int(grid.batch[row])} occurs more than once, "
                "expected every voxel once"
            )
        return grid

    def __len__(self) -> int:
        return len(self.coordinates)

    @_outside_inference
    def sorted_keys(self) -> tuple[Tensor, Tensor]:
        """Ascending keys (N,) and the row of each."""
        if not self._sorted:
            self._sorted.append(voxel_keys(self.coordinates, self.batch).sort())
        return self._sorted[0]

    @_outside_inference
    def neighbors(self, kernel_size: int) -> NeighborMap:
        """The neighbor map of a kernel size, cached."""
        if kernel_size not in self._maps:
            self._maps[kernel_size] = find_neighbors(*self.sorted_keys(), kernel_size=kernel_size)
        return self._maps[kernel_size]

    @_outside_inference
    def counts(self, kernel_size: int) -> Tensor:
        """The number of voxels in each voxel's neighborhood, itself included: (N, 1)."""
        rows = [rows for _, rows, _ in self.neighbors(kernel_size).both_ways()]
        neighbors = torch.cat([self.batch.new_empty(0), *rows]).bincount(minlength=len(self))
        return 1 + neighbors[:, None]

    @_outside_inference
    def pooled(self, stride: int = 2) -> Coarsening:
        """The grid of voxels `stride` times as wide, cached."""
        if stride not in self._pools:
            keys = voxel_keys(self.coordinates // stride, self.batch)
            keys, rows = torch.unique(keys, return_inverse=True)
            coarse = VoxelGrid(*split_keys(keys))
            coarse._sorted.append((keys, torch.arange(len(keys), device=keys.device)))
            self._pools[stride] = Coarsening(coarse, rows)
        return self._pools[stride]

    @_outside_inference
    def windows(self, side: int) -> Windows:
        """The voxels in cubes of `side` voxels a side, cached."""
        if side not in self._windows:
            self._windows[side] = Windows.of(self.pooled(side).rows)
        return self._windows[side]

    def to(self, device: torch.device | str) -> "VoxelGrid":
        """The same voxels on a device; itself, with what is cached, if they are there."""
        coordinates = self.coordinates.to(device=device)
        return self if coordinates is self.coordinates else VoxelGrid(coordinates, self.batch.to(device=device))


@dataclass(frozen=True, eq=False)
class SparseVoxels:
    """Features (N, C) of the voxels of a grid; a layer's output shares the grid of its input."""

    features: Tensor
    grid: VoxelGrid

    @classmethod
    def of(cls, features: Tensor, coordinates: Tensor, batch: Tensor | None = None) -> "SparseVoxels":
        """Check and combine features and positions.

        features: (N, C); coordinates: (N, 3) non-negative integers; batch: (N,) index of each voxel's scene, None for
        a single scene.

        Raises InputError if their lengths differ or a voxel is negative, out of range or duplicated.
        """
        if features.ndim != 2 or len(features) != len(coordinates):
            raise InputError(
                f"features of shape {list(features.shape)}, expected (N, C) with N {len(coordinates)}, "
                "the number of coordinates"
            )
        return cls(features, VoxelGrid.of(coordinates, batch))

    def with_features(self, features: Tensor) -> "SparseVoxels":
        """Other features (N, C) of the same voxels."""
        return SparseVoxels(features, self.grid)

    def __len__(self) -> int:
        return len(self.features)

    def __add__(self, other: "SparseVoxels | Tensor | float") -> "SparseVoxels":
        return self.with_features(self.features + self._features_of(other, "sum"))

    def __sub__(self, other: "SparseVoxels | Tensor | float") -> "SparseVoxels":
        return self.with_features(self.features - self._features_of(other, "difference"))

    def __mul__(self, other: "SparseVoxels | Tensor | float") -> "SparseVoxels":
        return self.with_features(self.features * self._features_of(other, "product"))

    __radd__, __rmul__ = __add__, __mul__

    def __rsub__(self, other: Tensor | float) -> "SparseVoxels":
        return self.with_features(other - self.features)

    def _features_of(self, other: "SparseVoxels | Tensor | float", name: str) -> Tensor | float:
        """The features of voxels of the same grid; a number, or a tensor of one for each channel, is itself."""
        if not isinstance(other, SparseVoxels):
            return other
        if other.grid is not self.grid:
            raise InputError(
                f"a {name} of {len(self)} and {len(other)} voxels of different grids, expected the same grid"
            )
        return other.features

    def to(self, *args, **kwargs) -> "SparseVoxels":
        """The features as `Tensor.to` makes them, such as `to("cuda")` or `to(torch.bfloat16)`, with their voxels."""
        features = self.features.to(*args, **kwargs)
        return SparseVoxels(features, self.grid.to(features.device))


def check_voxels(coordinates: Tensor, batch: Tensor) -> None:
    """Raise InputError for voxels that have no key."""
    if coordinates.ndim != 2 or coordinates.shape[1] != 3 or coordinates.is_floating_point():
        raise InputError(
            f"coordinates of shape {list(coordinates.shape)} and {coordinates.dtype}, expected (N, 3) integers"
        )
    if batch.shape != coordinates.shape[:1]:
        raise InputError(
            f"batch of shape {list(batch.shape)}, expected ({len(coordinates)},), the number of coordinates"
        )
    if not len(coordinates):
        raise InputError("no voxels, expected at least one")
    limits = (("coordinate", coordinates, LARGEST_COORDINATE), ("batch number", batch, LARGEST_BATCH))
    for name, values, largest in limits:
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > largest:
            raise InputError(f"{name} {low if low < 0 else high}, expected 0 to {largest}")


def voxel_keys(coordinates: Tensor, batch: Tensor) -> Tensor:
    """One int64 per voxel, ordered by (scene, x, y, z)."""
    x, y, z = (coordinates.long() + MARGIN).unbind(1)
    return ((batch.long() << COORDINATE_BITS | x) << COORDINATE_BITS | y) << COORDINATE_BITS | z


def split_keys(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates (N, 3) and scenes (N,) of keys."""
    mask = 2**COORDINATE_BITS - 1
    axes = [(keys >> COORDINATE_BITS * i & mask) - MARGIN for i in (2, 1, 0)]
    return torch.stack(axes, dim=1), keys >> 3 * COORDINATE_BITS


def find_neighbors(keys: Tensor, order: Tensor, *, kernel_size: int) -> NeighborMap:
    """keys: ascending (N,); order: the row of each.

    A single search per (dx, dy): voxels that differ only in z are adjacent.
    """
    if kernel_size % 2 == 0 or not 1 <= kernel_size <= LARGEST_KERNEL:
        raise InputError(f"kernel_size {kernel_size}, expected an odd number up to {LARGEST_KERNEL}")
    half = kernel_size // 2
    in_order = bool((order[1:] > order[:-1]).all())
    pairs = []
    for column in range((kernel_size**2 + 1) // 2):
        dx, dy = column // kernel_size - half, column % kernel_size - half
        shift = (dx << 2 * COORDINATE_BITS) + (dy << COORDINATE_BITS)
        position = torch.searchsorted(keys, keys + (shift - half))
        for dz in range(-half, half + 1 if (dx, dy) != (0, 0) else 0):
            here = position.clamp(max=len(keys) - 1)
            found = keys[here] == keys + (shift + dz)
            rows = found.nonzero().squeeze(1)
            others = here[rows]
            position = position + found
            pair = (rows, others) if in_order else (order[rows], order[others])
            pairs.append((column * kernel_size + dz + half, *pair))
    return NeighborMap(kernel_size, tuple(pairs))


find_moved_names(__name__)  # where 0.1.0 had them
