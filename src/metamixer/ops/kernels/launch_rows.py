"""Launching the kernels of `rows` for channels-last images, by functions like those of `launch`."""

from collections.abc import Mapping, Sequence
from itertools import accumulate

import torch
import triton
from torch import Tensor

from . import measured, rows
from .launch import run, sizes, sum_type, wide

NUMBERS = {"R": 8, "CHANNELS": 32, "WARPS": 4, "SEGMENT": 16, "PARTS": 1024, "DOWN": 16}
"""How a kernel is launched unless `measured` knows better; not measured on a GPU.

R, CHANNELS, WARPS: rows and channels at a time, warps of a program: two channels per thread.
SEGMENT: most columns of the output at a time; a thread keeps their sums in registers.
PARTS: programs among which a sum over a batch is divided; each writes a partial sum.
DOWN: most rows of a strip, which one program of `convolve_twice` computes.
"""

MOST_PRODUCTS = 14
"""Products per element read or written for which an H200 takes as long as for moving a bfloat16 element, by its data
sheet (4.8 TB/s, 67 TFLOP/s).
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
        x, taps(weight), x if bias is None else bias, other, out,
        batch, channels, height, width, *steps(x), *steps(other),
        **compiled, FLIP=flip, BIAS=bias is not None, EPILOGUE=epilogue.value,
    )  # fmt: skip
    return out


def moments(x: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """Sums of n convolutions of x and of their squares over batch and positions, (2, n, C); a weight is (C, kh, kw)."""
    channels, kernels = sizes(x)[1], [sizes(weight)[1:] for weight in weights]
    largest = max(kernels, key=lambda kernel: kernel[1])
    numbers = chosen("moments", largest, x)
    compiled = constants(x, largest, numbers)
    del compiled["KH"], compiled["KW"]
    grid, loops = programs(x, compiled, triton.cdiv(channels, compiled["CHANNELS"]), numbers["PARTS"])
    parts = x.new_empty(grid[0] * grid[1], 2, len(weights), channels, dtype=wide(x))
    run(rows.moments, grid)(
        x, torch.cat([taps(weight) for weight in weights]), parts, *sizes(x), loops, *steps(x),
        **compiled, KERNELS=in_a_row(kernels),
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


def convolve_twice(x: Tensor, key: Tensor, key_bias: Tensor, value: Tensor, value_bias: Tensor) -> Tensor:
    """conv(gelu(conv(x) + key_bias)) + value_bias."""
    batch, channels, height, width = sizes(x)
    kernel = sizes(key)[1:]
    compiled = constants_twice(x, kernel, chosen("convolve_twice", kernel, x))
    strips = triton.cdiv(height, compiled["DOWN"])
    out = torch.empty_like(x)
    grid = (
        triton.cdiv(batch * strips, compiled["R"]),
        triton.cdiv(width, compiled["SEGMENT"]),
        triton.cdiv(channels, compiled["CHANNELS"]),
    )
    run(rows.convolve_twice, grid)(
        x, taps(key), key_bias, taps(value), value_bias, out, batch, channels, height, width, strips, *steps(x),
        **compiled,
    )  # fmt: skip
    return out


def pays_twice(height: int, width: int, kernel: tuple[int, int]) -> bool:
    """Whether one kernel for two convolutions should take less time than two, because those wait for memory."""
    return kernel[0] * kernel[1] <= MOST_PRODUCTS


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


def taps(weight: Tensor) -> Tensor:
    """(C, kh, kw) -> (kh * kw, C)."""
    return weight.flatten(1).t().contiguous()


def in_a_row(kernels: Sequence[tuple[int, ...]]) -> tuple[tuple[int, int, int], ...]:
    """Rows and columns of each kernel, and the number of taps before its own."""
    before = accumulate((rows * columns for rows, columns in kernels), initial=0)
    return tuple((*kernel, start) for kernel, start in zip(kernels, before, strict=False))


def constants(x: Tensor, kernel: tuple[int, ...], numbers: Mapping[str, int]) -> dict:
    """The compile-time constants of a kernel."""
    width, rows_each = sizes(x)[3], numbers["R"]
    segments = triton.cdiv(width, numbers["SEGMENT"])
    return {
        "KH": kernel[0], "KW": kernel[1], "R": rows_each if kernel[1] <= WIDE else rows_each // 2,
        "CHANNELS": numbers["CHANNELS"], "SEGMENT": triton.cdiv(width, segments), "WHOLE": segments == 1,
        "SUM": sum_type(x), "num_warps": numbers["WARPS"],
    }  # fmt: skip


def constants_twice(x: Tensor, kernel: tuple[int, ...], numbers: Mapping[str, int]) -> dict:
    """The compile-time constants of `convolve_twice`: half the rows at a time, whose intermediate results are kept."""
    height, found = sizes(x)[2], constants(x, kernel, numbers)
    strips = triton.cdiv(height, numbers["DOWN"])
    margin = 0 if found["WHOLE"] else kernel[1] // 2
    return found | {"R": max(1, found["R"] // 2), "MARGIN": margin, "DOWN": triton.cdiv(height, strips)}
