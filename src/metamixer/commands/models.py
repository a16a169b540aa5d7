"""metamixer models"""

from collections.abc import Sequence
from typing import Any

from ..errors import InputError
from ..zoo.networks import METRICS, NETWORKS, Network
from ..zoo.weights import DATA, PAPER, Weights, weights_of
from .output import Output

COLUMNS = "{name:29s}{parameters:>9s}{macs:>11s}{pixels:>11s}  {figures:36s}{weights}"
HEADINGS = {"parameters": "params", "macs": "MACs", "pixels": "pixels", "weights": "weights"}

PUBLISHED = {"ffnet_3d": "published, see docs/points.md"}
"""Networks whose published weights have no entry, as they aren't downloaded, and what to say instead."""

Entry = tuple[str, Network, Weights | None]
"""A name, its network's size, and its weights if any are available."""


def models(*, task: str | None = None, json: str | None = None, overwrite: bool = False) -> None:
    """List the networks and their weights: sizes in deploy form, metrics, and where to find the weights.

    Args:
        task: classification, detection, segmentation, super_resolution, restoration, forecasting,
            zero_shot_forecasting or points; default: all.
        json: file for the list, with license, training data and URL of each; "-" for standard output instead of the
            table.
        overwrite: replace an existing file.
    """
    if task not in (None, *METRICS):
        raise InputError(f"task {task!r}, expected one of {', '.join(METRICS)}")
    output = Output(json, overwrite=overwrite)
    tasks = [task] if task else list(METRICS)
    for each in tasks:
        metric = METRICS[each]
        output.say(COLUMNS.format(name=metric.heading, figures=metric.name, **HEADINGS))
        output.say("\n".join(row(*entry) for entry in entries_of(each)))
    output.end(
        [about(*entry) for each in tasks for entry in entries_of(each)],
        then="--model NAME in the command of the task, such as metamixer predict photo.jpg --model ffnet_1; "
        "see docs/networks.md",
    )


def entries_of(task: str) -> list[Entry]:
    """Each network of a task once per file of weights, or once if it has none."""
    networks = {name: network for name, network in NETWORKS.items() if network.task == task}
    return [
        (each.name if each else name, each.size if each else network, each)
        for name, network in networks.items()
        for each in weights_of(name) or [None]
    ]


def row(name: str, network: Network, weights: Weights | None) -> str:
    """A line of the table."""
    height, width = network.pixels or (0, 0)
    return COLUMNS.format(
        name=name,
        parameters=f"{network.parameters / 1e6:.1f} M",
        macs="" if network.macs is None else f"{network.macs / 1e9:.2f} G",
        pixels="" if not width else str(width) if height == width else f"{height}x{width}",
        figures=figures_of(network, weights),
        weights=place_of(name, weights),
    )


def figures_of(network: Network, weights: Weights | None) -> str:
    """The figures and their source."""
    figures, measured = (weights.figures, weights.measured) if weights else (network.figures, PAPER)
    published = measured == PAPER
    if not figures:
        return ("not stated" if published else "not measured") if weights else ""
    decimals = METRICS[network.task].decimals
    values = with_sets([f"{figure:.{decimals}f}" for figure in figures], weights.tests if weights else ())
    return f"{' / '.join(values)} ({'paper' if published else 'ours'})"


def with_sets(values: Sequence[str], tests: Sequence[str]) -> Sequence[str]:
    """The figures after the names of their test sets, each name once; tests: "SET, HOW" for each figure, or empty."""
    sets = [test.partition(",")[0] for test in tests] or [""] * len(values)
    named = zip(values, sets, ["", *sets[:-1]], strict=True)
    return [value if name == last else f"{name} {value}" for value, name, last in named]


def place_of(name: str, weights: Weights | None) -> str:
    """Where to find the weights."""
    if weights is None:
        return PUBLISHED.get(name, "no weights")
    return "in the package" if weights.packaged else f"download {weights.megabytes:g} MB"


def about(name: str, network: Network, weights: Weights | None) -> dict[str, Any]:
    """An entry as JSON."""
    known = {
        "name": name,
        "task": network.task,
        "parameters": network.parameters,
        "macs": network.macs,
        "pixels": network.pixels,
        "metric": METRICS[network.task].name,
        "figures": weights.figures if weights else network.figures,
        "weights": place_of(name, weights),
    }
    if weights is None:
        return known
    return {
        **known,
        "network": weights.network,
        "measured": weights.measured,
        "tests": weights.tests,
        "classes": weights.classes,
        "training_data": weights.data,
        "terms_of_the_data": DATA[weights.data],
        "licence": weights.licence,
        "megabytes": weights.megabytes,
        "url": None if weights.packaged else weights.url,
        "sha256": weights.sha256,
    }
