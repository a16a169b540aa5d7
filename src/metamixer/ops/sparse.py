"""Voxels of sparse 3D data and their submanifold convolution in plain PyTorch: forward, backward, any device, any odd kernel.

A submanifold convolution answers only where there is a voxel, and sees only voxels (Graham and others, 2018). Where the neighbours
are is found once for a resolution and kernel size (`NeighbourMap`); each kernel offset is then gather, matrix product, add.
The rows of one offset are all different, so that no two additions meet: the result doesn't depend on the order of threads.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..errors import InputError

COORDINATE_BITS = 17
MARGIN = 8
"""Room around the coordinates in a key, so that a neighbour's key is the voxel's plus a constant."""
LARGEST_COORDINATE = 2**COORDINATE_BITS - 1 - 2 * MARGIN
LARGEST_BATCH = 2 ** (63 - 3 * COORDINATE_BITS) - 1
LARGEST_KERNEL = 2 * MARGIN + 1

# A grid that was first used in inference may be trained on later, for which inference's own tensors can't be kept.
_outside_inference = torch.inference_mode(False)


@dataclass(frozen=True, eq=False)
class NeighbourMap:
    """For one offset of each opposite pair: rows whose neighbour at that offset exists, and the neighbour's rows.

    pairs: (offset number, rows, neighbours), rows and neighbours (P,) int64; the opposite offset has them swapped.
    """

    kernel_size: int
    pairs: tuple[tuple[int, Tensor, Tensor], ...]

    def both_ways(self) -> list[tuple[int, Tensor, Tensor]]:
        """(number of the kernel's offset, rows that receive, rows that give) of all offsets but the centre."""
        last = self.kernel_size**3 - 1
        return [entry for i, rows, others in self.pairs for entry in ((i, rows, others), (last - i, others, rows))]


@dataclass(frozen=True, eq=False)
class Pooling:
    """The step from a resolution to a coarser one: its voxels, and for each fine voxel the row of the one around it."""

    voxels: "VoxelGrid"
    rows: Tensor


@dataclass(frozen=True, eq=False)
class VoxelGrid:
    """Where voxels are; keeps what was once found out about their neighbours and about coarser grids.

    coordinates: (N, 3) integers from 0 to LARGEST_COORDINATE; batch: (N,) number of each voxel's scene. Every voxel is there once.
    """

    coordinates: Tensor
    batch: Tensor
    _maps: dict[int, NeighbourMap] = field(default_factory=dict, repr=False)
    _pools: dict[int, Pooling] = field(default_factory=dict, repr=False)
    _sorted: list[tuple[Tensor, Tensor]] = field(default_factory=list, repr=False)

    @classmethod
    def of(cls, coordinates: Tensor, batch: Tensor | None = None) -> "VoxelGrid":
        """From any integers; raises InputError for voxels that are negative, too far out or there twice."""
        batch = coordinates.new_zeros(len(coordinates)) if batch is None else batch
        check_voxels(coordinates, batch)
        grid = cls(coordinates.long(), batch.long())
        keys, order = grid.sorted_keys()
        same = (keys[1:] == keys[:-1]).nonzero()
        if len(same):
            row = int(order[same[0, 0]])
            raise InputError(
                f"voxel {grid.coordinates[row].tolist()} of scene {int(grid.batch[row])} is there more than once, expected every voxel once"
            )
        return grid

    def __len__(self) -> int:
        return len(self.coordinates)

    @_outside_inference
    def sorted_keys(self) -> tuple[Tensor, Tensor]:
        """Rising keys (N,) and the row of each."""
        if not self._sorted:
            self._sorted.append(voxel_keys(self.coordinates, self.batch).sort())
        return self._sorted[0]

    @_outside_inference
    def neighbours(self, kernel_size: int) -> NeighbourMap:
        """The neighbour map of a kernel, made at the first call."""
        if kernel_size not in self._maps:
            self._maps[kernel_size] = find_neighbours(*self.sorted_keys(), kernel_size=kernel_size)
        return self._maps[kernel_size]

    @_outside_inference
    def pooled(self, stride: int = 2) -> Pooling:
        """The grid of voxels `stride` times as wide, made at the first call."""
        if stride not in self._pools:
            keys = voxel_keys(self.coordinates // stride, self.batch)
            keys, rows = torch.unique(keys, return_inverse=True)
            coarse = VoxelGrid(*split_keys(keys))
            coarse._sorted.append((keys, torch.arange(len(keys), device=keys.device)))
            self._pools[stride] = Pooling(coarse, rows)
        return self._pools[stride]

    def to(self, device: torch.device | str) -> "VoxelGrid":
        """The same voxels on another device."""
        return VoxelGrid(self.coordinates.to(device), self.batch.to(device))


@dataclass(frozen=True, eq=False)
class SparseVoxels:
    """Features (N, C) of the voxels of a grid; what comes out of a layer shares the grid."""

    features: Tensor
    grid: VoxelGrid

    @classmethod
    def of(cls, features: Tensor, coordinates: Tensor, batch: Tensor | None = None) -> "SparseVoxels":
        """features: (N, C); coordinates: (N, 3) integers, not negative; batch: (N,) number of each voxel's scene, None for one scene.

        Raises InputError where their lengths differ or a voxel is negative, too far out or there twice.
        """
        if features.ndim != 2 or len(features) != len(coordinates):
            raise InputError(
                f"features of shape {list(features.shape)}, expected (N, C) with N {len(coordinates)}, the number of coordinates"
            )
        return cls(features, VoxelGrid.of(coordinates, batch))

    def with_features(self, features: Tensor) -> "SparseVoxels":
        """Other features (N, C) of the same voxels."""
        return SparseVoxels(features, self.grid)

    def __len__(self) -> int:
        return len(self.features)

    def __add__(self, other: "SparseVoxels") -> "SparseVoxels":
        if other.grid is not self.grid:
            raise InputError(f"a sum of {len(self)} and {len(other)} voxels of different grids, expected the same grid")
        return self.with_features(self.features + other.features)

    def to(self, device: torch.device | str) -> "SparseVoxels":
        """The same on another device."""
        return SparseVoxels(self.features.to(device), self.grid.to(device))


def check_voxels(coordinates: Tensor, batch: Tensor) -> None:
    """Refuse what has no key."""
    if coordinates.ndim != 2 or coordinates.shape[1] != 3 or coordinates.is_floating_point():
        raise InputError(f"coordinates of shape {list(coordinates.shape)} and {coordinates.dtype}, expected (N, 3) integers")
    if batch.shape != coordinates.shape[:1]:
        raise InputError(f"batch of shape {list(batch.shape)}, expected ({len(coordinates)},), the number of coordinates")
    if not len(coordinates):
        raise InputError("no voxels, expected at least one")
    for name, values, largest in (("coordinate", coordinates, LARGEST_COORDINATE), ("batch number", batch, LARGEST_BATCH)):
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > largest:
            raise InputError(f"{name} {low if low < 0 else high}, expected 0 to {largest}")


def voxel_keys(coordinates: Tensor, batch: Tensor) -> Tensor:
    """One int64 a voxel, rising by (scene, x, y, z)."""
    x, y, z = (coordinates.long() + MARGIN).unbind(1)
    return ((batch.long() << COORDINATE_BITS | x) << COORDINATE_BITS | y) << COORDINATE_BITS | z


def split_keys(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates (N, 3) and scenes (N,) of keys."""
    mask = 2**COORDINATE_BITS - 1
    axes = [(keys >> COORDINATE_BITS * i & mask) - MARGIN for i in (2, 1, 0)]
    return torch.stack(axes, dim=1), keys >> 3 * COORDINATE_BITS


def find_neighbours(keys: Tensor, order: Tensor, *, kernel_size: int) -> NeighbourMap:
    """keys: rising (N,); order: the row of each.

    One search for each (dx, dy): voxels that differ in z alone follow one another.
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
    return NeighbourMap(kernel_size, tuple(pairs))


class _SubmanifoldConvolution(torch.autograd.Function):
    """x (N, C), weight (k**3, C, C') -> (N, C'); sums of half precision are kept in float32."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, neighbours: NeighbourMap) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.neighbours = neighbours
        total = _sum_type(x @ weight[len(weight) // 2])
        for i, rows, others in neighbours.both_ways():
            if len(rows):
                total.index_add_(0, rows, _sum_type(x.index_select(0, others) @ weight[i]))
        return total.to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor):
        x, weight = ctx.saved_tensors
        gradient, centre = gradient.contiguous(), len(weight) // 2
        wants_x, wants_weight = ctx.needs_input_grad[:2]
        of_x = _sum_type(gradient @ weight[centre].T) if wants_x else None
        of_weight = torch.zeros_like(weight) if wants_weight else None
        if wants_weight:
            of_weight[centre] = x.T @ gradient
        for i, rows, others in ctx.neighbours.both_ways():
            if not len(rows):
                continue
            part = gradient.index_select(0, rows)
            if wants_x:
                of_x.index_add_(0, others, _sum_type(part @ weight[i].T))
            if wants_weight:
                of_weight[i] = x.index_select(0, others).T @ part
        return of_x if of_x is None else of_x.to(x.dtype), of_weight, None


def _sum_type(product: Tensor) -> Tensor:
    return product.float() if product.dtype in (torch.bfloat16, torch.float16) else product


def submanifold_convolution(voxels: SparseVoxels, weight: Tensor, bias: Tensor | None = None) -> SparseVoxels:
    """weight: (out, k, k, k, in) with an odd k -> features (N, out) of the same voxels; zeros where there is no voxel.

    Under autocast it computes in the precision of autocast.
    """
    x, kernel_size = voxels.features, weight.shape[1]
    if x.shape[1] != weight.shape[-1]:
        raise InputError(f"features of {x.shape[1]} channels, expected {weight.shape[-1]}, the convolution's")
    if torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
        x, weight = x.to(dtype), weight.to(dtype)
    matrices = weight.flatten(1, 3).permute(1, 2, 0).contiguous()
    result = _SubmanifoldConvolution.apply(x, matrices, voxels.grid.neighbours(kernel_size))
    return voxels.with_features(result if bias is None else result + bias.to(result.dtype))


def pool_max(voxels: SparseVoxels, stride: int = 2) -> SparseVoxels:
    """The largest of each feature in voxels `stride` times as wide."""
    pooling = voxels.grid.pooled(stride)
    x = voxels.features
    empty = x.new_empty(len(pooling.voxels), x.shape[1])
    rows = pooling.rows[:, None].expand_as(x)
    return SparseVoxels(empty.scatter_reduce(0, rows, x, "amax", include_self=False), pooling.voxels)


def unpool(coarse: SparseVoxels, grid: VoxelGrid, stride: int = 2) -> SparseVoxels:
    """Each voxel of `grid` gets the features of the coarse voxel around it."""
    pooling = grid.pooled(stride)
    if pooling.voxels is not coarse.grid:
        raise InputError(f"{len(coarse)} voxels that weren't pooled from the grid of {len(grid)}, expected its own coarse grid")
    return SparseVoxels(coarse.features.index_select(0, pooling.rows), grid)
