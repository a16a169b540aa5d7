"""Submanifold convolution and pooling of sparse voxels in plain PyTorch: forward, backward, any device, odd kernels.

A submanifold convolution computes outputs only at voxels, and reads only voxels (Graham et al., 2018).
Neighbors are searched once per resolution and kernel size (`NeighborMap`); each kernel offset is then a gather, a
product and an add. The rows of one offset are all different, so additions never collide and the result doesn't depend
on the number of threads.
"""

import math

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..errors import InputError
from .sparse import NeighborMap, SparseVoxels, VoxelGrid


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
    # PyTorch shares the gradient with an equal start, included or not; unset memory may be equal by chance.
    lowest = x.new_full((len(coarsening.voxels), x.shape[1]), -math.inf)
    rows = coarsening.rows[:, None].expand_as(x)
    return SparseVoxels(lowest.scatter_reduce(0, rows, x, "amax"), coarsening.voxels)


def unpool(coarse: SparseVoxels, grid: VoxelGrid, stride: int = 2) -> SparseVoxels:
    """Copy the features of each coarse voxel to the voxels of `grid` inside it."""
    coarsening = grid.pooled(stride)
    if coarsening.voxels is not coarse.grid:
        raise InputError(
            f"{len(coarse)} voxels that weren't pooled from the grid of {len(grid)}, expected its own coarse grid"
        )
    return SparseVoxels(coarse.features.index_select(0, coarsening.rows), grid)
