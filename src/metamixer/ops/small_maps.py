"""Depthwise convolutions of small maps, as matrix products: up to 12 times as fast to train on a CPU, where oneDNN has
no fast gradient for them. The same parameters, checkpoints and results.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

STRIDED = 1.0 if torch.backends.cpu.get_cpu_capability().startswith("AVX512") else 1.75
"""In float32, largest side of a strided convolution's result over the kernel's: oneDNN's gradients need AVX-512."""

LARGEST: dict[torch.dtype, tuple[Callable[[int], float], Callable[[int], float]]] = {
    torch.float32: (lambda kernel: kernel, lambda kernel: STRIDED * kernel),
    torch.bfloat16: (lambda kernel: 2 * kernel - 4, lambda kernel: 12),
}
"""Kernel size -> largest side of the map at stride 1, and of a strided convolution's result, for which matrices pay:
measured with one filter per channel at stride 1, and two at stride 2 (`python benchmarks/small_maps.py`).
"""


def use_matrices(network: nn.Module) -> nn.Module:
    """Let the depthwise convolutions of any network train by matrix products where their maps are small, in place."""
    for module in network.modules():
        if type(module) is nn.Conv2d and is_channelwise(module):
            module.__class__ = MatrixConv2d
    return network


def is_channelwise(conv: nn.Conv2d) -> bool:
    """One or more filters for each channel, over zeros; size and padding the same in both directions."""
    square = all(len(set(pair)) == 1 for pair in (conv.kernel_size, conv.stride)) and conv.dilation == (1, 1)
    padding = isinstance(conv.padding, tuple) and len(set(conv.padding)) == 1
    return square and padding and conv.groups == conv.in_channels > 1 and conv.padding_mode == "zeros"


class MatrixConv2d(nn.Conv2d):
    """A depthwise convolution that trains as a matrix product for each channel where that is faster.

    Under autocast to bfloat16 it stays in float32 where oneDNN has a fast gradient only for that.
    """

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, H, W) -> (B, C', H', W')."""
        if not self._trains_on_cpu(x):
            return super().forward(x)
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
        with torch.autocast("cpu", enabled=False):
            if self._pays(x.shape[2:], dtype):
                y = MatrixConvolution.apply(x.to(dtype), self.weight, self.stride[0], self.padding[0])
                return y if self.bias is None else y + self.bias.to(dtype).view(1, -1, 1, 1)
            if dtype == torch.bfloat16 and (self.kernel_size[0] > 3 or self.stride[0] > 1):
                return super().forward(x.float()).to(dtype)
        return super().forward(x)

    def _trains_on_cpu(self, x: Tensor) -> bool:
        training = torch.is_grad_enabled() and self.weight.requires_grad and not torch.compiler.is_compiling()
        return training and x.device.type == "cpu" and self.weight.dtype == torch.float32

    def _pays(self, size: Sequence[int], dtype: torch.dtype) -> bool:
        """size: height and width of the map; dtype: of the calculation."""
        if dtype not in LARGEST:
            return False
        kernel, stride, padding = self.kernel_size[0], self.stride[0], self.padding[0]
        plain, strided = (limit(kernel) for limit in LARGEST[dtype])
        return max(size) <= plain if stride == 1 else (max(size) + 2 * padding - kernel) // stride + 1 <= strided


class MatrixConvolution(torch.autograd.Function):
    """(x, weight, stride, padding) -> the convolution: of each channel, positions times a matrix of the filter."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        batch, channels, *size = x.shape
        places, out_size = filter_places(*size, weight.shape[-1], stride, padding)
        # (channels, positions, filters of a channel, positions of the result)
        matrices = (weight.flatten(1) @ places).view(channels, -1, size[0] * size[1], out_size[0] * out_size[1])
        matrices = matrices.transpose(1, 2).flatten(2).to(x.dtype)
        rows = by_channel(x)
        ctx.save_for_backward(rows, matrices, places)
        ctx.shapes = x.shape, weight.shape
        return from_channels(rows @ matrices, (batch, len(weight), *out_size))

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        rows, matrices, places = ctx.saved_tensors
        shape, weight_shape = ctx.shapes
        grad_rows = by_channel(grad).view(shape[1], -1, len(rows[0]), grad.shape[2] * grad.shape[3])
        grad_rows = grad_rows.transpose(1, 2).flatten(2)
        grad_matrices = (rows.mT @ grad_rows).unflatten(2, (-1, grad.shape[2] * grad.shape[3])).transpose(1, 2)
        grad_weight = grad_matrices.reshape(weight_shape[0], -1).to(places.dtype) @ places.T
        return from_channels(grad_rows @ matrices.mT, shape), grad_weight.view(weight_shape), None, None


def by_channel(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (C, B, positions)."""
    return x.permute(0, 2, 3, 1).flatten(1, 2).permute(2, 0, 1).contiguous()


def from_channels(rows: Tensor, shape: tuple[int, ...]) -> Tensor:
    """(C, B, filters of a channel * positions) -> (B, C', H, W), channels last."""
    batch, channels, height, width = shape
    rows = rows.unflatten(2, (-1, height * width)).permute(1, 3, 0, 2)  # batch, position, channel, filter
    return rows.reshape(batch, height, width, channels).contiguous().permute(0, 3, 1, 2)


@lru_cache(maxsize=64)
def filter_places(height: int, width: int, kernel: int, stride: int, padding: int) -> tuple[Tensor, tuple[int, int]]:
    """Where each of a filter's weights stands in its matrix, (kernel², positions * positions of the result), and the
    result's size.
    """
    out_height, out_width = ((side + 2 * padding - kernel) // stride + 1 for side in (height, width))
    y, x, out_y, out_x = torch.meshgrid(*map(torch.arange, (height, width, out_height, out_width)), indexing="ij")
    row, column = y - out_y * stride + padding, x - out_x * stride + padding
    inside = (row >= 0) & (row < kernel) & (column >= 0) & (column < kernel)
    place = torch.where(inside, row * kernel + column, kernel**2).flatten()
    return F.one_hot(place, kernel**2 + 1)[:, :-1].T.float().contiguous(), (out_height, out_width)
