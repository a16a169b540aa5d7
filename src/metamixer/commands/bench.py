"""metamixer bench"""

import json as json_format
from collections.abc import Sequence
from pathlib import Path

import torch

from ..figures import check_figure_name
from ..files import check_targets, write_text


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
    """Time networks in every form on this machine: interleaved rounds, medians and quartiles, memory, share of the fp32 peak.

    Args:
        networks: networks by name.
        threads: threads of each form; none: as many as PyTorch uses.
        rounds: rounds that count.
        warmup: rounds before those.
        json: file for everything that was measured.
        picture: file for a picture of published top-1 against latency.
        overwrite: replace results that exist.
    """
    from ..bench import choose_forms, time_networks
    from ..bench_report import as_json, draw_pareto, table
    from ..machine import describe_machine

    if picture:
        check_figure_name(picture)
    check_targets([Path(name) for name in (json, picture) if name], sources=(), overwrite=overwrite)
    threads = torch.get_num_threads() if threads is None else threads
    results, peak = time_networks(
        [*networks, *vs],
        choose_forms(backends, precisions),
        sizes=sizes,
        batches=batch,
        threads=threads,
        rounds=rounds,
        warmup=warmup,
    )
    print(f"{describe_machine()}, {threads} threads, measured fp32 peak {peak:.0f} GFLOP/s\n")
    print(table(results, peak))
    if json:
        write_text(Path(json), json_format.dumps(as_json(results, peak, describe_machine()), indent=1))
    if picture:
        draw_pareto(results, Path(picture))
