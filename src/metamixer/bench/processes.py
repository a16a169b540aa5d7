"""The processes of a benchmark. This file imports little, so that the process of the matrix product starts quickly."""

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from ..errors import InputError, first_line

SHORTEST = 0.02
"""Minimum seconds of a measurement, which averages over several calls if needed."""

MATMUL = 1536

Build = Callable[[], tuple[Callable[[], object], float, float]]
"""Gives what is timed, its error and its GFLOP."""


class Worker:
    """A process with one form, which it runs on demand."""

    def __init__(self, name: str, build: Build, *, threads: int):
        context = multiprocessing.get_context("spawn")
        self.name = name
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(build, threads, theirs), daemon=True)
        self.process.start()
        theirs.close()
        self.seconds: list[float] = []

    def wait_until_built(self) -> None:
        """Build the form and receive its properties; forms are built one at a time."""
        self.about = self._ask("build")
        if isinstance(self.about, str):
            raise InputError(f"{self.name}: {self.about}")

    def run(self, *, counts: bool) -> None:
        """Take one measurement."""
        seconds = self._ask("run")
        if counts:
            self.seconds.append(seconds)

    def finish(self) -> dict[str, Any]:
        """End the process and return what was measured."""
        memory = self._ask("finish")
        self.process.join()
        return {"seconds": tuple(self.seconds), "memory": memory, **self.about}

    def _ask(self, what: str):
        try:
            self.pipe.send(what)
            return self.pipe.recv()
        except (EOFError, OSError):
            raise InputError(f"{self.name}: its process ended (out of memory?)") from None


def serve(build: Build, threads: int, pipe: Connection) -> None:
    """The worker process: build, then run on request, then report the peak memory."""
    torch.set_num_threads(threads)
    pipe.recv()
    start = time.perf_counter()
    try:
        call, error, gflops = build()
        call()
    except Exception as problem:
        pipe.send(first_line(problem))
        return
    pipe.send({"error": error, "gflops": gflops, "build_seconds": time.perf_counter() - start})
    _forget_peak()
    while pipe.recv() == "run":
        calls, start = 0, time.perf_counter()
        while time.perf_counter() - start < SHORTEST or not calls:
            call()
            calls += 1
        pipe.send((time.perf_counter() - start) / calls)
    pipe.send(_peak_memory())


def build_matrix_product() -> tuple[Callable[[], object], float, float]:
    """A large matrix product, by which the machine's peak is measured."""
    a, b = torch.randn(2, MATMUL, MATMUL)
    return lambda: a @ b, 0.0, 2 * MATMUL**3 / 1e9


def _forget_peak() -> None:
    """Reset the kernel's peak memory counter, to exclude building; only on Linux."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _peak_memory() -> int:
    """Peak memory of this process in bytes."""
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
