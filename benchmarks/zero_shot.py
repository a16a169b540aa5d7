"""Evaluate the zero-shot forecaster by GIFT-Eval's protocol, on its 23 configurations of ETT and Jena weather.

    python benchmarks/zero_shot.py [WEIGHTS] [--only jena] [--out benchmarks/results/zero_shot.json]

First reproduces the published numbers of the seasonal-naive forecast, to verify that data, windows and metrics follow
the protocol (github.com/SalesforceAIResearch/gift-eval). Then evaluates the network: MASE of the median and weighted
quantile loss (0.1 to 0.9), both as geometric means relative to the seasonal-naive forecast, and the coverage of the 80
% interval.
"""

import argparse
import json
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from metamixer.checkpoints.ours import load_checkpoint
from metamixer.checkpoints.packaged import packaged_weights
from metamixer.models.ffnet_ts.zero import QUANTILES
from metamixer.predictors.forecasting.rolling import ZeroShot

DATA = Path(os.environ.get("METAMIXER_DATA", "../shared/data")) / "forecasting"
FILES = {"ett1": "ETTm1.csv.gz", "ett2": "ETTm2.csv.gz", "jena_weather": "weather.csv.gz"}
RULES = {"15T": "15min", "10T": "10min", "H": "h", "D": "D", "W": "7D"}
SEASONS = {"15T": 96, "10T": 144, "H": 24, "D": 1, "W": 1}
CALENDAR = {"15T": (96, 672), "10T": (144, 1008), "H": (24, 168), "D": (7,), "W": (52,)}
"""Season that `Forecaster` passes to the network for a frequency; MASE uses the protocol's own seasons."""
HORIZONS = {"15T": 48, "10T": 48, "H": 48, "D": 30, "W": 8}
TERMS = {"short": 1, "medium": 10, "long": 15}
TEST_SPLIT, MAX_WINDOWS = 0.1, 20
LEVELS = np.array(QUANTILES)[:, None]
NORMAL = (
    -1.2815515655,
    -0.8416212336,
    -0.5244005127,
    -0.2533471031,
    0.0,
    0.2533471031,
    0.5244005127,
    0.8416212336,
    1.2815515655,
)
"""The deciles of the normal distribution."""


@dataclass(frozen=True)
class Window:
    """The past (T,) and future (H,) of one series."""

    past: np.ndarray
    future: np.ndarray


