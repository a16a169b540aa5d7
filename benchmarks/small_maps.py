"""Time of a training step of ffnet_nano, and of single layers, on one thread, with depthwise convolutions of small maps
as matrix products and without, in float32 and under autocast to bfloat16.

    python benchmarks/small_maps.py

Writes benchmarks/results/small_maps.{json,md}. Processor time, so that other processes count less.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from report import write_results
from torch import nn
from torch.nn import functional as F

from metamixer import create_model
from metamixer.ops.small_maps import use_matrices
from metamixer.system.machine import describe_machine
from metamixer.training.command_line import use_fast_settings

RESULTS = Path(__file__).parent / "results/small_maps"
PRECISIONS = {"float32": False, "bfloat16": True}
"""Name -> autocast to bfloat16."""
SIZES = (48, 64, 80, 96)
LAYERS = (
    *((7, 1, 64, size) for size in (4, 7, 8, 10, 14)),
    *((3, 1, 64, size) for size in (2, 3, 4, 7)),
    *((7, 2, 64, size) for size in (8, 14, 20, 24, 28)),
    *((3, 2, 64, size) for size in (4, 8, 10, 14, 24)),
)
"""Kernel, stride, channels and side of the map."""


def step_of(network: nn.Module, *, size: int, batch: int, autocast: bool) -> Callable[[], None]:
    """A training step with AdamW."""
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, fused=True)
    images = torch.randn(batch, 3, size, size).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 100, (batch,))

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = F.cross_entropy(network(images), labels)
        loss.backward()
        optimizer.step()

    return step


def pass_of(conv: nn.Conv2d, *, size: int, batch: int, autocast: bool) -> Callable[[], None]:
    """The forward and backward pass of a layer."""
    x = torch.randn(batch, conv.in_channels, size, size, dtype=torch.bfloat16 if autocast else torch.float32)
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_()

    def both() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = conv(x).sum()
        loss.backward()

    return both


def seconds(actions: Sequence[Callable[[], None]], rounds: int) -> list[float]:
    """Median processor time of each action, in turn, after one round."""
    taken: list[list[float]] = [[] for _ in actions]
    for _ in range(rounds + 1):
        for action, times in zip(actions, taken, strict=True):
            start = time.process_time()
            action()
            times.append(time.process_time() - start)
    return [statistics.median(times[1:]) for times in taken]


def layer(kernel: int, stride: int, channels: int, *, matrices: bool) -> nn.Conv2d:
    """A depthwise convolution, with two filters per channel if it has a stride, always or never by matrices."""
    filters = channels * (2 if stride > 1 else 1)
    conv = nn.Conv2d(channels, filters, kernel, stride, kernel // 2, groups=channels, bias=False)
    if matrices:
        use_matrices(conv)
        conv._pays = lambda size, dtype: True
    return conv


def network_table(batch: int, rounds: int) -> dict[str, list[float]]:
    """Size -> images per second of processor time: in each precision, with oneDNN's and with matrices."""
    plain = create_model("ffnet_nano", num_classes=100).to(memory_format=torch.channels_last)
    forms = (plain, use_matrices(copy.deepcopy(plain)))

    def steps(size: int) -> list[Callable[[], None]]:
        settings = [(form, autocast) for autocast in PRECISIONS.values() for form in forms]
        return [step_of(form, size=size, batch=batch, autocast=autocast) for form, autocast in settings]

    return {f"{size} px": [batch / s for s in seconds(steps(size), rounds)] for size in SIZES}


def layer_table(batch: int, rounds: int) -> dict[str, list[float]]:
    """Layer -> milliseconds: in each precision, with oneDNN's and with matrices."""
    found = {}
    for kernel, stride, channels, size in LAYERS:
        forms = [layer(kernel, stride, channels, matrices=matrices) for matrices in (False, True)]
        passes = [
            pass_of(form, size=size, batch=batch, autocast=autocast)
            for autocast in PRECISIONS.values()
            for form in forms
        ]
        title = f"{kernel}x{kernel} at stride {stride}, {channels} channels of {size}x{size}"
        found[title] = [1e3 * s for s in seconds(passes, rounds)]
    return found


def table(title: str, rows: dict[str, list[float]], ratio: Callable[[float, float], float], digits: int) -> list[str]:
    """Markdown: in each precision oneDNN's, ours, and how many times as fast ours is."""
    head = " | ".join(f"{name}: oneDNN | matrices | ratio" for name in PRECISIONS)
    lines = [f"| {title} | {head} |", "|---" * (1 + 3 * len(PRECISIONS)) + "|"]
    for name, numbers in rows.items():
        pairs = zip(numbers[::2], numbers[1::2], strict=True)
        cells = [f"{plain:.{digits}f} | {ours:.{digits}f} | {ratio(plain, ours):.2f}" for plain, ours in pairs]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, default=RESULTS, help="where to write, without a suffix")
    options = parser.parse_args()
    torch.set_num_threads(1)
    use_fast_settings()
    networks, layers = (measure(options.batch, options.rounds) for measure in (network_table, layer_table))
    lines = [
        f"`ffnet_nano`, training, batch {options.batch}, one thread, images per second of processor time "
        f"({describe_machine()}); bfloat16 is autocast.",
        "",
        *table("size", networks, lambda plain, ours: ours / plain, digits=0),
        "",
        "Depthwise convolutions alone, forward and backward, milliseconds; with a stride, two filters per channel.",
        "",
        *table("layer", layers, lambda plain, ours: plain / ours, digits=1),
    ]
    write_results(options.out, lines, {"networks": networks, "layers": layers})


if __name__ == "__main__":
    main()
