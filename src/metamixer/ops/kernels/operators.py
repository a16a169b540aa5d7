"""The kernels as PyTorch operators, which work with `torch.compile`, autocast, checkpointing, DDP and export.

In training, depthwise convolutions with batch norms, single or parallel, become one convolution with this batch's
statistics folded into its weights (`merged`), as in the deploy form. The statistics are `moments` of the
convolutions, whose outputs are never written to memory. The backward passes recompute intermediate results.
"""

from collections.abc import Sequence
from types import ModuleType

import torch
from torch import Tensor

from . import INTERPRETED, form_for, is_channels_last, launch, launch_rows, windows

operator = torch.library.custom_op if INTERPRETED else torch.library.triton_op
"""torch.compile inlines the kernels of a triton_op and launches them itself."""


@operator("metamixer::depthwise", mutates_args=())
def _depthwise(x: Tensor, weight: Tensor, bias: Tensor | None, gelu: bool) -> Tensor:
    return kernels_for(x).convolve(x, weight, bias, epilogue=windows.GELU if gelu else windows.PLAIN)


@_depthwise.register_fake
def _(x, weight, bias, gelu):
    return torch.empty_like(x)


@operator("metamixer::depthwise_backward", mutates_args=())
def _depthwise_backward(
    grad: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, gelu: bool
) -> tuple[Tensor, Tensor, Tensor]:
    form = kernels_for(x)
    if gelu:
        grad = form.convolve(x, weight, bias, epilogue=windows.GELU_BACKWARD, other=grad)
    grad_x = form.convolve(grad, weight, None, epilogue=windows.PLAIN, flip=True)
    return _like(grad_x, x), *form.correlate(x, grad, launch.sizes(weight)[1:])


@_depthwise_backward.register_fake
def _(grad, x, weight, bias, gelu):
    wide = launch.wide(x)
    return torch.empty_like(x), torch.empty_like(weight, dtype=wide), weight.new_empty(len(weight), dtype=wide)


def _keep_depthwise(ctx, inputs, output) -> None:
    x, weight, bias, ctx.gelu = inputs
    ctx.save_for_backward(x, weight, bias)


def _depthwise_gradients(ctx, grad):
    x, weight, bias = ctx.saved_tensors
    grad_x, grad_weight, grad_bias = torch.ops.metamixer.depthwise_backward(
        laid_out_as(grad, x), x, weight, bias, ctx.gelu
    )
    return grad_x, grad_weight.to(weight.dtype), None if bias is None else grad_bias.to(bias.dtype), None


_depthwise.register_autograd(_depthwise_gradients, setup_context=_keep_depthwise)


@operator("metamixer::moments", mutates_args=())
def _moments(x: Tensor, weights: Sequence[Tensor]) -> Tensor:
    return kernels_for(x).moments(x, weights)


@_moments.register_fake
def _(x, weights):
    return x.new_empty(2, len(weights), x.shape[1], dtype=launch.wide(x))


