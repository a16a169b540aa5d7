"""Layers of sparse voxels: each takes `SparseVoxels` and gives them back; `VOXELS` hands them to mixers and networks."""

from collections.abc import Callable
from functools import partial

import timm.layers
import torch
from torch import nn

from ..errors import InputError
from .operators import Operators
from .sparse import LARGEST_KERNEL, SparseVoxels, VoxelGrid, pool_max, submanifold_convolution, unpool


class SubmanifoldConv3d(nn.Module):
    """A submanifold convolution of an odd kernel; weight: (out, k, k, k, in), or (out, in) for the kernel 1, a linear layer.

    stride and padding are those of a convolution that keeps the size, the only one there is; they are arguments so that the layer
    is called as PyTorch's convolutions are.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        padding: int | None = None,
        *,
        groups: int = 1,
        bias: bool = True,
        device=None,
        dtype=None,
    ):
        super().__init__()
        if kernel_size % 2 == 0 or not 1 <= kernel_size <= LARGEST_KERNEL:
            raise InputError(f"kernel_size {kernel_size}, expected an odd number up to {LARGEST_KERNEL}")
        if stride != 1 or padding not in (None, kernel_size // 2) or groups != 1:
            raise InputError(
                f"stride {stride}, padding {padding}, groups {groups}: expected 1, {kernel_size // 2} and 1, a submanifold convolution's"
            )
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, kernel_size
        size = (kernel_size,) * 3 if kernel_size > 1 else ()
        self.weight = nn.Parameter(torch.empty(out_channels, *size, in_channels, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(out_channels, device=device, dtype=dtype)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """As PyTorch's convolutions begin: uniform, by the number of inputs of an output."""
        bound = (self.in_channels * self.kernel_size**3) ** -0.5
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, x: SparseVoxels) -> SparseVoxels:
        """x: features (N, in) -> (N, out)."""
        if self.kernel_size == 1:
            return x.with_features(nn.functional.linear(x.features, self.weight, self.bias))
        return submanifold_convolution(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, bias={self.bias is not None}"


class _OnFeatures:
    """A layer of features (N, C), applied to those of voxels."""

    def forward(self, x: SparseVoxels) -> SparseVoxels:
        """x: features (N, C) -> the same shape."""
        return x.with_features(super().forward(x.features))


class BatchNorm(_OnFeatures, nn.BatchNorm1d):
    """Batch norm over all voxels of all scenes."""


class LayerNorm(_OnFeatures, nn.LayerNorm):
    """Layer norm of each voxel's features."""


class GELU(_OnFeatures, nn.GELU):
    """GELU of each feature."""


class ReLU(_OnFeatures, nn.ReLU):
    """ReLU of each feature."""


class DropPath(_OnFeatures, timm.layers.DropPath):
    """Stochastic depth: a voxel, as published, leaves out the branch with this probability."""


class MaxPool(nn.Module):
    """The largest of each feature in voxels twice as wide."""

    def forward(self, x: SparseVoxels) -> SparseVoxels:
        """x: features (N, C) -> (M, C) of the coarser voxels."""
        return pool_max(x)


class Unpool(nn.Module):
    """Each voxel gets the features of the coarser one around it."""

    def forward(self, x: SparseVoxels, grid: VoxelGrid) -> SparseVoxels:
        """x: features (M, C) of the voxels pooled from `grid` -> (N, C) of `grid`."""
        return unpool(x, grid)


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"gelu": GELU, "relu": ReLU}

VOXELS = Operators(
    SubmanifoldConv3d,
    partial(BatchNorm, eps=1e-3, momentum=0.01),
    lambda *_, **__: MaxPool(),
    act=GELU,
    drop_path=DropPath,
    spatial_dims=3,
    parallel_kernels=lambda _: (),
)
"""Sparse voxels as the data of a network; the batch norms are the published ones."""
