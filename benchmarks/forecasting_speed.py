"""Speed of the forecasting network: a training step in each form, beside the published code, and inference.

    python benchmarks/forecasting_speed.py --published FFNet/time_series_forecasting

Interleaved in one run, medians and ratios. `--published` is the authors' folder (their code is not part of this package); without it,
ours with PyTorch's own layers stands in its place alone.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from metamixer import create_model, fuse
from metamixer.allocator import keep_freed_memory
from metamixer.machine import describe_machine
from metamixer.series import Conv1d, Dropout

BATCH = 512
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
    """The same network computed by PyTorch's own convolution and dropout."""
    for module in network.modules():
        if isinstance(module, Conv1d):
            module.__class__ = nn.Conv1d
        elif isinstance(module, Dropout):
            module.__class__ = nn.Dropout
    return network


def training_step(network: nn.Module, x: Tensor, target: Tensor) -> float:
    """Seconds of forward and backward."""
    start = time.perf_counter()
    network.zero_grad()
    (network(x) - target).square().mean().backward()
    return time.perf_counter() - start


@torch.inference_mode()
def inference(network: nn.Module, windows: Tensor) -> float:
    """Seconds for all windows, in batches of 256."""
    start = time.perf_counter()
    for batch in windows.split(256):
        network(batch)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--published", type=Path, help="the authors' folder time_series_forecasting")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    keep_freed_memory()
    networks = {"ours, PyTorch's layers": plain_layers(create_model("ffnet_ts")), "ours": create_model("ffnet_ts")}
    if options.published:
        networks = {"published": published_network(options.published), **networks}
    x, target = torch.randn(BATCH, 96, 7), torch.randn(BATCH, 96, 7)
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    for i in range(options.rounds + 1):
        for name, network in networks.items():
            elapsed = training_step(network.train(), x, target)
            if i > 0:  # the first one warms up
                seconds[name].append(elapsed)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    machine = f"{describe_machine()}, {torch.get_num_threads()} threads"
    print(f"{machine}, PyTorch {torch.__version__}")
    print(f"training step, ETTh1's network, batch {BATCH}; median of {options.rounds}, and the ratio to ours")
    for name, median in medians.items():
        print(f"  {name:24s}{median:7.2f} s  {median / medians['ours']:5.2f}")
    network, windows = fuse(networks["ours"]), torch.randn(10_000, 96, 7)
    inference(network, windows[:256])
    times = [inference(network, windows) for _ in range(3)]
    print(f"inference, 10,000 windows x 7 variables, deploy form: {statistics.median(times):.2f} s")


if __name__ == "__main__":
    main()
