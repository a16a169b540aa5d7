"""Launching the kernels of `windows`: tiles per program, and memory for results."""

from collections.abc import Mapping, Sequence

import torch
import triton
from torch import Tensor
from torch.library import wrap_triton

from . import INTERPRETED, LARGEST_FOR_WINDOWS, fits, measured, windows
from .layout import Cut, cut, cut_twice

NUMBERS = {"M": 64, "CHUNK": 32, "WARPS": 4, "PROGRAMS": 1024, "PARTS": 512}
"""How a kernel is launched unless `measured` knows better.

M, CHUNK, WARPS: tiles at a time, rows of the matrix at a time, warps of a program.
PROGRAMS: programs that fill a GPU; with more tiles, each program processes several with the same matrix.
PARTS: programs, over all channels, among which the sum over a batch is divided; each writes a partial sum.
"""


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, *, epilogue, other: Tensor | None = None, flip: bool = False
) -> Tensor:
    """epilogue(conv(x) + bias, other), (B, C, H, W); weight: (C, kh, kw); flip: the transposed convolution."""
    batch, channels, height, width = sizes(x)
    kernel = sizes(weight)[1:]
    found, numbers = cut(height, width, kernel), chosen("convolve", kernel, x)
    out = torch.empty_like(x)
    other = x if other is None else other
    grid, loops = programs(batch * found.tiles, channels, numbers["PROGRAMS"], numbers)
    run(windows.convolve, (*grid, 1))(
        x, weight.contiguous(), x if bias is None else bias, other, out,
        batch, channels, height, width, loops,
        *x.stride()[:2], *other.stride()[:2], *out.stride()[:2],
        **constants(found, kernel, x, numbers), FLIP=flip, BIAS=bias is not None, EPILOGUE=epilogue.value,
    )  # fmt: skip
    return out


