"""Compare an epoch of ETTh1 by the published code and by ours, from the same weights and windows: time and losses.

    METAMIXER_DATA=DATA python benchmarks/forecasting_epoch.py --published FFNet/time_series_forecasting

`--published` is the authors' folder (their code is not part of this package). Both use the same training loop, in fresh
processes, in turn. Dropout is off, because its random numbers would make the losses differ. Writes
benchmarks/results/forecasting_epoch.{json,md}.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path

import torch
from forecasting_speed import BATCH, published_network
from report import write_results
from torch import Tensor, nn

from metamixer import create_model, load_published
from metamixer.data.series.series_data import SeriesData
from metamixer.ops.series import Dropout
from metamixer.system.allocator import keep_freed_memory
from metamixer.system.machine import describe_machine

RESULTS = Path(__file__).parent / "results/forecasting_epoch"
SPLIT = (8640, 2880, 2880)
LEARNING_RATE = 1e-4
CONTENDERS = ("published", "ours")


def without_dropout(network: nn.Module) -> nn.Module:
    """Set every dropout to zero."""
    for module in network.modules():
        if isinstance(module, (nn.Dropout, Dropout)):
            module.p = 0.0
    return network


def contender(name: str, published: Path) -> nn.Module:
    """The authors' network, or ours with its weights."""
    torch.manual_seed(0)
    theirs = published_network(published)
    if name == "published":
        return without_dropout(theirs)
    keep_freed_memory()
    ours = create_model("ffnet_ts")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it lists the modules that the published network never uses
        load_published(ours, theirs.state_dict())
    return without_dropout(ours)


def train_an_epoch(network: nn.Module, batches: list[Tensor]) -> dict:
    """Seconds of an epoch, and the loss of each step."""
    optimizer = torch.optim.Adam(network.train().parameters(), lr=LEARNING_RATE)
    losses, start = [], time.perf_counter()
    for batch in batches:
        optimizer.zero_grad()
        loss = (network(batch[:, :96]) - batch[:, 96:]).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return {"seconds": time.perf_counter() - start, "losses": losses}


def shuffled_batches() -> list[Tensor]:
    """ETTh1's training windows (B, 192, 7), in the same order for both."""
    windows = SeriesData("forecasting/ETTh1.csv", split=SPLIT).windows("train").windows
    order = torch.randperm(len(windows), generator=torch.Generator().manual_seed(0))
    return [windows[part] for part in order.split(BATCH) if len(part) == BATCH]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--published", type=Path, required=True, help="the authors' folder time_series_forecasting")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", choices=CONTENDERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(train_an_epoch(contender(options.one, options.published), shuffled_batches())))
        return
    epochs: dict[str, list[dict]] = {name: [] for name in CONTENDERS}
    for _ in range(options.rounds):
        for name in CONTENDERS:
            output = subprocess.run(
                [sys.executable, *sys.argv, "--one", name], check=True, stdout=subprocess.PIPE, text=True
            ).stdout
            epochs[name].append(json.loads(output.splitlines()[-1]))
    report(epochs)


def report(epochs: dict[str, list[dict]]) -> None:
    """Write the results as JSON and as a table."""
    theirs, ours = (epochs[name] for name in CONTENDERS)
    speed = statistics.median(their["seconds"] / our["seconds"] for their, our in zip(theirs, ours, strict=True))
    apart = max(abs(a - b) / a for a, b in zip(theirs[0]["losses"], ours[0]["losses"], strict=True))
    lines = [
        f"An epoch of ETTh1, lookback and horizon 96, batch {BATCH}, no dropout, the same initial weights; medians "
        f"of {len(ours)} "
        f"interleaved rounds. Measured on: {torch.get_num_threads()} threads, {describe_machine()}.",
        "",
        "| code | seconds | steps | loss of the first step | loss of the last step |",
        "|---|---|---|---|---|",
    ]
    for name in CONTENDERS:
        losses = epochs[name][0]["losses"]
        seconds = statistics.median(each["seconds"] for each in epochs[name])
        lines.append(f"| {name} | {seconds:.1f} | {len(losses)} | {losses[0]:.6f} | {losses[-1]:.6f} |")
    lines += ["", f"Ours is {speed:.1f} times as fast; the losses of a step differ by at most {apart:.1e} of the loss."]
    write_results(RESULTS, lines, {"epochs": epochs, "speed": speed, "largest_difference": apart})


if __name__ == "__main__":
    main()
