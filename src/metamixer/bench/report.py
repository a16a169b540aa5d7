"""Output of `metamixer bench`: a table, all results as plain values, and a plot of accuracy against latency."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from ..deployment.backends import versions
from ..errors import InputError
from .accuracy import PUBLISHED
from .protocol import Result, own_sizes


def table(results: Sequence[Result], peak: float) -> str:
    """A Markdown table; speed is relative to the first form of the same network, size and batch."""
    lines = [
        "| network | px | batch | form | ms, median | quartiles | speed, first form = 1 | error | GFLOP/s | of "
        "fp32 peak | memory |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    first: dict[tuple, Result] = {}
    for result in results:
        entry = result.entry
        base = first.setdefault((entry.network, entry.size, entry.batch), result)
        speed = statistics.median(theirs / ours for theirs, ours in zip(base.seconds, result.seconds, strict=True))
        low, high = result.quartiles
        lines.append(
            f"| {entry.network} | {entry.size} | {entry.batch} | {entry.backend} {entry.precision} | "
            f"{1e3 * result.median:.1f} "
            f"| {1e3 * low:.1f} to {1e3 * high:.1f} | {speed:.2f} | {result.error:.0e} | {result.rate:.0f} | "
            f"{result.rate / peak:.0%} "
            f"| {result.memory / 1e6:.0f} MB |"
        )
    return "\n".join(lines)


def as_json(results: Sequence[Result], peak: float, about: Mapping[str, object]) -> dict:
    """All measurements as plain values; about: the settings of the benchmark."""
    rows = [{**asdict(result), "median": result.median, "quartiles": result.quartiles} for result in results]
    return {**about, "versions": versions(), "fp32_peak_gflops": peak, "results": rows}


def check_drawable(networks: Sequence[str], sizes: Sequence[int]) -> None:
    """Raise InputError if the plot would be empty; sizes: empty for each network's own."""
    own = own_sizes(networks)
    timed = [(name, size) for name in networks for size in sizes or (own[name],)]
    if not any(place in PUBLISHED for place in timed):
        places = ", ".join(f"{name} at {size} px" for name, size in timed)
        raise InputError(f"picture of {places}: no published accuracies, expected a network and size that has one")


def draw_pareto(results: Sequence[Result], out: Path) -> None:
    """Plot published top-1 against the latency of each network's fastest form, at the first batch size.

    Networks without a published accuracy at the timed size are left out.
    """
    from ..drawing.figures import new_figure, save_figure

    figure = new_figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    fastest = fastest_forms(results)
    forms = {result.entry: f"{result.entry.backend} {result.entry.precision}" for result in fastest}
    same = len(set(forms.values())) == 1
    for result in fastest:
        entry, accuracy = result.entry, PUBLISHED.get((result.entry.network, result.entry.size))
        if accuracy:
            place = (1e3 * result.median, accuracy.top1)
            axes.scatter(*place, color="crimson" if entry.network.startswith("ffnet") else "steelblue")
            label = (
                f"{entry.network} {entry.size}px{', distilled' * accuracy.distilled}{f' ({forms[entry]})' * (not same)}"
            )
            axes.annotate(label, place, fontsize=7, xytext=(4, 3), textcoords="offset points")
    title = f"Each network in its fastest form{f', {forms[fastest[0].entry]}' * same}, batch {fastest[0].entry.batch}"
    axes.set(xlabel="milliseconds per call", ylabel="ImageNet-1K top-1, published (%)", title=title)
    axes.margins(x=0.15)
    axes.grid(alpha=0.3)
    save_figure(figure, out)


def fastest_forms(results: Sequence[Result]) -> list[Result]:
    """The fastest form of each network and size, at the first batch size."""
    fastest: dict[tuple[str, int], Result] = {}
    for result in results:
        entry = result.entry
        if entry.batch == results[0].entry.batch:
            key = (entry.network, entry.size)
            fastest[key] = min(fastest.get(key, result), result, key=lambda each: each.median)
    return list(fastest.values())
