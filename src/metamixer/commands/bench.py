"""metamixer bench"""

import json as json_format
from collections.abc import Sequence
from pathlib import Path

import torch

from ..errors import InputError
from ..files import write_text


def bench(
    networks: Sequence[str],
    *,
    vs: Sequence[str] = (),
    batch: Sequence[int] = (1,),
    sizes: Sequence[int] = (),
    backends: Sequence[str] = (),
    precisions: Sequence[str] = ("fp32", "bf16"),
    threads: int | None = None,
    rounds: int = 15,
    warmup: int = 3,
    json: str | None = None,
    picture: str | None = None,
) -> None:
    """Time networks in every form on this machine: interleaved rounds, medians and quartiles, memory, share of the fp32 peak.

    Args:
        networks: networks by name.
        threads: threads of each form; none: as many as PyTorch uses.
        rounds: rounds that count.
        warmup: rounds before those.
        json: file for everything that was measured.
        picture: file for a picture of published top-1 against latency.
    """
    from ..bench import PUBLISHED, Entry, as_json, draw_pareto, run_bench, sizes_of, table
    from ..deployment.backends import BACKENDS, find_backend, installed_backends
    from ..machine import describe_machine

    names = [*networks, *vs]
    own = sizes_of(names, None)
    backends = backends or [name for name in installed_backends() if name != "compile"]
    ways = [(name, kind) for name in backends for kind in precisions if kind in find_backend(name).precisions]
    unknown = set(precisions) - {kind for backend in BACKENDS.values() for kind in backend.precisions}
    if unknown or not ways:
        raise InputError(f"precisions {' '.join(precisions)} for {' '.join(backends)}, expected some of fp32 bf16 int8 that these know")
    forms = [(PUBLISHED, "fp32"), *ways]
    results, peaks = [], []
    for name in names:
        for side in sizes or (own[name],):
            for count in batch:
                group = [Entry(name, side, count, *form) for form in forms]
                measured, peak = run_bench(group, threads=threads or torch.get_num_threads(), rounds=rounds, warmup=warmup)
                results += measured
                peaks.append(peak)
    print(f"{describe_machine()}, {threads or torch.get_num_threads()} threads, measured fp32 peak {max(peaks):.0f} GFLOP/s\n")
    print(table(results, max(peaks)))
    if json:
        write_text(Path(json), json_format.dumps(as_json(results, max(peaks), describe_machine()), indent=1))
    if picture:
        draw_pareto(results, Path(picture))
