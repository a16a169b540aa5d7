"""The benchmark protocol, the same for every network and every form of it.

Each form runs in its own process, in turn, so that all have the same conditions in every round and don't share threads
or memory.
"""

import itertools
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from ..checkpoints.source import info_of
from ..deployment.backends import BACKENDS, build, find_backend, installed_backends
from ..deployment.parity import compare
from ..deployment.samples import example_of
from ..errors import InputError, at_least, expect_integer, expect_room
from ..models import create_model
from ..models.tasks import TASKS
from .complexity import measure
from .processes import Worker, build_matrix_product

MOST_THREADS, MOST_ROUNDS = 1024, 1_000_000

PUBLISHED_FORM = "published"
"""The form in which the authors run their networks: eager, not fused, in PyTorch's default memory layout."""


@dataclass(frozen=True)
class Entry:
    """A network in a form, which is timed."""

    network: str
    size: int
    batch: int
    backend: str
    precision: str

    def __str__(self) -> str:
        return f"{self.network} at {self.size} px, batch {self.batch}, {self.backend} {self.precision}"


@dataclass(frozen=True)
class Result:
    """Measurements of an entry.

    seconds: per call, in each round; error: relative to the largest output; memory: peak in bytes.
    """

    entry: Entry
    seconds: tuple[float, ...]
    error: float
    gflops: float
    memory: int
    build_seconds: float

    @property
    def median(self) -> float:
        """Median seconds per call."""
        return statistics.median(self.seconds)

    @property
    def quartiles(self) -> tuple[float, float]:
        """Lower and upper quartile of the seconds per call."""
        if len(self.seconds) < 2:
            return self.median, self.median
        low, _, high = statistics.quantiles(self.seconds, n=4)
        return low, high

    @property
    def rate(self) -> float:
        """Effective GFLOP/s: the network's multiply-accumulates, two operations each, over the median time."""
        return self.gflops / self.median


class Unfused(nn.Module):
    """The published form as a runtime."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    @torch.inference_mode()
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (B, C, H, W) -> the network's output."""
        return self.network(x)


def choose_forms(backends: Sequence[str], precisions: Sequence[str]) -> list[tuple[str, str]]:
    """Backend and precision of each form, the published one first; by default all installed backends but compile.

    Raises InputError for unknown backends or precisions.
    """
    backends = backends or default_backends()
    forms = [(name, kind) for name in backends for kind in precisions if kind in find_backend(name).precisions]
    unknown = set(precisions) - {kind for backend in BACKENDS.values() for kind in backend.precisions}
    if unknown or not forms:
        raise InputError(
            f"precisions {' '.join(precisions)} for {' '.join(backends)}, expected some of fp32 bf16 int8 that "
            "they support"
        )
    return [(PUBLISHED_FORM, "fp32"), *forms]


def default_backends() -> list[str]:
    """All installed backends except compile, which is slow to build."""
    return [name for name in installed_backends() if name != "compile"]


def left_out(backends: Sequence[str], precisions: Sequence[str]) -> list[str]:
    """The forms that `choose_forms` leaves out: backends with a precision that they don't support."""
    return [
        f"{name} {kind}"
        for name in backends or default_backends()
        for kind in precisions
        if kind not in find_backend(name).precisions
    ]


def time_networks(
    networks: Sequence[str],
    forms: Sequence[tuple[str, str]],
    *,
    sizes: Sequence[int],
    batches: Sequence[int],
    threads: int,
    rounds: int,
    warmup: int,
    on_round: Callable[[int, int], object] = lambda done, count: None,
) -> tuple[list[Result], float]:
    """Time networks: the forms of one network, size and batch in interleaved rounds, then the next.

    sizes: empty for each network's own; on_round: called with (rounds done, all rounds).
    """
    at_least("sizes", min(sizes, default=1), 1)
    at_least("batch", min(batches, default=1), 1)
    expect_integer("threads", threads, 1, MOST_THREADS)
    expect_integer("rounds", rounds, 1, MOST_ROUNDS)
    expect_integer("warmup", warmup, 0, MOST_ROUNDS)
    own = own_sizes(networks)
    largest = max(sizes or own.values())
    expect_room("batch and sizes", (max(batches, default=1), 3, largest, largest))
    results, peaks = [], []
    count = len(networks) * (len(sizes) or 1) * len(batches) * (warmup + rounds)
    done = itertools.count(1)
    for name in networks:
        for size in sizes or (own[name],):
            for batch in batches:
                entries = [Entry(name, size, batch, *form) for form in forms]
                measured, peak = run_bench(
                    entries,
                    threads=threads,
                    rounds=rounds,
                    warmup=warmup,
                    on_round=lambda: on_round(next(done), count),
                )
                results += measured
                peaks.append(peak)
    return results, max(peaks)


def run_bench(
    entries: Sequence[Entry],
    *,
    threads: int,
    rounds: int,
    warmup: int,
    on_round: Callable[[], object] = lambda: None,
) -> tuple[list[Result], float]:
    """Time all entries in interleaved rounds, and the machine's fp32 peak in GFLOP/s by a large matrix product.

    Raises InputError that names an entry that can't be built.
    """
    workers = [Worker("matrix product", build_matrix_product, threads=threads)]
    workers += [Worker(str(entry), partial(build_entry, entry), threads=threads) for entry in entries]
    try:
        for worker in workers:
            worker.wait_until_built()
        for i in range(warmup + rounds):
            for worker in workers:
                worker.run(counts=i >= warmup)
            on_round()
        product, *measured = [worker.finish() for worker in workers]
    finally:
        for worker in workers:
            worker.process.terminate()
    results = [Result(entry, **values) for entry, values in zip(entries, measured, strict=True)]
    return results, max(product["gflops"] / seconds for seconds in product["seconds"])


def own_sizes(networks: Sequence[str]) -> dict[str, int]:
    """Each network's default image side in pixels; raises InputError for networks that don't take images."""
    sizes = {}
    for name in networks:
        with torch.device("meta"):
            network = create_model(name)
        info = info_of(name)
        if not TASKS[info["task"]].images:
            able = ", ".join(task.name for task in TASKS.values() if task.images)
            raise InputError(f"network {name!r} for {info['task']}, expected one for {able}")
        sizes[name] = example_of(network, info).shape[-1]
    return sizes


def build_entry(entry: Entry) -> tuple[Callable[[], object], float, float]:
    """The entry's call, its error and its GFLOP."""
    torch.manual_seed(0)
    network = create_model(entry.network).eval()
    example = example_of(network, info_of(entry.network), size=entry.size)
    x = torch.randn(entry.batch, *example.shape[1:])
    calibration = torch.randn(8, *x.shape[1:]) if entry.precision == "int8" else None
    build_form = partial(build, entry.backend, precision=entry.precision, calibration=calibration)
    runtime = Unfused(network) if entry.backend == PUBLISHED_FORM else build_form(network, x)
    error = compare(runtime, network, [x]).largest
    gflops = 2 * entry.batch * measure(network, x[:1]).macs / 1e9
    del network
    return (lambda: runtime(x)), error, gflops
