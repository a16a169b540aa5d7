"""How much each branch adds to its signal before training: does a network start as little more than the identity?

    python benchmarks/initialization.py

FFNet-SR has no norms, and with PyTorch's default initialization its training stays on a plateau; it now begins with a
signal of unit variance. This looks at the other networks: the std of what a branch
adds, as a fraction of the std of its input (median over the branches, and the smallest), whether all branches have a
norm, and the same for FFNet-SR with PyTorch's default. Small variants, random input, mean over seeds; trains nothing.
Writes benchmarks/results/initialization.{json,md}.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import mean, median

import torch
from report import write_results
from torch import Tensor, nn
from trainings import FOLDER

from metamixer import create_model
from metamixer.mixer import Residual
from metamixer.models.tasks import TASKS

RESULTS = FOLDER / "results/initialization"


SIDE = 64
"""Of the random images, in pixels."""


def as_built(network: nn.Module) -> None:
    """Leave the initialization of the network's class."""


def with_defaults(network: nn.Module) -> None:
    """PyTorch's default initialization of every layer."""
    for layer in network.modules():
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()


@dataclass(frozen=True)
class Start:
    """A network of a task as it begins; arguments: of `create_model`."""

    title: str
    network: str
    task: str
    arguments: dict = field(default_factory=dict)
    initialize: Callable[[nn.Module], None] = as_built


STARTS = (
    Start("FFNet-SR with PyTorch's default", "ffnet_sr_nano", "super_resolution", initialize=with_defaults),
    Start("FFNet-SR", "ffnet_sr_nano", "super_resolution"),
    Start("FFNet", "ffnet_nano", "classification", {"num_classes": 10}),
    Start("FFNet-head on FFNet", "ffnet_head_ffnet_nano", "segmentation"),
    Start("FFNet-TS", "ffnet_ts", "forecasting"),
    Start("FFNet-TS Zero", "ffnet_ts_zero", "zero_shot_forecasting"),
    Start("FFNet-3D", "ffnet_3d_nano", "points"),
)


@dataclass(frozen=True)
class Branches:
    """The branches of a network: the fraction that each adds, and whether it has a norm."""

    added: list[float]
    normed: list[bool]


@torch.no_grad()
def look_at(start: Start, seed: int) -> Branches:
    """Build a network with a seed and pass an input through it, as in training: batch norms use the batch."""
    torch.manual_seed(seed)
    network = create_model(start.network, **start.arguments)
    start.initialize(network)
    branches = [module for module in network.modules() if isinstance(module, Residual)]
    added: list[float] = []
    for branch in branches:
        branch.register_forward_hook(lambda _, given, result: added.append(fraction_added(given[0], result)))
    task = TASKS[start.task]
    network.train()(task.example(network, {"model": start.network}, SIDE if task.images else None))
    return Branches(added, [any("Norm" in type(part).__name__ for part in branch.modules()) for branch in branches])


def fraction_added(before, after) -> float:
    """The std over positions of what a branch adds, relative to its input's; (B, C, ...) or sparse voxels."""
    before, after = (getattr(each, "features", each) for each in (before, after))
    return float(signal(after - before) / signal(before))


def signal(x: Tensor) -> Tensor:
    """The std around the mean of each channel, so that biases, which carry no signal, don't count."""
    return (x - x.mean(dim=[0, *range(2, x.ndim)], keepdim=True)).std()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    rows = {}
    for start in STARTS:
        found = [look_at(start, seed) for seed in options.seeds]
        rows[start.title] = {
            "branches": len(found[0].normed),
            "normed": sum(found[0].normed),
            "median": mean(median(each.added) for each in found),
            "smallest": mean(min(each.added) for each in found),
        }
        print(start.title, rows[start.title], flush=True)
    lines = [
        "What a branch adds before training: the std of its output by that of its input; means over "
        f"{len(options.seeds)} seeds (`python benchmarks/initialization.py`).",
        "",
        "| network | branches | with a norm | median | smallest |",
        "|---|---|---|---|---|",
        *(
            f"| {title} | {row['branches']} | {row['normed']} | {row['median']:.3g} | {row['smallest']:.3g} |"
            for title, row in rows.items()
        ),
    ]
    write_results(RESULTS, lines, {"seeds": options.seeds, "rows": rows})


if __name__ == "__main__":
    main()
