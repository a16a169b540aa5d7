"""Layers of sparse voxels: each takes and returns `SparseVoxels`; `VOXELS` makes them for mixers and networks."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..errors import InputError
from . import operators
from .operators import ConvNorm, LayerScale, Operators, same_padding
from .sparse import LARGEST_KERNEL, SparseVoxels, VoxelGrid
from .submanifold import pool_max, pool_mean, submanifold_convolution, unpool

ATTENTION_WINDOW = 8
"""Side, in voxels, of the cubes within which attention relates voxels: 512 tokens at most, so its cost is linear."""


class SubmanifoldConv3d(nn.Module):
    """A submanifold convolution with an odd kernel size.

    weight: (out, k, k, k, in / groups), or (out, in / groups) for kernel size 1, a linear layer. The signature is that
    of PyTorch's convolutions, but the size is always kept: stride is 1 and padding is half the kernel.
    """

    stride, dilation, padding_mode = (1, 1, 1), (1, 1, 1), "zeros"

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
        if not isinstance(kernel_size, int) or kernel_size % 2 == 0 or not 1 <= kernel_size <= LARGEST_KERNEL:
            raise InputError(f"kernel_size {kernel_size}, expected an odd number up to {LARGEST_KERNEL}")
        half = kernel_size // 2
        if stride != 1 or padding not in (None, half):
            raise InputError(f"stride {stride}, padding {padding}, expected 1 and {half}: it keeps the voxels")
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise InputError(f"groups {groups}, expected a divisor of {in_channels} and {out_channels}, the channels")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.padding = kernel_size, (half,) * 3
        size = (kernel_size,) * 3 if kernel_size > 1 else ()
        shape = (out_channels, *size, in_channels // groups)
        self.weight = nn.Parameter(torch.empty(*shape, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(out_channels, device=device, dtype=dtype)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialize as PyTorch's convolutions: uniform, by the number of inputs per output."""
        bound = (self.in_channels // self.groups * self.kernel_size**3) ** -0.5
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, x: SparseVoxels) -> SparseVoxels:
        """x: features (N, in) -> (N, out)."""
        if self.kernel_size == 1 and self.groups == 1:
            return x.with_features(nn.functional.linear(x.features, self.weight, self.bias))
        weight = self.weight[:, None, None, None] if self.kernel_size == 1 else self.weight
        return submanifold_convolution(x, weight, self.bias, groups=self.groups)

    def kernel(self) -> Tensor:
        """The weight as dense convolutions have it: (out, in / groups, k, k, k)."""
        weight = self.weight[:, None, None, None] if self.kernel_size == 1 else self.weight
        return weight.movedim(-1, 1)

    def stored(self, kernel: Tensor) -> Tensor:
        """(out, in / groups, k, k, k) -> the layout of the weight."""
        return kernel.movedim(1, -1).reshape(self.weight.shape)

    def extra_repr(self) -> str:
        sizes = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        groups = f", groups={self.groups}" if self.groups > 1 else ""
        return f"{sizes}{groups}, bias={self.bias is not None}"


class _OnFeatures:
    """A layer of features (N, C), applied to the features of voxels."""

    def forward(self, x: SparseVoxels) -> SparseVoxels:
        """x: features (N, C) -> the same shape."""
        return x.with_features(super().forward(x.features))