def moments(x: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """Sums of n convolutions of x and of their squares over batch and positions, (2, n, C); a weight is (C, kh, kw)."""
    return torch.stack([moments_of_one(x, weight) for weight in weights], dim=1)


def moments_of_one(x: Tensor, weight: Tensor) -> Tensor:
    """`moments` of a single convolution, (2, C)."""
    batch, channels, height, width = sizes(x)
    kernel = sizes(weight)[1:]
    found, numbers = cut(height, width, kernel), chosen("moments", kernel, x)
    grid, loops = programs(batch * found.tiles, channels, 2 * numbers["PARTS"], numbers)
    parts = x.new_empty(2, *grid, dtype=wide(x))
    run(windows.moments, (*grid, 1))(
        x, weight.contiguous(), parts,
        batch, channels, height, width, loops, *x.stride()[:2],
        **constants(found, kernel, x, numbers),
    )  # fmt: skip
    return parts.sum(1, dtype=torch.float64).to(parts.dtype)


def correlate(x: Tensor, grad: Tensor, kernel: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Gradients of the weight (C, kh, kw) and bias (C,) of a convolution of x with output gradient `grad`."""
    batch, channels, height, width = sizes(x)
    found, numbers = cut(height, width, kernel), chosen("correlate", kernel, x)
    compiled = constants(found, kernel, x, numbers)
    chunk = compiled["CHUNK"]
    grid, loops = programs(batch * found.tiles, channels, max(numbers["PARTS"] * chunk // found.k, 1), numbers)
    products = x.new_empty(grid[0], channels, found.k * found.n, dtype=wide(x))
    sums = x.new_empty(grid, dtype=wide(x))
    run(windows.correlate, (*grid, found.k // chunk))(
        x, grad, products, sums, batch, channels, height, width, loops,
        *x.stride()[:2], *grad.stride()[:2], **compiled,
    )  # fmt: skip
    weight = x.new_empty(channels, *kernel, dtype=wide(x))
    run(windows.gather_taps, (kernel[0] * kernel[1], channels, 1))(
        products, weight, grid[0], WINDOW_ROWS=found.window_rows,
        **{name: compiled[name] for name in ("KH", "KW", "TOP", "LEFT", "WINDOW_COLUMNS", "ROWS", "COLUMNS", "N", "K",
        "SUM")},
        num_warps=1,
    )  # fmt: skip
    return weight, sums.sum(0)


def convolve_twice(x: Tensor, key: Tensor, key_bias: Tensor, value: Tensor, value_bias: Tensor) -> Tensor:
    """conv(gelu(conv(x) + key_bias)) + value_bias, for sizes that `pays_twice`."""
    batch, channels, height, width = sizes(x)
    kernel = sizes(key)[1:]
    pair, numbers = cut_twice(height, width, kernel), chosen("convolve_twice", kernel, x)
    assert pair
    out = torch.empty_like(x)
    grid, loops = programs(batch * pair[1].tiles, channels, numbers["PROGRAMS"], numbers)
    run(windows.convolve_twice, (*grid, 1))(
        x, key.contiguous(), key_bias, value.contiguous(), value_bias, out,
        batch, height, width, loops, *x.stride()[:2], *out.stride()[:2], **constants_twice(pair, kernel, x, numbers),
    )  # fmt: skip
    return out


def pays_twice(height: int, width: int, kernel: tuple[int, int]) -> bool:
    """Whether one kernel for two convolutions should cost less than two, by counting."""
    return fits(kernel, LARGEST_FOR_WINDOWS) and cut_twice(int(height), int(width), kernel) is not None


def chosen(name: str, kernel: tuple[int, ...], x: Tensor) -> Mapping[str, int]:
    """The numbers with which a kernel is launched."""
    return measured.launch("windows", name, kernel, sizes(x)[2:], NUMBERS)


def run(kernel, grid: tuple[int, int, int]):
    """The kernel with its grid, wrapped for torch.compile except in Triton's interpreter."""
    return kernel[grid] if INTERPRETED else wrap_triton(kernel)[grid]


def sizes(x: Tensor) -> tuple[int, ...]:
    """The shape; under torch.compile only the batch may be unknown, because the kernels are compiled for the others."""
    return x.shape[0], *map(int, x.shape[1:])


def programs(tiles: int, channels: int, wanted: int, numbers: Mapping[str, int]) -> tuple[tuple[int, int], int]:
    """Grid of programs, (parts of the tiles, channels), and the number of blocks of M tiles per program."""
    steps = triton.cdiv(tiles, numbers["M"])
    loops = max(1, steps * channels // wanted)
    return (triton.cdiv(steps, loops), channels), loops


def constants(found: Cut, kernel: tuple[int, ...], x: Tensor, numbers: Mapping[str, int]) -> dict:
    """The compile-time constants of a kernel."""
    return {
        "KH": kernel[0], "KW": kernel[1], "TILES_Y": found.tiles_y, "TILES_X": found.tiles_x, "TOP": found.top,
        "LEFT": found.left, "WINDOW": found.window_rows * found.window_columns,
        "WINDOW_COLUMNS": found.window_columns, "ROWS": found.rows, "COLUMNS": found.columns, "M": numbers["M"],
        "N": found.n, "K": found.k, "CHUNK": min(numbers["CHUNK"], found.k), "CLIP_Y": found.tiles_y > 1,
        "CLIP_X": found.tiles_x > 1, "PRECISION": precision(x), "SUM": sum_type(x), "num_warps": numbers["WARPS"],
    }  # fmt: skip


def constants_twice(pair: tuple[Cut, Cut], kernel: tuple[int, ...], x: Tensor, numbers: Mapping[str, int]) -> dict:
    """The compile-time constants of `convolve_twice`: the second convolution's, and the first's window."""
    outer, inner = pair
    found = constants(inner, kernel, x, numbers)
    del found["WINDOW"]
    return found | {
        "WINDOW_ROWS": inner.window_rows, "OUTER_TOP": outer.top, "OUTER_LEFT": outer.left,
        "OUTER": outer.window_rows * outer.window_columns, "OUTER_COLUMNS": outer.window_columns, "OUTER_K": outer.k,
        "CHUNK": min(numbers["CHUNK"], outer.k),
    }  # fmt: skip


def precision(x: Tensor) -> str:
    """Precision of float32 products, like PyTorch's convolutions: TF32 if allowed."""
    return "tf32" if x.dtype == torch.float32 and x.is_cuda and torch.backends.cudnn.allow_tf32 else "ieee"


def sum_type(x: Tensor):
    """Triton type of sums: float32, or float64 for float64."""
    return triton.language.float64 if x.dtype == torch.float64 else triton.language.float32


def wide(x: Tensor) -> torch.dtype:
    """PyTorch type of sums in memory."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32