@operator("metamixer::moments_backward", mutates_args=())
def _moments_backward(grad: Tensor, x: Tensor, weights: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """The gradient of output z is a + c z, again a convolution, with weights c w and bias a."""
    form, grad_x, grad_weights = kernels_for(x), None, []
    for weight, shift, slope in zip(weights, grad[0], 2 * grad[1], strict=True):
        grad_z = form.convolve(x, (weight * slope[:, None, None]).to(x.dtype), shift, epilogue=windows.PLAIN)
        epilogue = windows.PLAIN if grad_x is None else windows.ADD
        grad_x = form.convolve(grad_z, weight, None, epilogue=epilogue, other=grad_x, flip=True)
        grad_weights.append(form.correlate(x, grad_z, launch.sizes(weight)[1:])[0])
    return _like(grad_x, x), grad_weights


@_moments_backward.register_fake
def _(grad, x, weights):
    return torch.empty_like(x), [torch.empty_like(weight, dtype=grad.dtype) for weight in weights]


def _keep_moments(ctx, inputs, output) -> None:
    x, weights = inputs
    ctx.save_for_backward(x, *weights)


def _moments_gradients(ctx, grad):
    x, *weights = ctx.saved_tensors
    grad_x, grad_weights = torch.ops.metamixer.moments_backward(grad.contiguous(), x, weights)
    return grad_x, [grad_weight.to(weight.dtype) for grad_weight, weight in zip(grad_weights, weights, strict=True)]


_moments.register_autograd(_moments_gradients, setup_context=_keep_moments)


@operator("metamixer::depthwise_twice", mutates_args=())
def _depthwise_twice(x: Tensor, key: Tensor, key_bias: Tensor, value: Tensor, value_bias: Tensor) -> Tensor:
    return kernels_for(x).convolve_twice(x, key, key_bias, value, value_bias)


@_depthwise_twice.register_fake
def _(x, key, key_bias, value, value_bias):
    return torch.empty_like(x)


def depthwise(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, gelu: bool = False) -> Tensor:
    """A depthwise convolution that keeps the size, optionally with GELU; x: (B, C, H, W), weight: (C, 1, odd, odd)."""
    x = _computed_in(x, tuple(weight.shape[2:]))
    return torch.ops.metamixer.depthwise(x, weight.squeeze(1).to(x.dtype), bias, gelu)


def moments(x: Tensor, weights: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and variance over batch and positions of n depthwise convolutions, (n, C) each; a weight is (C, kh, kw)."""
    x = _computed_in(x, (max(weight.shape[1] for weight in weights), max(weight.shape[2] for weight in weights)))
    total, squares = torch.ops.metamixer.moments(x, [weight.to(x.dtype) for weight in weights]) / (
        x.numel() // x.shape[1]
    )
    return total, (squares - total.square()).clamp(min=0)


def depthwise_twice(x: Tensor, key: Tensor, key_bias: Tensor, value: Tensor, value_bias: Tensor) -> Tensor:
    """value(gelu(key(x))) of two depthwise convolutions in one kernel, for inference; weights: (C, 1, kh, kw)."""
    x = _computed_in(x, tuple(key.shape[2:]))
    key, value = key.squeeze(1).to(x.dtype), value.squeeze(1).to(x.dtype)
    return torch.ops.metamixer.depthwise_twice(x, key, key_bias, value, value_bias)


def merged(
    weights: Sequence[Tensor],
    means: Sequence[Tensor],
    variances: Sequence[Tensor],
    norms: Sequence[torch.nn.BatchNorm2d],
) -> tuple[Tensor, Tensor]:
    """Weight (C, 1, kh, kw) and bias (C,) of the one convolution equal to the sum of normed convolutions."""
    weight, bias = 0, 0
    for conv, mean, variance, norm in zip(weights, means, variances, norms, strict=True):
        scale = norm.weight * (variance + norm.eps).rsqrt()
        weight = weight + scale[:, None, None] * conv
        bias = bias + norm.bias - mean * scale
    return weight[:, None], bias


def pays_twice(x: Tensor, kernel: tuple[int, int]) -> bool:
    """Whether `depthwise_twice` should be faster than two kernels, in the layout that they would use."""
    form = launch_rows if form_for(x, kernel) == "rows" else launch
    return form.pays_twice(*x.shape[2:], kernel)


def _computed_in(x: Tensor, kernel: tuple[int, int] = (1, 1)) -> Tensor:
    """x in autocast's type for convolutions, in a memory layout whose kernels take this kernel size."""
    if torch.is_autocast_enabled(x.device.type):
        x = x.to(torch.get_autocast_dtype(x.device.type))
    last = form_for(x, kernel) == "rows"
    return x.contiguous(memory_format=torch.channels_last) if last else by_rows(x)


def kernels_for(x: Tensor) -> ModuleType:
    """The kernels for the memory layout of x."""
    return launch_rows if is_channels_last(x) else launch


def laid_out_as(grad: Tensor, x: Tensor) -> Tensor:
    """The gradient in a memory layout that the kernels of x take."""
    return grad.contiguous(memory_format=torch.channels_last) if is_channels_last(x) else by_rows(grad)


def by_rows(x: Tensor) -> Tensor:
    """x if its memory layout is dense (B, C, H, W) or (C, B, H, W), else a copy in the latter layout."""
    batch, channels, height, width = x.shape
    plane = height * width
    for strides in ((channels * plane, plane), (plane, batch * plane)):
        if x.stride() == (*strides, width, 1):
            return x
    return channel_major(x)


def channel_major(x: Tensor) -> Tensor:
    """x: (B, C, H, W), laid out in memory as (C, B, H, W), for which a pointwise convolution is one matrix product."""
    return x.transpose(0, 1).contiguous().transpose(0, 1)


def _like(result: Tensor, x: Tensor) -> Tensor:
    """The result in the layout of x."""
    return result if result.stride() == x.stride() else torch.empty_like(x).copy_(result)