class OnFeatures(nn.Module):
    """Any PyTorch layer of features (N, C), such as an activation, applied to the features of voxels."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, x: SparseVoxels) -> SparseVoxels:
        """x: features (N, C) -> (N, C')."""
        return x.with_features(self.layer(x.features))


class BatchNorm(_OnFeatures, nn.BatchNorm1d):
    """Batch norm over all voxels of all scenes; a single voxel, which has no variance, gets the running statistics."""

    def forward(self, x: SparseVoxels) -> SparseVoxels:
        """x: features (N, C) -> the same shape."""
        together = isinstance(self, nn.SyncBatchNorm)  # with the voxels of other processes, which wait for this one
        if not self.training or len(x.features) > 1 or together:
            return super().forward(x)
        normed = nn.functional.batch_norm(
            x.features, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )
        return x.with_features(normed)


class LayerNorm(_OnFeatures, nn.LayerNorm):
    """Layer norm of each voxel's features."""


class GELU(_OnFeatures, nn.GELU):
    """GELU of each feature."""


class ReLU(_OnFeatures, nn.ReLU):
    """ReLU of each feature."""


class DropPath(_OnFeatures, operators.DropPath):
    """Stochastic depth that drops the branch independently for each voxel, as published."""


class VoxelScale(_OnFeatures, LayerScale):
    """A learnable factor for each channel."""


class AveragePool(nn.Module):
    """The mean of each voxel's neighborhood, with the signature of PyTorch's average pooling; the size is kept."""

    def __init__(
        self, kernel_size: int, stride: int = 1, padding: int | None = None, *, count_include_pad: bool = True
    ):
        super().__init__()
        if kernel_size % 2 == 0 or not 1 <= kernel_size <= LARGEST_KERNEL:
            raise InputError(f"kernel_size {kernel_size}, expected an odd number up to {LARGEST_KERNEL}")
        if stride != 1 or padding not in (None, kernel_size // 2):
            raise InputError(
                f"stride {stride}, padding {padding}, expected 1 and {kernel_size // 2}: it keeps the voxels"
            )
        self.kernel_size, self.count_include_pad = kernel_size, count_include_pad

    def forward(self, x: SparseVoxels) -> SparseVoxels:
        """x: features (N, C) -> the same shape."""
        return pool_mean(x, self.kernel_size, count_empty=self.count_include_pad)

    def extra_repr(self) -> str:
        return f"{self.kernel_size}, count_include_pad={self.count_include_pad}"


class WindowTokens(nn.Module):
    """Tokens of attention: the voxels of one window of one scene, padded to the size of the largest window."""

    def __init__(self, side: int = ATTENTION_WINDOW):
        super().__init__()
        self.side = side

    def forward(self, x: SparseVoxels) -> tuple[Tensor, Tensor]:
        """x: features (N, C) -> tokens (windows, size, C) and a mask (windows, 1, 1, size), True for real tokens."""
        windows = x.grid.windows(self.side)
        return windows.split(x.features), windows.mask[:, None, None]

    def restore(self, tokens: Tensor, like: SparseVoxels) -> SparseVoxels:
        """tokens: (windows, size, C) -> features (N, C) of the voxels of `like`."""
        return like.with_features(like.grid.windows(self.side).join(tokens))


class MaxPool(nn.Module):
    """The maximum of each feature in voxels twice as wide."""

    def forward(self, x: SparseVoxels) -> SparseVoxels:
        """x: features (N, C) -> (M, C) of the coarser voxels."""
        return pool_max(x)


class Unpool(nn.Module):
    """Copies the features of each coarser voxel to the voxels inside it."""

    def forward(self, x: SparseVoxels, grid: VoxelGrid) -> SparseVoxels:
        """x: features (M, C) of the voxels pooled from `grid` -> (N, C) of `grid`."""
        return unpool(x, grid)


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"gelu": GELU, "relu": ReLU}


@dataclass(frozen=True)
class VoxelOperators(Operators):
    """Layers of sparse voxels; the spatial convolution is full and normed, with LayerNorms before it, as published."""

    first_norm: Callable[..., nn.Module] = LayerNorm

    parametrized: ClassVar[tuple[str, ...]] = (*Operators.parametrized, "first_norm")

    def projection(self, dim: int) -> nn.Module:
        """LayerNorm, then a pointwise convolution: the query of a token mixer."""
        return nn.Sequential(self.first_norm(dim), self.conv(dim, dim, 1))

    def spatial(self, dim: int, kernel_size: int) -> nn.Module:
        """A full convolution, with a bias before the norm."""
        return ConvNorm(self.conv(dim, dim, kernel_size, 1, same_padding(kernel_size)), self.norm(dim))

    def spatial_norm(self, dim: int, kernel_size: int) -> nn.Module:
        """LayerNorm, then the spatial convolution: the query of a channel mixer."""
        return nn.Sequential(self.first_norm(dim), self.spatial(dim, kernel_size))


VOXELS = VoxelOperators(
    SubmanifoldConv3d,
    partial(BatchNorm, eps=1e-3, momentum=0.01),
    AveragePool,
    act=GELU,
    drop_path=DropPath,
    scale=VoxelScale,
    tokens=WindowTokens,
    elementwise=OnFeatures,
    spatial_dims=0,
)
"""Sparse voxels as the data of a network; the batch norms are the published ones."""
