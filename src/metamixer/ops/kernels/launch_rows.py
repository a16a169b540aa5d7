"""Launching the kernels of `rows` for channels-last images: `convolve`, `moments` and `correlate` as in `launch`."""

import torch
import triton
from torch import Tensor

from . import rows
from .launch import run, sizes, sum_type, wide

R, CHANNELS, WARPS = 8, 32, 4
"""Rows and channels at a time, warps of a program: two channels per thread. Not measured on a GPU."""

WIDE = 15
"""Columns of a kernel above which half the rows at a time fill the registers (`benchmarks/kernels_compile.py`)."""

LONGEST_SEGMENT = 16
"""Columns of the output at a time; a thread keeps their sums in registers."""

PARTS = 1024
"""Programs among which a sum over a batch is divided; each writes a partial sum."""


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, *, epilogue, other: Tensor | None = None, flip: bool = False
) -> Tensor:
    """epilogue(conv(x) + bias, other), (B, C, H, W); weight: (C, kh, kw); flip: the transposed convolution."""
    out = torch.empty_like(x)
    other = x if other is None else other
    batch, channels, height, width = sizes(x)
    numbers = constants(x, sizes(weight)[1:])
    segments = triton.cdiv(width, LONGEST_SEGMENT)
    grid = (triton.cdiv(batch * height, numbers["R"]), segments, triton.cdiv(channels, CHANNELS))
    run(rows.convolve, grid)(
        x, weight.permute(1, 2, 0).contiguous(), x if bias is None else bias, other, out,
        batch, channels, height, width, *steps(x), *steps(other),
        **numbers, FLIP=flip, BIAS=bias is not None, EPILOGUE=epilogue.value,
    )  # fmt: skip
    return out


def moments(x: Tensor, weight: Tensor) -> Tensor:
    """Sums of conv(x) and its square over batch and positions, (2, C); weight: (C, kh, kw)."""
    channels, numbers = sizes(x)[1], constants(x, sizes(weight)[1:])
    grid, loops = programs(x, numbers["R"], triton.cdiv(channels, CHANNELS))
    parts = x.new_empty(grid[0] * grid[1], 2, channels, dtype=wide(x))
    run(rows.moments, grid)(
        x, weight.permute(1, 2, 0).contiguous(), parts, *sizes(x), loops, *steps(x), **numbers
    )  # fmt: skip
    return parts.sum(0, dtype=torch.float64).to(parts.dtype)


def correlate(x: Tensor, grad: Tensor, kernel: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Gradients of the weight (C, kh, kw) and bias (C,) of a convolution of x with output gradient `grad`."""
    channels, numbers = sizes(x)[1], constants(x, kernel)
    blocks = triton.cdiv(channels, CHANNELS)
    grid, loops = programs(x, numbers["R"], kernel[0] * blocks)
    products = x.new_empty(grid[0] * grid[1], *kernel, channels, dtype=wide(x))
    sums = x.new_empty(grid[0] * grid[1], channels, dtype=wide(x))
    run(rows.correlate, grid)(
        x, grad, products, sums, *sizes(x), loops, *steps(x), *steps(grad), **numbers, BLOCKS=blocks
    )
    return products.sum(0).permute(2, 0, 1).contiguous(), sums.sum(0)


def programs(x: Tensor, rows_each: int, blocks: int) -> tuple[tuple[int, int, int], int]:
    """Grid of programs, (parts of the rows, segments, blocks), and the number of blocks of rows per program."""
    batch, _, height, width = sizes(x)
    steps, segments = triton.cdiv(batch * height, rows_each), triton.cdiv(width, LONGEST_SEGMENT)
    loops = max(1, steps * segments * blocks // PARTS)
    return (triton.cdiv(steps, loops), segments, blocks), loops


def steps(x: Tensor) -> tuple[int, int, int]:
    """Elements from one image, row and column to the next."""
    return x.stride(0), x.stride(2), x.stride(3)


def constants(x: Tensor, kernel: tuple[int, int]) -> dict:
    """The compile-time constants of a kernel."""
    width = sizes(x)[3]
    segments = triton.cdiv(width, LONGEST_SEGMENT)
    return {
        "KH": kernel[0], "KW": kernel[1], "R": R if kernel[1] <= WIDE else R // 2, "CHANNELS": CHANNELS,
        "SEGMENT": triton.cdiv(width, segments), "WHOLE": segments == 1, "SUM": sum_type(x), "num_warps": WARPS,
    }  # fmt: skip