@dataclass
class Score:
    """Sums over the windows of a configuration; the metrics are their quotients."""

    scaled_error: float = 0.0
    quantile_loss: float = 0.0
    truth: float = 0.0
    covered: float = 0.0
    steps: int = 0

    def add(self, window: Window, forecast: np.ndarray, season: int) -> None:
        """forecast: (quantiles, H)."""
        known = np.isfinite(window.future)
        future, forecast = window.future[known], forecast[:, known]
        lag = season if season < len(window.past) else 1
        scale = np.nanmean(np.abs(window.past[lag:] - window.past[:-lag]))
        error = future - forecast
        self.scaled_error += (np.abs(error[len(LEVELS) // 2]) / scale).sum()
        self.quantile_loss += 2 * np.maximum(LEVELS * error, (LEVELS - 1) * error).mean(0).sum()
        self.truth += np.abs(future).sum()
        self.covered += ((future >= forecast[0]) & (future <= forecast[-1])).sum()
        self.steps += len(future)

    def metrics(self) -> dict[str, float]:
        return {
            "mase": self.scaled_error / self.steps,
            "quantile_loss": self.quantile_loss / self.truth,
            "coverage": self.covered / self.steps,
        }


@lru_cache
def table(name: str, frequency: str) -> np.ndarray:
    """The series (variables, T) of a data set at a frequency.

    Each step is the mean of its values; an incomplete last step is dropped.
    """
    frame = pd.read_csv(DATA / FILES[name], encoding="latin-1", index_col=0, parse_dates=[0])
    if frequency in ("15T", "10T"):
        return frame.to_numpy(float).T
    steps = frame.resample(RULES[frequency])
    finished = len(steps) if steps.size().iloc[-1] == steps.size().max() else -1
    return steps.mean()[:finished].to_numpy(float).T


def windows(configuration: str) -> Iterator[Window]:
    """The windows of a configuration such as ett1/H/short."""
    name, frequency, term = configuration.split("/")
    series = table(name, frequency)
    horizon = HORIZONS[frequency] * TERMS[term]
    count = min(max(1, math.ceil(TEST_SPLIT * series.shape[1] / horizon)), MAX_WINDOWS)
    for variable in series:
        for end in range(len(variable) - horizon * count, len(variable), horizon):
            yield Window(variable[:end], variable[end : end + horizon])


def seasonal_naive(window: Window, season: int) -> np.ndarray:
    """Repeat the last season, with normal quantiles of its errors, as statsforecast's SeasonalNaive does."""
    past = pd.Series(window.past).ffill().to_numpy()
    steps = np.arange(len(window.future))
    point = past[len(past) - season + steps % season]
    sigma = np.sqrt(np.mean((past[season:] - past[:-season]) ** 2)) * np.sqrt(steps // season + 1)
    return point + np.array(NORMAL)[:, None] * sigma


def geometric_mean(values: list[float]) -> float:
    return float(np.exp(np.mean(np.log(values))))


def evaluate(configuration: str, published: pd.Series, forecaster: ZeroShot | None) -> dict[str, float]:
    """The metrics of a configuration: of the seasonal-naive forecast, ours and published, and of the network."""
    frequency = configuration.split("/")[1]
    season = SEASONS[frequency]
    tests = list(windows(configuration))
    naive = Score()
    for window in tests:
        naive.add(window, seasonal_naive(window, season), season)
    row = {f"naive_{key}": value for key, value in naive.metrics().items()}
    for key in ("mase", "quantile_loss"):
        row[f"published_{key}"] = published[key]
    if forecaster is None:
        return row
    started, score = time.perf_counter(), Score()
    forecasts = forecaster.forecast(
        [window.past for window in tests], len(tests[0].future), seasons=CALENDAR[frequency]
    )
    for window, forecast in zip(tests, forecasts, strict=True):
        score.add(window, forecast, season)
    return row | score.metrics() | {"seconds": time.perf_counter() - started, "windows": len(tests)}


def summary(rows: list[dict[str, float]]) -> dict[str, float]:
    """The geometric means relative to the published seasonal-naive forecast, and the mean coverage."""
    means = {
        key: geometric_mean([row[key] / row[f"published_{key}"] for row in rows]) for key in ("mase", "quantile_loss")
    }
    return {**means, "coverage": float(np.mean([row["coverage"] for row in rows]))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path, nargs="?", help="safetensors file; default: the packaged weights")
    parser.add_argument("--only", default="", help="prefix of the configurations to run")
    parser.add_argument("--out", type=Path, help="JSON file of the results")
    parser.add_argument("--naive", action="store_true", help="only check the protocol")
    options = parser.parse_args()
    published = pd.read_csv(DATA / "zero_shot" / "gift_eval_reference.csv").set_index(["model", "dataset"])
    published.columns = ["mase", "quantile_loss"]
    reference = published.loc["seasonal_naive"].sort_index()
    forecaster = (
        None if options.naive else ZeroShot(load_checkpoint(options.weights or packaged_weights("ffnet_ts_zero"))[0])
    )
    torch.set_num_threads(1)
    results = {}
    for configuration in reference.index:
        if not configuration.startswith(options.only):
            continue
        row = results[configuration] = evaluate(configuration, reference.loc[configuration], forecaster)
        print(f"{configuration:26}", "  ".join(f"{key} {value:.4f}" for key, value in row.items()), flush=True)
    if forecaster:
        results["geometric mean"] = summary(list(results.values()))
        print(results["geometric mean"])
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
