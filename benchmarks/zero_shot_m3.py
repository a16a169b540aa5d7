"""Compare the zero-shot forecaster with statsforecast's automatic models on M3: accuracy and time, on one core.

    python benchmarks/zero_shot_m3.py M3.rda --models AutoETS AutoTheta AutoARIMA

M3.rda is from R's package Mcomp (github.com/robjhyndman/Mcomp, data/M3.rda). Needs `pip install rdata statsforecast`.
The forecaster wasn't trained on M3. MASE and weighted quantile loss (0.1 to 0.9) are means over the series, both in
units of the seasonal-naive error within the series. `--every N` evaluates every Nth series, for slow models. Writes
benchmarks/results/zero_shot_m3.{json,md}.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from report import write_results
from trainings import FOLDER

from metamixer.checkpoints.ours import load_checkpoint
from metamixer.checkpoints.packaged import packaged_weights
from metamixer.models.ffnet_ts.zero import QUANTILES
from metamixer.predictors.forecasting.rolling import ZeroShot
from metamixer.system.machine import describe_machine

RESULTS = FOLDER / "results/zero_shot_m3"
SEASONS = {"yearly": 1, "quarterly": 4, "monthly": 12}
LEVELS = np.array(QUANTILES)[:, None]
INTERVALS = (20, 40, 60, 80)


@dataclass(frozen=True)
class Competition:
    """The pasts and futures of the series of one frequency."""

    season: int
    pasts: list[np.ndarray]
    futures: np.ndarray


def read_m3(path: Path, *, every: int) -> dict[str, Competition]:
    """The yearly, quarterly and monthly series of M3.rda."""
    import rdata

    series = rdata.read_rda(path)["M3"].values()
    result = {}
    for name, season in SEASONS.items():
        own = [one for one in series if str(np.ravel(one["period"])[0]).lower() == name][::every]
        result[name] = Competition(
            season, [np.ravel(one["x"]).astype(float) for one in own], np.array([np.ravel(one["xx"]) for one in own])
        )
    return result


def scores(competition: Competition, deciles: np.ndarray) -> dict[str, float]:
    """deciles: (N, 9, H)."""
    season = competition.season
    naive = np.array([np.abs(past[season:] - past[:-season]).mean() for past in competition.pasts])[:, None]
    error = competition.futures[:, None] - deciles
    loss = 2 * np.maximum(LEVELS * error, (LEVELS - 1) * error).mean(1)
    inside = (competition.futures >= deciles[:, 0]) & (competition.futures <= deciles[:, -1])
    return {
        "mase": float((np.abs(error[:, len(LEVELS) // 2]) / naive).mean()),
        "quantile_loss": float((loss / naive).mean()),
        "coverage": float(inside.mean()),
    }


def statistical(competition: Competition, name: str) -> np.ndarray:
    """Deciles (N, 9, H) forecast by a model of statsforecast."""
    from statsforecast import models

    deciles = []
    for past in competition.pasts:
        model = getattr(models, name)(season_length=competition.season)
        found = model.forecast(y=past, h=competition.futures.shape[1], level=list(INTERVALS))
        low = [found[f"lo-{level}"] for level in reversed(INTERVALS)]
        deciles.append([*low, found["mean"], *(found[f"hi-{level}"] for level in INTERVALS)])
    return np.array(deciles)


def write(results: dict[str, dict[str, float]], *, every: int) -> None:
    """Write the results as JSON and as a table."""
    lines = [
        f"M3, {'every series' if every == 1 else f'one series in {every}'}; `ffnet_ts_zero` hasn't seen them. MASE and "
        "weighted quantile loss in units of the seasonal-naive error within the series, lower is better.",
        f"Measured on: {describe_machine()}, one thread; seconds include the fitting of the statistical models.",
        "",
        "| series | model | MASE | quantile loss | coverage of the 80 % interval | seconds |",
        "|---|---|---|---|---|---|",
        *(
            f"| {name.partition('/')[0]}, {row['series']} | {name.partition('/')[2]} | {row['mase']:.3f} | "
            f"{row['quantile_loss']:.3f} | {100 * row['coverage']:.0f} % | {row['seconds']:.2f} |"
            for name, row in results.items()
        ),
    ]
    write_results(RESULTS, lines, {"every": every, "rows": results})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="M3.rda")
    parser.add_argument("weights", type=Path, nargs="?", help="safetensors file; default: the packaged weights")
    parser.add_argument("--every", type=int, default=1, help="evaluate every Nth series")
    parser.add_argument("--models", nargs="*", default=[], help="models of statsforecast, such as AutoETS")
    options = parser.parse_args()
    torch.set_num_threads(1)
    forecaster = ZeroShot(load_checkpoint(options.weights or packaged_weights("ffnet_ts_zero"))[0])
    results = {}
    for frequency, competition in read_m3(options.data, every=options.every).items():
        for name in ("ffnet_ts_zero", *options.models):
            started = time.perf_counter()
            if name == "ffnet_ts_zero":
                deciles = forecaster.forecast(
                    competition.pasts, competition.futures.shape[1], seasons=(competition.season,)
                )
            else:
                deciles = statistical(competition, name)
            row = scores(competition, deciles) | {
                "seconds": time.perf_counter() - started,
                "series": len(competition.pasts),
            }
            results[f"{frequency}/{name}"] = row
            print(
                f"{frequency:10} {name:14}", "  ".join(f"{key} {value:.3f}" for key, value in row.items()), flush=True
            )
    write(results, every=options.every)


if __name__ == "__main__":
    main()
