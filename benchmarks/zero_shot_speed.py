"""Time the zero-shot network in PyTorch, ONNX Runtime and OpenVINO on one core.

    python benchmarks/zero_shot_speed.py [--rounds 7] [--out benchmarks/results/zero_shot_speed.json]

1,000 monthly series of 120 rows, horizon 12, in batches of 250, without imports, export and compilation: windows are
cut, computed and scaled back, as `Forecaster` does it. The runtimes take turns; prints medians of wall and CPU seconds
and the ratios of each round. Also checks that the forecasts agree.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

if hasattr(os, "sched_setaffinity"):  # before the runtimes count the cores
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import numpy as np
import torch
from torch import Tensor, nn

from metamixer.deployment.backends import build, versions
from metamixer.predictors.forecasting.rolling import cut
from metamixer.predictors.forecasting.zero_shot import packaged_network
from metamixer.system.machine import describe_machine

SERIES, ROWS, HORIZON, SEASON = 1_000, 120, 12, 12
BATCH, WINDOW = 250, 128
BACKENDS = ("eager", "onnxruntime", "openvino")


class Monthly(nn.Module):
    """The network with the season and the horizon of monthly series."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network
        self.register_buffer("season", torch.tensor([[SEASON, 0]]))

    def forward(self, windows: Tensor) -> Tensor:
        """windows: (B, WINDOW) -> (B, quantiles, HORIZON)."""
        return self.network(windows, self.season.expand(windows.shape[0], -1), HORIZON)


def monthly_series() -> list[np.ndarray]:
    """Random walks with a season."""
    random = np.random.default_rng(0)
    season = 3 * np.sin(2 * np.pi * np.arange(ROWS) / SEASON)
    return [random.normal(size=ROWS).cumsum() + season for _ in range(SERIES)]


@torch.inference_mode()
def forecast(run: Callable[[Tensor], Tensor], series: list[np.ndarray]) -> np.ndarray:
    """Deciles (N, 9, HORIZON)."""
    deciles = []
    for start in range(0, len(series), BATCH):
        windows, shift, scale = cut(series[start : start + BATCH], WINDOW)
        deciles.append(run(windows).double().numpy() * scale + shift)
    return np.concatenate(deciles)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="rounds, of which the first is a warm-up")
    parser.add_argument("--out", type=Path, help="JSON file of the results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    series = monthly_series()
    example = cut(series[:BATCH], WINDOW)[0]
    network = Monthly(packaged_network()).eval()
    runtimes = {name: build(name, network, example, precision="fp32") for name in BACKENDS}
    expected, seconds = None, {name: [] for name in BACKENDS}
    for turn in range(options.rounds):
        for name in BACKENDS[:: -1 if turn % 2 else 1]:
            wall, cpu = time.perf_counter(), time.process_time()
            deciles = forecast(runtimes[name], series)
            if turn:
                seconds[name].append((time.perf_counter() - wall, time.process_time() - cpu))
            expected = deciles if expected is None else expected
            np.testing.assert_allclose(deciles, expected, rtol=1e-3, atol=1e-2)
    results = {"machine": describe_machine(), "versions": versions(), "rounds": options.rounds - 1}
    for name, rounds in seconds.items():
        wall, cpu = (statistics.median(column) for column in zip(*rounds, strict=True))
        ratio = statistics.median(own[1] / ours[1] for own, ours in zip(rounds, seconds["eager"], strict=True))
        results[name] = {"wall": round(wall, 3), "cpu": round(cpu, 3), "cpu_ratio_to_pytorch": round(ratio, 3)}
    print(json.dumps(results, indent=1))
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
