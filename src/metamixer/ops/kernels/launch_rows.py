"""Launching the kernels of `rows` for channels-last images: `convolve`, `moments` and `correlate` as in `launch`."""

from collections.abc import Mapping

import torch
import triton
from torch import Tensor

from . import measured, rows
from .launch import run, sizes, sum_type, wide

NUMBERS = {"R": 8, "CHANNELS": 32, "WARPS": 4, "SEGMENT": 16, "PARTS": 1024}
"""How a kernel is launched unless `measured` knows better; not measured on a GPU.

R, CHANNELS, WARPS: rows and channels at a time, warps of a program: two channels per thread.
SEGMENT: most columns of the output at a time; a thread keeps their sums in registers.
PARTS: programs among which a sum over a batch is divided; each writes a partial sum.
"""

WIDE = 15
"""Columns of a kernel above which half the rows at a time fill the registers (`benchmarks/kernels_compile.py`)."""


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, *, epilogue, other: Tensor | None = None, flip: bool = False
) -> Tensor:
    """epilogue(conv(x) + bias, other), (B, C, H, W); weight: (C, kh, kw); flip: the transposed convolution."""
    out = torch.empty_like(x)
    other = x if other is None else other
    batch, channels, height, width = sizes(x)
    kernel = sizes(weight)[1:]
    compiled = constants(x, kernel, chosen("convolve", kernel, x))
    grid = (
        triton.cdiv(batch * height, compiled["R"]),
        triton.cdiv(width, compiled["SEGMENT"]),
        triton.cdiv(channels, compiled["CHANNELS"]),
    )
    run(rows.convolve, grid)(
        x, weight.permute(1, 2, 0).contiguous(), x if bias is None else bias, other, out,
        batch, channels, height, width, *steps(x), *steps(other),
        **compiled, FLIP=flip, BIAS=bias is not None, EPILOGUE=epilogue.value,
    )  # fmt: skip
    return out


def moments(x: Tensor, weight: Tensor) -> Tensor:
    """Sums of conv(x) and its square over batch and positions, (2, C); weight: (C, kh, kw)."""
    channels, kernel = sizes(x)[1], sizes(weight)[1:]
    numbers = chosen("moments", kernel, x)
    compiled = constants(x, kernel, numbers)
    grid, loops = programs(x, compiled, triton.cdiv(channels, compiled["CHANNELS"]), numbers["PARTS"])
    parts = x.new_empty(grid[0] * grid[1], 2, channels, dtype=wide(x))
    run(rows.moments, grid)(
        x, weight.permute(1, 2, 0).contiguous(), parts, *sizes(x), loops, *steps(x), **compiled
    )  # fmt: skip
    return parts.sum(0, dtype=torch.float64).to(parts.dtype)


def correlate(x: Tensor, grad: Tensor, kernel: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Gradients of the weight (C, kh, kw) and bias (C,) of a convolution of x with output gradient `grad`."""
    channels, numbers = sizes(x)[1], chosen("correlate", kernel, x)
    compiled = constants(x, kernel, numbers)
    blocks = triton.cdiv(channels, compiled["CHANNELS"])
    grid, loops = programs(x, compiled, kernel[0] * blocks, numbers["PARTS"])
    products = x.new_empty(grid[0] * grid[1], *kernel, channels, dtype=wide(x))
    sums = x.new_empty(grid[0] * grid[1], channels, dtype=wide(x))
    run(rows.correlate, grid)(
        x, grad, products, sums, *sizes(x), loops, *steps(x), *steps(grad), **compiled, BLOCKS=blocks
    )
    return products.sum(0).permute(2, 0, 1).contiguous(), sums.sum(0)


def chosen(name: str, kernel: tuple[int, ...], x: Tensor) -> Mapping[str, int]:
    """The numbers with which a kernel is launched."""
    return measured.launch("rows", name, kernel, sizes(x)[2:], NUMBERS)


def programs(x: Tensor, compiled: Mapping[str, int], blocks: int, parts: int) -> tuple[tuple[int, int, int], int]:
    """Grid of programs, (parts of the rows, segments, blocks), and the number of blocks of rows per program."""
    batch, _, height, width = sizes(x)
    steps, segments = triton.cdiv(batch * height, compiled["R"]), triton.cdiv(width, compiled["SEGMENT"])
    loops = max(1, steps * segments * blocks // parts)
    return (triton.cdiv(steps, loops), segments, blocks), loops


def steps(x: Tensor) -> tuple[int, int, int]:
    """Elements from one image, row and column to the next."""
    return x.stride(0), x.stride(2), x.stride(3)


def constants(x: Tensor, kernel: tuple[int, ...], numbers: Mapping[str, int]) -> dict:
    """The compile-time constants of a kernel."""
    width, rows_each = sizes(x)[3], numbers["R"]
    segments = triton.cdiv(width, numbers["SEGMENT"])
    return {
        "KH": kernel[0], "KW": kernel[1], "R": rows_each if kernel[1] <= WIDE else rows_each // 2,
        "CHANNELS": numbers["CHANNELS"], "SEGMENT": triton.cdiv(width, segments), "WHOLE": segments == 1,
        "SUM": sum_type(x), "num_warps": numbers["WARPS"],
    }  # fmt: skip
