"""Time a training step of the forecasting network, compared with the published code, and inference.

    python benchmarks/forecasting_speed.py --published FFNet/time_series_forecasting

Fresh processes in turn; prints medians and ratios. `--published` is the authors' folder (their code is not part of this
package), which runs unchanged. Ours keeps freed memory, as in `metamixer fit`, and runs with its own series layers and
with PyTorch's.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from metamixer import create_model, fuse
from metamixer.ops.series import Conv1d, Dropout
from metamixer.system.allocator import keep_freed_memory
from metamixer.system.machine import describe_machine

BATCH, BATCH_ETTM1 = 512, 2048
PUBLISHED_ETTH1 = {
    "stem_ratio": 6,
    "downsample_ratio": 2,
    "ffn_ratio": 2,
    "num_blocks": [1],
    "large_size": [51],
    "small_size": [5],
    "dims": [64] * 4,
    "dw_dims": [256] * 4,
    "enc_in": 7,
    "small_kernel_merged": False,
    "dropout": 0.7,
    "head_dropout": 0.0,
    "use_multi_scale": False,
    "revin": 1,
    "affine": 0,
    "subtract_last": 0,
    "freq": "h",
    "seq_len": 96,
    "individual": 0,
    "pred_len": 96,
    "kernel_size": 25,
    "patch_size": 4,
    "patch_stride": 2,
    "decomposition": 0,
}


def published_network(folder: Path) -> nn.Module:
    """The authors' ETTh1 network."""
    sys.path.insert(0, str(folder))
    from models.FFNet import Model

    return Model(SimpleNamespace(**PUBLISHED_ETTH1))


def plain_layers(network: nn.Module) -> nn.Module:
    """The same network with PyTorch's convolution and dropout."""
    for module in network.modules():
        if isinstance(module, Conv1d):
            module.__class__ = nn.Conv1d
        elif isinstance(module, Dropout):
            module.__class__ = nn.Dropout
    return network


def training_step(network: nn.Module, x: Tensor, target: Tensor) -> None:
    """Forward and backward."""
    network.zero_grad()
    (network(x) - target).square().mean().backward()


@torch.inference_mode()
def inference(network: nn.Module, windows: Tensor) -> None:
    """All windows, in batches of 256."""
    for batch in windows.split(256):
        network(batch)


def seconds(function: Callable, *arguments) -> tuple[float, float]:
    """Wall and CPU time of a call: medians of three, after one warm-up call."""
    times = []
    for _ in range(4):
        wall, cpu = time.perf_counter(), time.process_time()
        function(*arguments)
        times.append((time.perf_counter() - wall, time.process_time() - cpu))
    return tuple(statistics.median(column) for column in zip(*times[1:], strict=True))


def memory_of_a_step() -> float:
    """Peak GiB of this process after two steps of ETTm1's network with its batch."""
    keep_freed_memory()
    network = create_model("ffnet_ts", expansion_ratio=12, drop_rate=0.6).train()
    for _ in range(2):
        training_step(network, torch.randn(BATCH_ETTM1, 96, 7), torch.randn(BATCH_ETTM1, 96, 7))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def measure(contender: str, published: Path | None) -> tuple[float, float]:
    """Measure one contender, in a fresh process."""
    if contender == "published":
        network = published_network(published)
    else:
        keep_freed_memory()
        network = create_model("ffnet_ts")
    if contender == "inference":
        return seconds(inference, fuse(network), torch.randn(10_000, 96, 7))
    if contender == "plain":
        network = plain_layers(network)
    return seconds(training_step, network.train(), torch.randn(BATCH, 96, 7), torch.randn(BATCH, 96, 7))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--published", type=Path, help="the authors' folder time_series_forecasting")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", action="store_true", help="measure only the memory of a step of ETTm1's network")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        print(f"{describe_machine()}: {memory_of_a_step():.1f} GiB, a step of ETTm1's network, batch {BATCH_ETTM1}")
        return
    if options.one:
        print(*measure(options.one, options.published))
        return
    contenders = ["published"] * bool(options.published) + ["plain", "ours", "inference"]
    results: dict[str, list[tuple[float, ...]]] = {name: [] for name in contenders}
    for _ in range(options.rounds):
        for name in contenders:
            output = subprocess.run(
                [sys.executable, *sys.argv, "--one", name], check=True, capture_output=True, text=True
            ).stdout
            results[name].append(tuple(map(float, output.split())))
    medians = {
        name: tuple(statistics.median(column) for column in zip(*rows, strict=True)) for name, rows in results.items()
    }
    machine = f"{describe_machine()}, {torch.get_num_threads()} threads"
    print(machine)
    print(f"training step, ETTh1's network, batch {BATCH}: wall and CPU seconds, and the same as multiples of ours")
    for name in contenders[:-1]:
        (wall, cpu), (our_wall, our_cpu) = medians[name], medians["ours"]
        print(f"  {name:10s}{wall:7.2f} {cpu:7.2f}   {wall / our_wall:5.2f} {cpu / our_cpu:5.2f}")
    print("inference, 10,000 windows x 7 variables, deploy form: {:.2f} {:.2f}".format(*medians["inference"]))


if __name__ == "__main__":
    main()
