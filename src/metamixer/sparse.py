"""Sparse voxels and their submanifold convolution in plain PyTorch: forward, backward, any device, any odd kernel size.

A submanifold convolution computes outputs only where there is a voxel, and reads only voxels (Graham et al., 2018).
Neighbors are searched once per resolution and kernel size (`NeighborMap`); each kernel offset is then a gather, a
product and an add. The rows of one offset are all different, so additions never collide and the result doesn't depend
on threads.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .errors import InputError

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
        """(index of the kernel's offset, rows that receive, rows that give) for all offsets except the center."""
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

    window, slot: (N,) the window of each voxel and its place there; mask: (windows, size), True where there is a voxel.
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
        """(N, C) -> (windows, size, C), zeros where there is no voxel."""
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
                f"voxel {grid.coordinates[row].tolist()} of scene {int(grid.batch[row])} is there more than once, "
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
        """The same voxels on another device."""
        return VoxelGrid(self.coordinates.to(device), self.batch.to(device))


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

    def __add__(self, other: "SparseVoxels") -> "SparseVoxels":
        return self.with_features(self.features + self._same_grid(other, "sum"))

    def __mul__(self, other: "SparseVoxels") -> "SparseVoxels":
        return self.with_features(self.features * self._same_grid(other, "product"))

    def _same_grid(self, other: "SparseVoxels", name: str) -> Tensor:
        if other.grid is not self.grid:
            raise InputError(
                f"a {name} of {len(self)} and {len(other)} voxels of different grids, expected the same grid"
            )
        return other.features

    def to(self, device: torch.device | str) -> "SparseVoxels":
        """The same on another device."""
        return SparseVoxels(self.features.to(device), self.grid.to(device))


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


class _SubmanifoldConvolution(torch.autograd.Function):
    """x (N, C), weight (k**3, groups, C / groups, C' / groups) -> (N, C'); half precision is summed in float32."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, neighbors: NeighborMap) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.neighbors = neighbors
        total = _sum_type(_product(x, weight[len(weight) // 2]))
        for i, rows, others in neighbors.both_ways():
            if len(rows):
                total.index_add_(0, rows, _sum_type(_product(x.index_select(0, others), weight[i])))
        return total.to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor):
        x, weight = ctx.saved_tensors
        gradient, center = gradient.contiguous(), len(weight) // 2
        wants_x, wants_weight = ctx.needs_input_grad[:2]
        transposed = weight.transpose(2, 3)
        of_x = _sum_type(_product(gradient, transposed[center])) if wants_x else None
        of_weight = torch.zeros_like(weight) if wants_weight else None
        if wants_weight:
            of_weight[center] = _outer_product(x, gradient, groups=weight.shape[1])
        for i, rows, others in ctx.neighbors.both_ways():
            if not len(rows):
                continue
            part = gradient.index_select(0, rows)
            if wants_x:
                of_x.index_add_(0, others, _sum_type(_product(part, transposed[i])))
            if wants_weight:
                of_weight[i] = _outer_product(x.index_select(0, others), part, groups=weight.shape[1])
        return of_x if of_x is None else of_x.to(x.dtype), of_weight, None


def _product(x: Tensor, matrices: Tensor) -> Tensor:
    """x (P, C) times one matrix per group (groups, C / groups, C' / groups) -> (P, C')."""
    groups, inputs, outputs = matrices.shape
    if groups == 1:
        return x @ matrices[0]
    if inputs == outputs == 1:
        return x * matrices.flatten()
    return torch.einsum("pgi,gio->pgo", x.unflatten(1, (groups, inputs)), matrices).flatten(1)


def _outer_product(x: Tensor, gradient: Tensor, *, groups: int) -> Tensor:
    """The gradient of `_product` for its matrices: x (P, C), gradient (P, C') -> (groups, C / groups, C' / groups)."""
    if groups == 1:
        return (x.T @ gradient)[None]
    if groups == x.shape[1] == gradient.shape[1]:
        return (_sum_type(x) * gradient).sum(0)[:, None, None].to(x.dtype)
    return torch.einsum("pgi,pgo->gio", x.unflatten(1, (groups, -1)), gradient.unflatten(1, (groups, -1)))


def _sum_type(product: Tensor) -> Tensor:
    return product.float() if product.dtype in (torch.bfloat16, torch.float16) else product


def submanifold_convolution(
    voxels: SparseVoxels, weight: Tensor, bias: Tensor | None = None, *, groups: int = 1
) -> SparseVoxels:
    """weight: (out, k, k, k, in / groups), k odd -> features (N, out) of the same voxels; missing voxels are zero.

    Under autocast, it computes in autocast's precision.
    """
    x, kernel_size = voxels.features, weight.shape[1]
    if x.shape[1] != weight.shape[-1] * groups:
        raise InputError(f"features of {x.shape[1]} channels, expected {weight.shape[-1] * groups}, the convolution's")
    if torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
        x, weight = x.to(dtype), weight.to(dtype)
    matrices = weight.flatten(1, 3).unflatten(0, (groups, -1)).permute(2, 0, 3, 1).contiguous()
    result = _SubmanifoldConvolution.apply(x, matrices, voxels.grid.neighbors(kernel_size))
    return voxels.with_features(result if bias is None else result + bias.to(result.dtype))


def pool_mean(voxels: SparseVoxels, kernel_size: int, *, count_empty: bool = False) -> SparseVoxels:
    """The mean over the voxels, or with `count_empty` all cells, of neighborhoods of an odd `kernel_size`."""
    channels = voxels.features.shape[1]
    ones = voxels.features.new_ones(1, 1, 1, 1, 1).expand(channels, *[kernel_size] * 3, 1)
    total = submanifold_convolution(voxels, ones, groups=channels)
    if count_empty:
        return total.with_features(total.features / kernel_size**3)
    return total.with_features(total.features / voxels.grid.counts(kernel_size).to(total.features.dtype))


def pool_max(voxels: SparseVoxels, stride: int = 2) -> SparseVoxels:
    """The maximum of each feature in voxels `stride` times as wide."""
    coarsening = voxels.grid.pooled(stride)
    x = voxels.features
    empty = x.new_empty(len(coarsening.voxels), x.shape[1])
    rows = coarsening.rows[:, None].expand_as(x)
    return SparseVoxels(empty.scatter_reduce(0, rows, x, "amax", include_self=False), coarsening.voxels)


def unpool(coarse: SparseVoxels, grid: VoxelGrid, stride: int = 2) -> SparseVoxels:
    """Copy the features of each coarse voxel to the voxels of `grid` inside it."""
    coarsening = grid.pooled(stride)
    if coarsening.voxels is not coarse.grid:
        raise InputError(
            f"{len(coarse)} voxels that weren't pooled from the grid of {len(grid)}, expected its own coarse grid"
        )
    return SparseVoxels(coarse.features.index_select(0, coarsening.rows), grid)
