"""Convolutions with their norms and parallel branches, for data of any dimension; each knows how to fuse itself.

A module's `fuse()` returns its deploy form: the same function in evaluation mode, with fewer operators. The names follow
timm, whose `reparameterize_model` calls `fuse()` wherever a module has one.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from timm.layers import DropPath
from torch import Tensor, nn
from torch.nn import functional as F

from .series import BatchNorm1d, Conv1d, SharedNorm

KernelSize = int | tuple[int, ...]


def _half(kernel_size: int) -> tuple[KernelSize, ...]:
    """A 3x3 beside a 7x7 (paper, section 3.3: structural re-parameterisation of large kernels)."""
    return (kernel_size // 2,) if kernel_size >= 7 else ()


def _strips(kernel_size: int) -> tuple[KernelSize, ...]:
    """A row and a column as long, and a square four narrower: 1x9, 9x1 and 5x5 beside a 9x9 (paper, semantic segmentation)."""
    strips = ((1, kernel_size), (kernel_size, 1))
    return (*strips, kernel_size - 4) if kernel_size > 3 else strips


@dataclass(frozen=True)
class Operators:
    """The layers of one kind of data; all that a mixer or a network needs to know of its dimension.

    conv: `(in, out, kernel_size, stride, padding, groups=, bias=)`; norm: `(channels)`; pool: average pooling
    `(kernel_size, stride, padding, count_include_pad=)`; act: `()`; drop_path: `(probability)`; spatial_dims: dimensions behind the
    channels; parallel_kernels: the kernel sizes that train beside a k-wide depthwise convolution.
    """

    conv: Callable[..., nn.Module]
    norm: Callable[..., nn.Module]
    pool: Callable[..., nn.Module]
    act: Callable[[], nn.Module] = nn.GELU
    drop_path: Callable[[float], nn.Module] = DropPath
    spatial_dims: int = 2
    parallel_kernels: Callable[[int], tuple[KernelSize, ...]] = _half

    def on(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "Operators":
        """The same layers, created on `device` as `dtype`."""
        factory = {"device": device, "dtype": dtype}
        return replace(self, conv=partial(self.conv, **factory), norm=partial(self.norm, **factory))

    def conv_norm(self, dim: int, out_dim: int, kernel_size: KernelSize, *, stride: int = 1, groups: int = 1) -> "ConvNorm":
        """A convolution that keeps the size at stride 1, followed by a norm."""
        conv = self.conv(dim, out_dim, kernel_size, stride, same_padding(kernel_size), groups=groups, bias=False)
        return ConvNorm(conv, self.norm(out_dim))

    def norm_conv(self, dim: int, out_dim: int) -> "NormConv":
        """A norm followed by a pointwise convolution."""
        return NormConv(self.norm(dim), self.conv(dim, out_dim, 1, bias=False))

    def depthwise(self, dim: int, kernel_size: int) -> nn.Module:
        """One filter a channel: with parallel branches and norms where the kernel is large, else a plain one with bias."""
        if self.parallel_kernels(kernel_size):
            return self.depthwise_norm(dim, dim, kernel_size)
        return self.conv(dim, dim, kernel_size, 1, same_padding(kernel_size), groups=dim)

    def depthwise_norm(self, dim: int, out_dim: int, kernel_size: int, *, stride: int = 1) -> nn.Module:
        """One filter a channel (or `out_dim / dim`), then a norm; with parallel branches where the kernel is large."""
        branches = [
            self.conv_norm(dim, out_dim, size, stride=stride, groups=dim) for size in (kernel_size, *self.parallel_kernels(kernel_size))
        ]
        return branches[0] if len(branches) == 1 else ParallelConv(*branches)


IMAGE = Operators(nn.Conv2d, nn.BatchNorm2d, nn.AvgPool2d)
IMAGE_WITH_STRIPS = replace(IMAGE, parallel_kernels=_strips)
SERIES = Operators(Conv1d, BatchNorm1d, nn.AvgPool1d, spatial_dims=1)


class ConvNorm(nn.Module):
    """norm(drop(conv(x))), where conv may have parallel branches; the deploy form is one convolution with bias."""

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
        scale, shift = norm_as_affine(self.norm)
        return with_weights(conv, _per_output(scale, conv.weight) * conv.weight.double(), shift + scale * _bias_of(conv))


class NormConv(nn.Module):
    """conv(norm(x)) with a conv that pads nothing, the one kind into which a norm before it folds exactly."""

    def __init__(self, norm: nn.Module, conv: nn.Module):
        super().__init__()
        if any(conv.padding):
            raise ValueError(f"NormConv: padding {tuple(conv.padding)}, expected 0: zero padding hides the norm's shift")
        self.norm = norm
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, ...) -> (B, C', ...)."""
        return self.conv(self.norm(x))

    @torch.no_grad()
    def fuse(self) -> nn.Module:
        scale, shift = norm_as_affine(self.norm)
        weight = self.conv.weight.double()
        bias = weight.flatten(2).sum(dim=2) @ shift + _bias_of(self.conv)
        return with_weights(self.conv, weight * scale.reshape(1, -1, *[1] * (weight.ndim - 2)), bias)


