"""Time each GPU kernel over launch settings, compared with the bandwidth limit and PyTorch's kernels.

    python benchmarks/kernels.py --seconds 200

Shapes are those of ffnet_1's token mixers at 224 and 256 px, batch 128, bfloat16. All settings are compiled first, on
all cores. Writes benchmarks/results/kernels.json after each shape, the table that METAMIXER_KERNELS_TABLE can name. The
limit is the time in which a large copy on the same GPU moves the bytes that the kernel must move: each input read once,
each output written once. `--device cpu` is a dry run in Triton's interpreter.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch
from gpu_clock import bench_milliseconds, graph_milliseconds, interpret
from torch import Tensor
from torch.nn import functional as F

from metamixer.ops.kernels.layout import cut
from metamixer.ops.kernels.measured import gpu
from metamixer.system.files import write_text

RESULTS = Path(__file__).parent / "results"
SHAPES = ((320, 14, 7), (640, 7, 7), (80, 56, 3), (160, 28, 3), (320, 16, 7), (640, 8, 7))
"""Channels, side of the image and kernel size."""
BATCH = 128
DRY_SHAPES, DRY_BATCH = ((2, 7, 3),), 4
REQUIRED = {"convolve", "correlate"}
"""Kernels without whose times nothing can be said of a form."""

SETTINGS = {
    "windows": (
        (64, 64, 4, 1024, 512),
        (64, 32, 4, 4096, 2048),
        (64, 16, 4, 4096, 2048),
        (128, 32, 4, 2048, 1024),
        (128, 32, 8, 2048, 1024),
        (32, 32, 4, 4096, 2048),
    ),
    "rows": (
        (8, 64, 4, 16, 1024, 8),
        (8, 64, 8, 16, 1024, 16),
        (4, 64, 4, 16, 2048, 16),
        (16, 32, 8, 16, 1024, 32),
        (8, 32, 4, 8, 2048, 32),
        (8, 128, 8, 8, 1024, 8),
    ),
}
"""Form of the kernels -> values of its `NUMBERS` to try in addition to its own."""

Shape = tuple[int, int, int]
Setting = tuple[tuple[str, int], ...]


def launches(form: str):
    """The module that launches a form of the kernels."""
    from metamixer.ops.kernels import launch, launch_rows

    return {"windows": launch, "rows": launch_rows}[form]


def actions(shape: Shape, batch: int, device: str) -> dict[tuple[str, str], tuple[Callable[[], object], int]]:
    """(form, kernel) -> (function, number of tensors that it must move)."""
    from metamixer.ops.kernels import windows

    c, side, k = shape
    torch.manual_seed(0)
    dtype = torch.bfloat16 if device == "cuda" else torch.float16
    x, grad = (torch.randn(batch, c, side, side, device=device, dtype=dtype) for _ in range(2))
    w = torch.randn(c, k, k, device=device, dtype=dtype) / k
    b = torch.randn(c, device=device)
    found: dict[tuple[str, str], tuple[Callable[[], object], int]] = {}
    for form, arrange in (("windows", channel_major), ("rows", channels_last)):
        launch, ours, theirs = launches(form), arrange(x), arrange(grad)
        derivative = partial(launch.convolve, ours, w, b, epilogue=windows.GELU_BACKWARD, other=theirs)
        found |= {
            (form, "convolve"): (partial(launch.convolve, ours, w, b, epilogue=windows.GELU), 2),
            (form, "GELU backward"): (derivative, 3),
            (form, "moments"): (partial(launch.moments, ours, [w]), 1),
            (form, "correlate"): (partial(launch.correlate, ours, theirs, (k, k)), 2),
        }
        if launch.pays_twice(side, side, (k, k)):
            found[form, "convolve_twice"] = partial(launch.convolve_twice, ours, w, b, w, b), 2
    return found


def references(shape: Shape, batch: int, device: str) -> dict[str, Callable[[], object]]:
    """PyTorch's kernels on the same data."""
    c, side, k = shape
    torch.manual_seed(0)
    x = torch.randn(batch, c, side, side, device=device, dtype=torch.bfloat16)
    w = torch.randn(c, 1, k, k, device=device, dtype=torch.bfloat16, requires_grad=True)
    b = torch.randn(c, device=device, dtype=torch.bfloat16)

    def convolve(x: Tensor) -> Tensor:
        return F.gelu(F.conv2d(x, w, b, padding=k // 2, groups=c))

    def moments(x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.var_mean(F.conv2d(x, w, padding=k // 2, groups=c), (0, 2, 3))

    found = {}
    for form, arrange in (("windows", torch.Tensor.clone), ("rows", channels_last)):
        own = arrange(x).requires_grad_()
        y = F.conv2d(own, w, padding=k // 2, groups=c)
        grad = torch.randn_like(y)
        found |= {
            f"{form}: convolution": lambda own=own: F.conv2d(own, w, padding=k // 2, groups=c),
            f"{form}: its backward": lambda y=y, own=own, grad=grad: torch.autograd.grad(
                y, (own, w), grad, retain_graph=True
            ),
            f"{form}: convolution and GELU": without_gradients(convolve, own),
            f"{form}: moments": without_gradients(moments, own),
        }
        if device == "cuda":
            found |= {
                f"{form}: convolution and GELU, compiled": without_gradients(torch.compile(convolve), own),
                f"{form}: moments, compiled": without_gradients(torch.compile(moments), own),
            }
    return found


def without_gradients(function: Callable[[Tensor], object], x: Tensor) -> Callable[[], object]:
    """A call that records nothing for a backward pass."""

    def call() -> object:
        with torch.no_grad():
            return function(x)

    return call


def channel_major(x: Tensor) -> Tensor:
    return x.transpose(0, 1).contiguous().transpose(0, 1)


def channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def settings(form: str, name: str, shape: Shape) -> list[Setting]:
    """Candidates for the numbers of a launch; the default ones come first."""
    own = launches(form).NUMBERS
    candidates = [own, *(dict(zip(own, values, strict=True)) for values in SETTINGS[form])]
    largest = cut(shape[1], shape[1], (shape[2], shape[2])).k
    fitting = [numbers for numbers in candidates if numbers is own or numbers.get("CHUNK", 0) <= largest]
    return list(dict.fromkeys(tuple(numbers.items()) for numbers in fitting))


def take(form: str, setting: Setting) -> None:
    """Launch a form of the kernels in this way from now on."""
    launches(form).NUMBERS = dict(setting)


def compile_one(job: tuple[str, str, Shape, Setting]) -> str:
    """Run one setting on a small batch, so that the compiled kernel is cached on disk; return the error or ""."""
    form, name, shape, setting = job
    take(form, setting)
    try:
        actions(shape, batch=8, device="cuda")[form, name][0]()
        torch.cuda.synchronize()
        return ""
    except Exception as error:  # such as too much shared memory; this setting is skipped
        return f"{type(error).__name__}: {str(error)[:100]}"


def compile_all(jobs: list[tuple]) -> dict[tuple, str]:
    """Compile all settings on all cores; those that failed, with their errors."""
    with ProcessPoolExecutor(min(14, os.cpu_count() or 1), mp_context=get_context("spawn")) as pool:
        errors = pool.map(compile_one, jobs, chunksize=4)
        return {job: error for job, error in zip(jobs, errors, strict=True) if error}


def copy_rate(device: str) -> float:
    """Bytes per second of a large copy, read and written."""
    x = torch.empty(2**30 if device == "cuda" else 2**24, device=device, dtype=torch.int8)
    y = torch.empty_like(x)
    return 2 * x.numel() / (bench_milliseconds(lambda: y.copy_(x), warmup=25, rep=100) * 1e-3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=200, help="start no measurement after this time")
    parser.add_argument("--shapes", type=int, default=len(SHAPES))
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="cpu: dry run in the interpreter")
    parser.add_argument("--out", type=Path, default=RESULTS / "kernels")
    options = parser.parse_args()
    dry = options.device == "cpu"
    if dry:
        interpret()
    end = time.time() + options.seconds
    rate = copy_rate(options.device)
    content = {"gpu": gpu(), "torch": torch.__version__, "copy_bytes_a_second": rate, "sizes": []}
    shapes = (DRY_SHAPES if dry else SHAPES)[: options.shapes]
    jobs = [
        (form, name, shape, setting)
        for shape in shapes
        for form, name in actions((16, *shape[1:]), batch=2, device=options.device)
        for setting in settings(form, name, shape)[: 2 if dry else None]
    ]
    print(f"{len(jobs)} settings", flush=True)
    refused = {} if dry else compile_all(jobs)
    print(f"compiled, {end - time.time():.0f} s left; refused {len(refused)}: {set(refused.values())}", flush=True)
    for shape in shapes:
        if time.time() > end:
            break
        chosen = [job for job in jobs if job[2] == shape and job not in refused]
        content["sizes"].append(measure(shape, chosen, rate, end, options.device))
        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_text(options.out.with_suffix(".json"), json.dumps(content, indent=1) + "\n")


def measure(shape: Shape, jobs: list[tuple], rate: float, end: float, device: str) -> dict:
    """A row of the table that `metamixer.ops.kernels.measured` reads: times of all kernels on one shape."""
    c, side, k = shape
    batch = BATCH if device == "cuda" else DRY_BATCH
    row: dict = {"kernel": [k, k], "image": [side, side], "channels": c, "batch": batch, "windows": {}, "rows": {}}
    for (form, name), (action, tensors) in actions(shape, batch=batch, device=device).items():
        limit = tensors * 2 * batch * c * side * side / rate * 1e3
        found = fastest(action, form, [job[3] for job in jobs if job[:2] == (form, name)], end)
        if found:
            row[form][name] = {"limit_ms": limit, "fraction_of_limit": limit / found["ms"], **found}
            print(f"{shape} {form} {name}: {found['ms']:.4f} ms, {limit / found['ms']:.0%} of the limit", flush=True)
    times = {}
    for name, action in references(shape, batch=batch, device=device).items():
        if time.time() < end or "compiled" not in name:
            times[name] = bench_milliseconds(action)
            print(f"{shape} PyTorch {name}: {times[name]:.4f} ms", flush=True)
    both = {form: times[f"{form}: convolution"] + times[f"{form}: its backward"] for form in SETTINGS}
    return row | {"PyTorch": {form: ms for form, ms in both.items() if REQUIRED.issubset(row[form])}, "others": times}


def fastest(action: Callable[[], object], form: str, tried: list[Setting], end: float) -> dict:
    """Milliseconds of the fastest setting and of all; empty if none could be compiled."""
    default, taken = launches(form).NUMBERS, {}
    for setting in tried:
        if time.time() < end or not taken:
            take(form, setting)
            taken[setting] = graph_milliseconds(action, rep=8)
    launches(form).NUMBERS = default
    if not taken:
        return {}
    best = min(taken, key=taken.get)
    every = sorted((ms, list(dict(setting).values())) for setting, ms in taken.items())
    return {"ms": taken[best], "numbers": dict(best), "default_ms": taken.get(tuple(default.items())), "every": every}


if __name__ == "__main__":
    main()
