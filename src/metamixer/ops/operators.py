"""Layers for data of any dimension, and their deploy form.

`Operators` makes the layers of one kind of data: `IMAGE` for (B, C, H, W), `metamixer.ops.SERIES` for (B, C, N), and
`metamixer.ops.voxels.VOXELS` for `SparseVoxels`. A mixer that takes its layers from there is written once for all.

`module.fuse()` returns the deploy form of the module and of everything inside it: the same function in evaluation mode,
with fewer operators. The module itself never changes; parts without anything to fold are shared with it.
`fused(module)` is the same for any module, and `metamixer.fuse(network)` for a whole network. The name follows timm,
whose `reparameterize_model` calls `fuse()` wherever a module has one.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from .folding import (
    absorbs,
    bias_of,
    folds,
    fused,
    is_known,
    kernel_of,
    merged,
    norm_as_affine,
    output_layer,
    per_output,
    with_children,
    with_kernel,
)

KernelSize = int | tuple[int, ...]


def _half(kernel_size: KernelSize) -> tuple[KernelSize, ...]:
    """A 3x3 branch for a 7x7 (paper, section 3.3), an odd one of about half the size for larger kernels."""
    return (kernel_size // 2 | 1,) if isinstance(kernel_size, int) and kernel_size >= 7 else ()


def _strips(kernel_size: KernelSize) -> tuple[KernelSize, ...]:
    """1x9, 9x1 and 5x5 branches for a 9x9 (paper, semantic segmentation)."""
    if not isinstance(kernel_size, int):
        return ()
    strips = ((1, kernel_size), (kernel_size, 1))
    return (*strips, kernel_size - 4) if kernel_size > 3 else strips


class LayerScale(nn.Module):
    """A learnable factor for each channel (Touvron et al., CaiT); gamma has the published networks' shape."""

    def __init__(self, dim: int, init_value: float, *, spatial_dims: int = 2, device=None, dtype=None):
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim, *[1] * spatial_dims), init_value, device=device, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, ...) -> the same shape."""
        return x * self.gamma


@torch.no_grad()
def fold_scale(module: nn.Module, scale: nn.Module) -> tuple[nn.Module, nn.Module]:
    """(module, scale) of scale(module(x)), with a layer scale folded into the module's output layer if it has one.

    A layer that the module uses twice, such as one convolution as key and as value, can't take up the scale.
    """
    layer = output_layer(module)
    uses = sum(part is layer for _, part in module.named_modules(remove_duplicate=False))
    if not isinstance(scale, LayerScale) or not is_known(scale) or uses != 1:
        return module, scale
    kernel, gamma = kernel_of(layer), scale.gamma.double().flatten()
    bias = None if layer.bias is None else gamma * layer.bias.double()
    scaled = with_kernel(layer, per_output(gamma, kernel) * kernel, bias)
    return copy.deepcopy(module, {id(layer): scaled}), nn.Identity()  # a copy with the scaled layer in its place


class Positions(nn.Module):
    """Tokens of attention: every position of an image or a series, so that attention reaches all of them."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """x: (B, C, ...) -> tokens (B, positions, C), and no mask: all tokens are real."""
        return x.flatten(2).transpose(1, 2), None

    def restore(self, tokens: Tensor, like: Tensor) -> Tensor:
        """tokens: (B, positions, C) -> the shape of `like` (B, C, ...)."""
        return tokens.transpose(1, 2).reshape(like.shape)


class DropPath(StochasticDepth):
    """Stochastic depth of whole samples; rate: the probability of dropping a branch in training."""

    def __init__(self, rate: float):
        super().__init__(rate, mode="row")


@dataclass(frozen=True)
class Operators:
    """The layers of one kind of data: all that a mixer or a network needs to know of its dimension.

    Attributes:
        conv: `(in, out, kernel_size, stride, padding, groups=, bias=)`.
        norm: `(channels)`; data is (B, channels, ...), `SparseVoxels`, or (B, variables * channels, N) in FFNet-TS.
        pool: average pooling `(kernel_size, stride, padding, count_include_pad=)`.
        act: `()`, the activation.
        drop_path: `(probability)`, stochastic depth.
        scale: `(channels, init_value, spatial_dims=)`, a layer scale.
        tokens: `()`, a layer that turns data into the tokens of attention, and its method `restore` back.
        elementwise: `(layer)`, a PyTorch layer that treats each value alone, such as nn.SiLU(), for this data.
        spatial_dims: dimensions after the channels; 0 for voxels, whose features are (N, C).
        parallel_kernels: the kernel sizes of the branches that train in parallel with a k-wide depthwise convolution.

    For `on`, conv, norm and scale also take `device=` and `dtype=`.
    """

    conv: Callable[..., nn.Module]
    norm: Callable[..., nn.Module]
    pool: Callable[..., nn.Module]
    act: Callable[[], nn.Module] = nn.GELU
    drop_path: Callable[[float], nn.Module] = DropPath
    scale: Callable[..., nn.Module] = LayerScale
    tokens: Callable[[], nn.Module] = Positions
    elementwise: Callable[[nn.Module], nn.Module] = lambda layer: layer
    spatial_dims: int = 2
    parallel_kernels: Callable[[KernelSize], tuple[KernelSize, ...]] = _half

    parametrized: ClassVar[tuple[str, ...]] = ("conv", "norm", "scale")
    """The layers with parameters, which have a device and a dtype."""

    def on(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "Operators":
        """The same layers, created on `device` as `dtype`."""
        factory = {"device": device, "dtype": dtype}
        return replace(self, **{name: partial(getattr(self, name), **factory) for name in self.parametrized})

    def layer_scale(self, dim: int, init_value: float) -> nn.Module:
        """A learnable factor for each channel."""
        return self.scale(dim, init_value, spatial_dims=self.spatial_dims)

    def conv_norm(
        self, dim: int, out_dim: int, kernel_size: KernelSize, *, stride: int = 1, groups: int = 1
    ) -> nn.Module:
        """A convolution that keeps the size at stride 1, followed by a norm."""
        conv = self.conv(dim, out_dim, kernel_size, stride, same_padding(kernel_size), groups=groups, bias=False)
        return ConvNorm(conv, self.norm(out_dim))

    def norm_conv(self, dim: int, out_dim: int) -> nn.Module:
        """A norm followed by a pointwise convolution."""
        return NormConv(self.norm(dim), self.conv(dim, out_dim, 1, bias=False))

    def depthwise(self, dim: int, kernel_size: KernelSize) -> nn.Module:
        """One filter per channel: parallel branches with norms for a large kernel, else one convolution with bias."""
        if self.parallel_kernels(kernel_size):
            return self.depthwise_norm(dim, dim, kernel_size)
        return self.conv(dim, dim, kernel_size, 1, same_padding(kernel_size), groups=dim)

    def depthwise_norm(self, dim: int, out_dim: int, kernel_size: KernelSize, *, stride: int = 1) -> nn.Module:
        """One filter per channel (or `out_dim / dim`), then a norm; with parallel branches for a large kernel."""
        sizes = (kernel_size, *self.parallel_kernels(kernel_size))
        branches = [self.conv_norm(dim, out_dim, size, stride=stride, groups=dim) for size in sizes]
        return branches[0] if len(branches) == 1 else ParallelConv(*branches)

    def projection(self, dim: int) -> nn.Module:
        """The pointwise query of a token mixer."""
        return self.conv_norm(dim, dim, 1)

    def spatial(self, dim: int, kernel_size: KernelSize) -> nn.Module:
        """The spatial convolution of this data, a token mixer's keys or values; depthwise by default."""
        return self.depthwise(dim, kernel_size)

    def spatial_norm(self, dim: int, kernel_size: KernelSize) -> nn.Module:
        """The spatial convolution with its norm, a channel mixer's query."""
        return self.depthwise_norm(dim, dim, kernel_size)


