"""What deploy forms are made of: the weights of convolutions, and the norms, branches and scales folded into them.

Only layers that these functions know are folded: a norm that `folds`, into a convolution that `absorbs` it. All others
stay as they are.
"""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm


def fused(module: nn.Module) -> nn.Module:
    """The deploy form of any module and of everything inside it; the module itself doesn't change."""
    if fuse := method_of(module, "fuse"):
        return fuse()
    return with_children(module, **{name: fused(child) for name, child in module.named_children()})


def with_children(module: nn.Module, **children: nn.Module | None) -> nn.Module:
    """A copy of a module with some of its children replaced and the others shared; itself if nothing is replaced."""
    if all(child is module._modules[name] for name, child in children.items()):
        return module
    result = copy.copy(module)
    result._modules = {**module._modules, **children}
    return result


def is_known(module: nn.Module) -> bool:
    """Whether PyTorch or this package defines what the module computes, and not, for example, a user's subclass."""
    methods = [getattr(type(module), name, None) for name in ("forward", "_conv_forward")]
    packages = {str(method.__module__).partition(".")[0] for method in methods if method}
    return packages <= {"torch", __name__.partition(".")[0]}


def method_of(module: nn.Module, name: str) -> Callable | None:
    """A method that depends on what the module computes; None if it has none, or if a subclass replaced `forward`."""
    kinds = type(module).__mro__
    defined = {each: next((kind for kind in kinds if each in vars(kind)), None) for each in (name, "forward")}
    if not defined[name]:
        return None
    replaced = kinds.index(defined[name]) > kinds.index(defined["forward"])
    return None if replaced and not is_known(module) else getattr(module, name)


def folds(norm: nn.Module) -> bool:
    """Whether a norm is a batch norm with running statistics: in evaluation, a scale and a shift of each channel."""
    kept = isinstance(norm, _BatchNorm) and norm.running_mean is not None and norm.running_var is not None
    return kept and is_known(norm)


def absorbs(layer: nn.Module) -> bool:
    """Whether norms, scales and other branches can be folded into a layer's weights.

    It is a convolution of PyTorch's or ours whose weights are its parameters (`weight_norm` computes them), or a layer
    with their attributes and two methods: `kernel()` as `kernel_of`, and `stored(kernel)`, its inverse.
    """
    convolution = isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d) and is_known(layer)
    return (convolution or method_of(layer, "stored") is not None) and "weight" in layer._parameters


def output_layer(module: nn.Module) -> nn.Module | None:
    """The convolution that computes the module's output, or None if another kind of layer does."""
    if absorbs(module):
        return module
    layer_of = method_of(module, "output_layer")
    return layer_of() if layer_of else None


