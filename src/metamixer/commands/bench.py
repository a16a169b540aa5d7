"""metamixer bench"""

import json as json_format
from collections.abc import Sequence
from pathlib import Path

import torch

from ..drawing.figures import check_figure_name
from ..system.files import check_targets, write_text


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
    overwrite: bool = False,
) -> None:
    """Benchmark networks on this machine, on every backend: interleaved rounds, medians, quartiles, memory.

    Args:
        networks: names of networks.
        threads: threads of each form; default: PyTorch's.
        rounds: measured rounds.
        warmup: rounds before the measured ones.
        json: file for all measurements.
        picture: file for a plot of published top-1 against latency.
        overwrite: replace existing results.
    """
    from ..bench.protocol import choose_forms, left_out, time_networks
    from ..bench.report import as_json, check_drawable, draw_pareto, table
    from ..system.machine import describe_machine

    names = [*networks, *vs]
    forms, missing = choose_forms(backends, precisions), left_out(backends, precisions)
    check_targets([Path(name) for name in (json, picture) if name], sources=(), overwrite=overwrite)
    if picture:
        check_figure_name(picture)
        check_drawable(names, sizes)
    threads = torch.get_num_threads() if threads is None else threads
    results, peak = time_networks(
        names, forms, sizes=sizes, batches=batch, threads=threads, rounds=rounds, warmup=warmup
    )
    print(f"{describe_machine()}, {threads} threads, measured fp32 peak {peak:.0f} GFLOP/s\n")
    print(table(results, peak))
    if missing:
        print(f"\nLeft out, because the backend doesn't support the precision: {', '.join(missing)}.")
    if json:
        about = {
            "machine": describe_machine(),
            "threads": threads,
            "rounds": rounds,
            "warmup": warmup,
            "left_out": missing,
        }
        write_text(Path(json), json_format.dumps(as_json(results, peak, about), indent=1))
    if picture:
        draw_pareto(results, Path(picture))