IMAGE = Operators(nn.Conv2d, nn.BatchNorm2d, nn.AvgPool2d)


IMAGE_WITH_STRIPS = replace(IMAGE, parallel_kernels=_strips)


class ConvNorm(nn.Module):
    """norm(drop(conv(x))), where conv may have parallel branches; fuses into one convolution with bias.

    A norm that isn't a plain batch norm with running statistics stays as it is.
    """

    def __init__(self, conv: nn.Module, norm: nn.Module, *, drop: nn.Module | None = None):
        super().__init__()
        self.conv = conv
        self.drop = drop or nn.Identity()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, ...) -> (B, C', ...)."""
        return self.norm(self.drop(self.conv(x)))

    @torch.no_grad()
    def fuse(self) -> nn.Module:
        conv = fused(self.conv)
        if not (folds(self.norm) and absorbs(conv)):
            return with_children(self, conv=conv, drop=nn.Identity(), norm=fused(self.norm))
        scale, shift = norm_as_affine(self.norm)
        kernel = kernel_of(conv)
        return with_kernel(conv, per_output(scale, kernel) * kernel, shift + scale * bias_of(conv))


class NormConv(nn.Module):
    """conv(norm(x)) with a convolution without padding, the only kind into which a preceding norm folds exactly.

    A norm that isn't a plain batch norm with running statistics, such as LayerNorm, stays as it is.
    """

    def __init__(self, norm: nn.Module, conv: nn.Module):
        super().__init__()
        if any(conv.padding):
            raise ValueError(
                f"NormConv: padding {tuple(conv.padding)}, expected 0: zero padding hides the norm's shift"
            )
        self.norm = norm
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, ...) -> (B, C', ...)."""
        return self.conv(self.norm(x))

    @torch.no_grad()
    def fuse(self) -> nn.Module:
        if isinstance(self.norm, nn.Identity):
            return self.conv
        if not (folds(self.norm) and absorbs(self.conv)):
            return self
        scale, shift = (vector.unflatten(0, (self.conv.groups, 1, -1)) for vector in norm_as_affine(self.norm))
        kernel = kernel_of(self.conv)
        by_group = kernel.flatten(2).unflatten(0, (self.conv.groups, -1))  # (groups, out / groups, in / groups, 1)
        bias = (by_group.sum(dim=3) * shift).sum(dim=2).flatten() + bias_of(self.conv)
        return with_kernel(self.conv, (by_group * scale[..., None]).reshape(kernel.shape), bias)


class ParallelConv(nn.Module):
    """The sum of branches over the same input; fuses into one convolution.

    Branches are convolutions, ConvNorms, NormConvs or an identity. Their kernels may differ in size, shape and dilation
    (7x7 and 3x3; 9x9, 1x9 and 9x1), and have more groups than the largest. Any other branch stays beside it.
    """

    def __init__(self, *branches: nn.Module):
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, ...) -> (B, C', ...)."""
        total = self.branches[0](x)
        for i, branch in enumerate(self.branches):
            if i > 0:  # TorchScript can't slice a ModuleList
                total = total + branch(x)
        return total

    @torch.no_grad()
    def fuse(self) -> nn.Module:
        first, *others = merged([fused(branch) for branch in self.branches])
        return ParallelConv(first, *others) if others else first


def same_padding(kernel_size: KernelSize) -> KernelSize:
    """The padding that keeps the size at stride 1 for odd kernels."""
    return kernel_size // 2 if isinstance(kernel_size, int) else tuple(size // 2 for size in kernel_size)
