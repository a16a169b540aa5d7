"""Time each GPU kernel over launch settings, compared with the bandwidth limit and PyTorch's kernels.

    python benchmarks/kernels.py --seconds 200

Shapes are those of ffnet_1's token mixers at 224 and 256 px, batch 128, bfloat16. All settings are compiled first, on
all cores. Writes benchmarks/results/kernels.json after each shape. The limit is the time in which a large copy on the
same GPU moves the bytes that the kernel must move: each input read once, each output written once. `--device cpu` is a
dry run in Triton's interpreter.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch
from gpu_clock import bench_milliseconds, graph_milliseconds, interpret
from torch import Tensor
from torch.nn import functional as F

from metamixer.ops.kernels.layout import cut

RESULTS = Path(__file__).parent / "results"
SHAPES = ((320, 14, 7), (640, 7, 7), (80, 56, 3), (160, 28, 3), (320, 16, 7), (640, 8, 7))
"""Channels, side of the image and kernel size."""
BATCH = 128
DRY_SHAPES, DRY_BATCH = ((2, 7, 3),), 4
NUMBERS = {
    "launch": ("M", "CHUNK", "WARPS", "PROGRAMS", "PARTS"),
    "launch_rows": ("R", "CHANNELS", "WARPS", "LONGEST_SEGMENT", "PARTS"),
}
"""Module of the launches -> its numbers."""
SETTINGS = {
    "launch": (
        (64, 64, 4, 1024, 512),
        (64, 32, 4, 4096, 2048),
        (64, 16, 4, 4096, 2048),
        (128, 32, 4, 2048, 1024),
        (128, 32, 8, 2048, 1024),
        (32, 32, 4, 4096, 2048),
    ),
    "launch_rows": (
        (8, 64, 4, 16, 1024),
        (8, 64, 8, 16, 1024),
        (4, 64, 4, 16, 2048),
        (16, 32, 8, 16, 1024),
        (8, 32, 4, 8, 2048),
        (8, 128, 8, 8, 1024),
    ),
}
"""The same module -> values of these numbers to try in addition to its own."""


def module_of(name: str):
    """The module that launches an action."""
    from metamixer.ops.kernels import launch, launch_rows

    return launch_rows if name.endswith("rows") else launch


def actions(c: int, side: int, k: int, batch: int, device: str) -> dict[str, tuple]:
    """Name -> (function, number of tensors that it must move)."""
    from metamixer.ops.kernels import launch, launch_rows, windows

    torch.manual_seed(0)
    dtype = torch.bfloat16 if device == "cuda" else torch.float16
    x, grad = (torch.randn(batch, c, side, side, device=device, dtype=dtype) for _ in range(2))
    w = torch.randn(c, k, k, device=device, dtype=dtype) / k
    b = torch.randn(c, device=device)
    found = {}
    for suffix, form, arrange in (("", launch, channel_major), (", rows", launch_rows, channels_last)):
        ours, theirs = arrange(x), arrange(grad)
        found |= {
            f"convolve{suffix}": (partial(form.convolve, ours, w, b, epilogue=windows.PLAIN), 2),
            f"GELU backward{suffix}": (
                partial(form.convolve, ours, w, b, epilogue=windows.GELU_BACKWARD, other=theirs),
                3,
            ),
            f"moments{suffix}": (partial(form.moments, ours, w), 1),
            f"correlate{suffix}": (partial(form.correlate, ours, theirs, (k, k)), 2),
        }
    found["twice"] = (partial(launch.convolve_twice, channel_major(x), w, b, w, b), 2)
    return (
        found if cut(side, side, (k, k)).whole else {name: action for name, action in found.items() if name != "twice"}
    )


def references(c: int, side: int, k: int, batch: int, device: str) -> dict[str, Callable[[], object]]:
    """PyTorch's kernels on the same data."""
    torch.manual_seed(0)
    x = torch.randn(batch, c, side, side, device=device, dtype=torch.bfloat16)
    w = torch.randn(c, 1, k, k, device=device, dtype=torch.bfloat16, requires_grad=True)
    last = x.to(memory_format=torch.channels_last).requires_grad_()
    first = x.clone().requires_grad_()
    y, z = (F.conv2d(v, w, padding=k // 2, groups=c) for v in (first, last))
    grad, grad_last = torch.randn_like(y), torch.randn_like(z)
    return {
        "cuDNN convolve, NCHW": lambda: F.conv2d(first, w, padding=k // 2, groups=c),
        "cuDNN convolve, channels-last": lambda: F.conv2d(last, w, padding=k // 2, groups=c),
        "cuDNN backward, NCHW": lambda: torch.autograd.grad(y, (first, w), grad, retain_graph=True),
        "cuDNN backward, channels-last": lambda: torch.autograd.grad(z, (last, w), grad_last, retain_graph=True),
    }


def channel_major(x: Tensor) -> Tensor:
    return x.transpose(0, 1).contiguous().transpose(0, 1)


def channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def settings(name: str, c: int, side: int, k: int) -> Iterator[dict[str, int]]:
    """Candidates for the numbers of a launch; its current numbers come first."""
    module = module_of(name)
    key = module.__name__.rpartition(".")[2]
    yield {number: getattr(module, number) for number in NUMBERS[key]}
    found = cut(side, side, (k, k))
    candidates = (dict(zip(NUMBERS[key], values, strict=True)) for values in SETTINGS[key])
    yield from (numbers for numbers in candidates if numbers.get("CHUNK", 0) <= found.k)


def take(name: str, setting: tuple) -> None:
    """Put a setting into the module that launches an action."""
    for number, value in setting:
        setattr(module_of(name), number, value)


def compile_one(job: tuple) -> str:
    """Run one setting on a small batch, so that the compiled kernel is cached on disk; return the error or ""."""
    name, shape, setting = job
    take(name, setting)
    try:
        actions(*shape, batch=8, device="cuda")[name][0]()
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
    content = {
        "gpu": "none" if dry else torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "copy_bytes_a_second": rate,
        "shapes": {},
    }
    shapes = (DRY_SHAPES if dry else SHAPES)[: options.shapes]
    jobs = {
        (name, shape): list(dict.fromkeys(tuple(choice.items()) for choice in settings(name, *shape)))[
            : 1 if dry else 9
        ]
        for shape in shapes
        for name in actions(16, *shape[1:], batch=2, device=options.device)
    }
    flat = [(name, shape, setting) for (name, shape), choices in jobs.items() for setting in choices]
    print(f"{len(flat)} settings", flush=True)
    refused = {} if dry else compile_all(flat)
    print(f"compiled, {end - time.time():.0f} s left; refused {len(refused)}: {set(refused.values())}", flush=True)
    for shape in shapes:
        if time.time() > end:
            break
        content["shapes"][str(shape)] = measure(shape, jobs, refused, rate, end, options.device)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n")


def measure(
    shape: tuple[int, int, int], jobs: dict, refused: dict[tuple, str], rate: float, end: float, device: str
) -> dict:
    """Times of all kernels on one shape."""
    c, side, _ = shape
    batch = BATCH if device == "cuda" else DRY_BATCH
    ours = actions(*shape, batch=batch, device=device)
    tensor_bytes = 2 * batch * c * side * side
    found = {}
    for name, (action, tensors) in ours.items():
        limit = tensors * tensor_bytes / rate * 1e3
        taken = {}
        for setting in jobs[name, shape]:
            if (name, shape, setting) not in refused and (time.time() < end or not taken):
                take(name, setting)
                taken[setting] = graph_milliseconds(action, rep=8)
        chosen, best = jobs[name, shape][0], min(taken, key=taken.get)
        take(name, chosen)
        ordered = sorted(taken.items(), key=lambda item: item[1])
        found[name] = {
            "limit_ms": limit,
            "chosen_ms": taken.get(chosen),
            "ms": {str(dict(setting)): ms for setting, ms in ordered},
        }
        print(
            f"{shape} {name:20s} limit {limit:.4f} chosen {taken.get(chosen, -1):.4f} best {taken[best]:.4f} "
            f"{list(dict(best).values())}",
            flush=True,
        )
    for name, action in references(*shape, batch=batch, device=device).items():
        found[name] = {"ms": bench_milliseconds(action)}
        print(f"{shape} {name} {found[name]['ms']:.4f}", flush=True)
    return found


if __name__ == "__main__":
    main()
