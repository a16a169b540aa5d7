"""metamixer bench"""

from collections.abc import Sequence
from pathlib import Path

from ..drawing.figures import check_figure_name
from ..system.files import check_targets
from .output import Output
from .progress import working


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
        vs: other networks to compare with.
        batch: batch sizes.
        sizes: image sizes in pixels; default: each network's own.
        backends: any of onnxruntime, openvino, compile and eager; default: all that are installed except compile,
            which is slow to build.
        precisions: any of fp32, bf16 and int8.
        threads: number of threads; default: PyTorch's.
        rounds: measured rounds.
        warmup: rounds before the measured ones.
        json: file for all measurements as JSON; "-" for standard output, without other lines.
        picture: file for a plot of published top-1 against latency.
        overwrite: replace existing results.
    """
    import torch

    from ..bench.protocol import choose_forms, left_out, time_networks
    from ..bench.report import as_json, check_drawable, draw_pareto, table
    from ..system.machine import describe_machine

    names = [*networks, *vs]
    forms, missing = choose_forms(backends, precisions), left_out(backends, precisions)
    check_targets([Path(name) for name in (json, picture) if name not in (None, "-")], sources=(), overwrite=overwrite)
    output = Output(json, overwrite=overwrite)
    if picture:
        check_figure_name(picture)
        check_drawable(names, sizes)
    threads = torch.get_num_threads() if threads is None else threads
    with working(f"timing {', '.join(names)}") as show:
        results, peak = time_networks(
            names, forms, sizes=sizes, batches=batch, threads=threads, rounds=rounds, warmup=warmup, on_round=show
        )
    output.say(f"{describe_machine()}, {threads} threads, measured fp32 peak {peak:.0f} GFLOP/s\n")
    output.say(table(results, peak))
    if missing:
        output.say(f"\nLeft out, because the backend doesn't support the precision: {', '.join(missing)}.")
    if picture:
        draw_pareto(results, Path(picture))
    about = {"machine": describe_machine(), "threads": threads, "rounds": rounds, "warmup": warmup, "left_out": missing}
    output.end(
        as_json(results, peak, about),
        wrote=[picture] if picture else [],
        then="metamixer.deploy(network, example) in Python returns the fastest form",
    )
