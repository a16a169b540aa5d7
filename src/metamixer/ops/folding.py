"""What deploy forms are made of: the weights of linear layers, and the norms, branches and scales folded into them."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def fused(module: nn.Module) -> nn.Module:
    """The deploy form of any module and of everything inside it; the module itself doesn't change."""
    if hasattr(module, "fuse"):
        return module.fuse()
    return with_children(module, **{name: fused(child) for name, child in module.named_children()})


def with_children(module: nn.Module, **children: nn.Module | None) -> nn.Module:
    """A copy of a module with some of its children replaced and the others shared; itself if nothing is replaced."""
    if all(child is module._modules[name] for name, child in children.items()):
        return module
    result = copy.copy(module)
    result._modules = {**module._modules, **children}
    return result


def output_layer(module: nn.Module) -> nn.Module | None:
    """The linear layer that computes the module's output, or None if another kind of layer does."""
    if isinstance(module, nn.modules.conv._ConvNd | nn.Linear):
        return module
    return module.output_layer() if hasattr(module, "output_layer") else None


@torch.no_grad()
def scale_output(layer: nn.Module, scale: Tensor) -> None:
    """Multiply each output channel of a linear layer by `scale`, in place."""
    layer.weight.mul_(per_output(scale, layer.weight).to(layer.weight.dtype))
    if layer.bias is not None:
        layer.bias.mul_(scale.flatten())


def norm_as_affine(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """The scale and shift per channel, in float64, that a batch norm applies in evaluation mode.

    A norm shared by the variables of a series (`metamixer.ops.series.SharedNorm`) repeats both for each variable.
    """
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError(
            f"{type(norm).__name__}: no running statistics, expected a norm that keeps them: it can't be folded"
        )
    std = (norm.running_var.double() + norm.eps).sqrt()
    scale = norm.weight.double() / std
    shift = norm.bias.double() - norm.running_mean.double() * scale
    copies = getattr(norm, "variables", 1)
    return scale.repeat(copies), shift.repeat(copies)


def kernel_of(layer: nn.Module) -> Tensor:
    """The weights of a linear layer as (out, in / groups, *kernel size), in float64, however the layer stores them."""
    weight = layer.kernel() if hasattr(layer, "kernel") else layer.weight
    return weight.double()


def with_kernel(layer: nn.Module, kernel: Tensor, bias: Tensor) -> nn.Module:
    """A copy of a linear layer with the given weights and bias, rounded once to the layer's own precision.

    kernel: as `kernel_of` returns it; a layer that stores it otherwise has a method `stored(kernel)`.
    """
    weight = layer.stored(kernel) if hasattr(layer, "stored") else kernel
    result = copy.copy(layer)
    result._parameters = dict(layer._parameters)
    result.weight = nn.Parameter(weight.to(layer.weight.dtype), layer.weight.requires_grad)
    result.bias = nn.Parameter(bias.to(layer.weight.dtype), layer.weight.requires_grad)
    return result


def per_output(scale: Tensor, weight: Tensor) -> Tensor:
    return scale.reshape(-1, *[1] * (weight.ndim - 1))


def bias_of(conv: nn.Module) -> Tensor:
    if conv.bias is None:
        return torch.zeros(conv.out_channels, dtype=torch.float64, device=conv.weight.device)
    return conv.bias.double()


def centered(weight: Tensor, size: Sequence[int]) -> Tensor:
    """The kernel padded with zeros to a larger size."""
    margins = [(large - small) // 2 for large, small in zip(size, weight.shape[2:], strict=True)]
    return F.pad(weight, [margin for margin in reversed(margins) for _ in range(2)])


def identity_kernel(weight: Tensor, groups: int) -> Tensor:
    """The kernel, of the shape of `weight`, of the identity."""
    channel = torch.arange(weight.shape[0], device=weight.device)
    kernel = torch.zeros_like(weight)
    kernel[(channel, channel % (weight.shape[0] // groups), *[size // 2 for size in weight.shape[2:]])] = 1
    return kernel