def norm_as_affine(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """The scale and shift per channel, in float64, that a norm which `folds` applies in evaluation mode.

    A norm shared by the variables of a series (`metamixer.ops.series.SharedNorm`) repeats both for each variable.
    """
    std = (norm.running_var.double() + norm.eps).sqrt()
    scale = (1 if norm.weight is None else norm.weight.double()) / std
    shift = (0 if norm.bias is None else norm.bias.double()) - norm.running_mean.double() * scale
    copies = getattr(norm, "variables", 1)
    return scale.repeat(copies), shift.repeat(copies)


def kernel_of(layer: nn.Module) -> Tensor:
    """The weights of a layer as (out, in / groups, *kernel size), in float64, however the layer stores them."""
    weight = layer.kernel() if hasattr(layer, "kernel") else layer.weight
    return weight.double()


def with_kernel(layer: nn.Module, kernel: Tensor, bias: Tensor | None) -> nn.Module:
    """A copy of a layer with the given weights and bias, rounded once to the layer's own precision.

    kernel: as `kernel_of` returns it; a layer that stores it otherwise has a method `stored(kernel)`.
    """
    weight = layer.stored(kernel) if hasattr(layer, "stored") else kernel
    result = copy.copy(layer)
    result._parameters = dict(layer._parameters)
    for name, value in {"weight": weight, "bias": bias}.items():
        parameter = None if value is None else nn.Parameter(value.to(layer.weight.dtype), layer.weight.requires_grad)
        setattr(result, name, parameter)
    return result


def per_output(scale: Tensor, weight: Tensor) -> Tensor:
    return scale.reshape(-1, *[1] * (weight.ndim - 1))


def bias_of(conv: nn.Module) -> Tensor:
    if conv.bias is None:
        return torch.zeros(conv.out_channels, dtype=torch.float64, device=conv.weight.device)
    return conv.bias.double()


def merged(branches: Sequence[nn.Module]) -> list[nn.Module]:
    """Layers with the same sum as the branches: the largest convolution with all that fit into it, then the others."""
    able = [conv for conv in branches if absorbs(conv) and set(conv.dilation) == {1} and type(conv.padding) is tuple]
    if not able:
        return list(branches)
    largest = max(able, key=lambda conv: kernel_of(conv)[0, 0].numel())
    parts = [part_of(largest, branch) for branch in branches]
    kernels, biases = zip(*(part for part in parts if part), strict=True)
    others = [branch for branch, part in zip(branches, parts, strict=True) if not part]
    return [with_kernel(largest, sum(kernels), sum(biases)), *others]


def part_of(conv: nn.Module, branch: nn.Module) -> tuple[Tensor, Tensor] | None:
    """The kernel and bias with which `conv` would compute another branch; None if it can't."""
    shape = kernel_of(conv).shape
    if type(branch) is nn.Identity:
        same = conv.in_channels == conv.out_channels and set(conv.stride) == {1}
        kernel = conv.weight.new_ones(conv.in_channels, 1, *[1] * len(shape[2:]), dtype=torch.float64)
        bias = conv.weight.new_zeros(conv.in_channels, dtype=torch.float64)
        groups, padding = conv.in_channels, (0,) * len(shape[2:])
    elif absorbs(branch):
        attributes = ("in_channels", "out_channels", "stride", "padding_mode")
        same = all(getattr(branch, name) == getattr(conv, name) for name in attributes)
        kernel, bias = dilated(kernel_of(branch), branch.dilation), bias_of(branch)
        groups, padding = branch.groups, branch.padding
    else:
        return None
    if not same or type(padding) is not tuple or groups % conv.groups:
        return None
    sizes = zip(shape[2:], kernel.shape[2:], conv.padding, padding, strict=True)
    if any(large < small or large - small != 2 * (outer - inner) for large, small, outer, inner in sizes):
        return None  # its kernel isn't within conv's, around the same center
    return centered(regrouped(kernel, groups, conv.groups), shape[2:]), bias


def centered(weight: Tensor, size: Sequence[int]) -> Tensor:
    """The kernel padded with zeros to a larger size."""
    margins = [(large - small) // 2 for large, small in zip(size, weight.shape[2:], strict=True)]
    return F.pad(weight, [margin for margin in reversed(margins) for _ in range(2)])


def dilated(kernel: Tensor, dilation: Sequence[int]) -> Tensor:
    """The kernel with zeros between its weights, which needs no dilation."""
    size = [(size - 1) * step + 1 for size, step in zip(kernel.shape[2:], dilation, strict=True)]
    result = kernel.new_zeros(*kernel.shape[:2], *size)
    result[(..., *[slice(None, None, step) for step in dilation])] = kernel
    return result


def regrouped(kernel: Tensor, groups: int, fewer: int) -> Tensor:
    """The kernel of the same convolution in fewer groups: (out, in / groups, ...) -> (out, in / fewer, ...)."""
    each = groups // fewer
    blocks = kernel.unflatten(0, (fewer, each, -1)).unsqueeze(3)
    same = torch.eye(each, dtype=kernel.dtype, device=kernel.device)[:, None, :, None]
    same = same.reshape(1, each, 1, each, *[1] * (kernel.ndim - 1))
    return (blocks * same).flatten(3, 4).flatten(0, 2)
