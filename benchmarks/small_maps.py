"""Time of a training step of ffnet_nano on one thread, with depthwise convolutions of small maps as matrix products
and without.

    python benchmarks/small_maps.py

Writes benchmarks/results/small_maps.{json,md}. Processor time, so that other processes count less.
"""

import argparse
import copy
import time
from pathlib import Path

import torch
from torch.nn import functional as F
from trainings import write_results

from metamixer import create_model
from metamixer.ops.small_maps import use_matrices
from metamixer.system.machine import describe_machine
from metamixer.training.command_line import use_fast_settings

RESULTS = Path(__file__).parent / "results/small_maps"
SIZES = (48, 64, 80, 96)


def images_per_second(network: torch.nn.Module, *, size: int, batch: int, steps: int) -> float:
    """Of training steps with AdamW, by processor time."""
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, fused=True)
    images = torch.randn(batch, 3, size, size).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 100, (batch,))

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(network(images), labels).backward()
        optimizer.step()

    step()
    start = time.process_time()
    for _ in range(steps):
        step()
    return batch * steps / (time.process_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=4, help="steps of each measurement, the better of two")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where to write, without a suffix")
    options = parser.parse_args()
    torch.set_num_threads(1)
    use_fast_settings()
    plain = create_model("ffnet_nano", num_classes=100).to(memory_format=torch.channels_last)
    forms = {"oneDNN": plain, "matrices": use_matrices(copy.deepcopy(plain))}
    rows = {
        size: {
            name: max(images_per_second(network, size=size, batch=options.batch, steps=options.steps) for _ in range(2))
            for name, network in forms.items()
        }
        for size in SIZES
    }
    lines = [
        f"`ffnet_nano`, training, batch {options.batch}, one thread, images per second of processor time "
        f"({describe_machine()}).",
        "",
        "| size | oneDNN | matrices |",
        "|---|---|---|",
        *(f"| {size} px | {row['oneDNN']:.0f} | {row['matrices']:.0f} |" for size, row in rows.items()),
    ]
    write_results(options.out, lines, {"rows": rows})


if __name__ == "__main__":
    main()