class ParallelConv(nn.Module):
    """The sum of branches over the same input: convolutions, ConvNorms, NormConvs or an identity; one convolution in the end.

    Kernels may differ in size and shape (7x7 beside 3x3, 9x9 beside 1x9 and 9x1); the first is the largest.
    """

    def __init__(self, *branches: nn.Module):
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, ...) -> (B, C', ...)."""
        total = self.branches[0](x)
        for i, branch in enumerate(self.branches):
            if i > 0:  # TorchScript knows no slice of modules
                total = total + branch(x)
        return total

    @torch.no_grad()
    def fuse(self) -> nn.Module:
        first, *others = [fused(branch) for branch in self.branches]
        weight, bias = first.weight.double(), _bias_of(first)
        for conv in others:
            if isinstance(conv, nn.Identity):
                weight = weight + _identity_kernel(weight, groups=first.groups)
            else:
                weight = weight + _centred(conv.weight.double(), weight.shape[2:])
                bias = bias + _bias_of(conv)
        return with_weights(first, weight, bias)


class LayerScale(nn.Module):
    """A learned factor for each channel (Touvron et al., CaiT), kept in the shape in which the published networks keep it."""

    def __init__(self, dim: int, init_value: float, *, spatial_dims: int = 2, device=None, dtype=None):
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim, *[1] * spatial_dims), init_value, device=device, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, ...) -> the same shape."""
        return x * self.gamma


def same_padding(kernel_size: KernelSize) -> KernelSize:
    """The padding that keeps the size at stride 1 for odd kernels."""
    return kernel_size // 2 if isinstance(kernel_size, int) else tuple(size // 2 for size in kernel_size)


def fused(module: nn.Module) -> nn.Module:
    """The module's deploy form, or the module itself where it has none."""
    return module.fuse() if hasattr(module, "fuse") else module


def output_layer(module: nn.Module) -> nn.Module | None:
    """The linear layer whose result is the module's result, or None where there is none."""
    if isinstance(module, nn.modules.conv._ConvNd | nn.Linear):
        return module
    return module.output_layer() if hasattr(module, "output_layer") else None


@torch.no_grad()
def scale_output(layer: nn.Module, scale: Tensor) -> None:
    """Multiply each output channel of a linear layer by `scale`, in place."""
    layer.weight.mul_(_per_output(scale, layer.weight).to(layer.weight.dtype))
    if layer.bias is not None:
        layer.bias.mul_(scale.flatten())


def norm_as_affine(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """The scale and shift per channel, in float64, that a batch norm applies in evaluation mode.

    A norm that several groups of channels share (`SharedNorm`) gives both as often as it is used.
    """
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError(f"{type(norm).__name__}: no running statistics, expected a norm that keeps them: it can't be folded")
    deviation = (norm.running_var.double() + norm.eps).sqrt()
    scale = norm.weight.double() / deviation
    shift = norm.bias.double() - norm.running_mean.double() * scale
    copies = norm.variables if isinstance(norm, SharedNorm) else 1
    return scale.repeat(copies), shift.repeat(copies)


def with_weights(layer: nn.Module, weight: Tensor, bias: Tensor) -> nn.Module:
    """A copy of a linear layer with the given weight and bias, rounded once to the layer's own precision."""
    result = copy.copy(layer)
    result._parameters = dict(layer._parameters)
    result.weight = nn.Parameter(weight.to(layer.weight.dtype), layer.weight.requires_grad)
    result.bias = nn.Parameter(bias.to(layer.weight.dtype), layer.weight.requires_grad)
    return result


def _per_output(scale: Tensor, weight: Tensor) -> Tensor:
    return scale.reshape(-1, *[1] * (weight.ndim - 1))


def _bias_of(conv: nn.Module) -> Tensor:
    if conv.bias is None:
        return torch.zeros(conv.out_channels, dtype=torch.float64, device=conv.weight.device)
    return conv.bias.double()


def _centred(weight: Tensor, size: torch.Size) -> Tensor:
    """The kernel in the middle of a larger one of zeros."""
    margins = [(large - small) // 2 for large, small in zip(size, weight.shape[2:], strict=True)]
    return F.pad(weight, [margin for margin in reversed(margins) for _ in range(2)])


def _identity_kernel(weight: Tensor, groups: int) -> Tensor:
    """The kernel, of the same shape as `weight`, that gives its input back."""
    channel = torch.arange(weight.shape[0], device=weight.device)
    kernel = torch.zeros_like(weight)
    kernel[(channel, channel % (weight.shape[0] // groups), *[size // 2 for size in weight.shape[2:]])] = 1
    return kernel
