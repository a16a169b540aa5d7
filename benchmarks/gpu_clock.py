"""Shared code of the kernels' benchmarks: the GPU's clock, and a dry run in Triton's interpreter on the CPU."""

import os
import time
from collections.abc import Callable

import torch

from metamixer.ops import kernels


def interpret() -> None:
    """Run the kernels in Triton's interpreter from now on; Triton reads the variable when it is imported."""
    if os.environ.get("TRITON_INTERPRET") != "1":
        raise SystemExit("--device cpu is a dry run: start it with TRITON_INTERPRET=1")
    kernels.INTERPRETED = True


def call_milliseconds(action: Callable[[], object], repeats: int = 5) -> float:
    """Milliseconds per call of several consecutive calls, launches included."""
    if not torch.cuda.is_available():
        return wall_milliseconds(action)
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    for _ in range(repeats):
        action()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / repeats


def graph_milliseconds(action: Callable[[], object], rep: int = 20) -> float:
    """Milliseconds of a CUDA graph, without the CPU's time to launch kernels."""
    import triton

    if not torch.cuda.is_available():
        return wall_milliseconds(action)
    return triton.testing.do_bench_cudagraph(action, rep=rep, return_mode="median")


def bench_milliseconds(action: Callable[[], object], warmup: int = 4, rep: int = 12) -> float:
    """Milliseconds of repeated calls, the cache cleared between them."""
    import triton

    if not torch.cuda.is_available():
        return wall_milliseconds(action)
    return triton.testing.do_bench(action, warmup=warmup, rep=rep, return_mode="median")


def wall_milliseconds(action: Callable[[], object]) -> float:
    """Milliseconds of one call on the CPU."""
    start = time.perf_counter()
    action()
    return 1e3 * (time.perf_counter() - start)
