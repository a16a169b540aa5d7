"""Does FFNified attention help the zero-shot forecaster? Train small ones that differ in how they mix tokens or phases,
at equal parameters, with the same synthetic series and number of steps.

    python benchmarks/zero_shot_ablation.py M3.rda [--steps 500] [--seeds 0 1 2]

Writes benchmarks/results/zero_shot_ablation.{json,md}: the loss on synthetic series of another seed, and on M3 the MASE
and weighted quantile loss, means over the monthly, quarterly and yearly series. Finished runs in `--runs` are kept.
M3.rda is from the R package Mcomp (github.com/robjhyndman/Mcomp, data/M3.rda); needs `pip install rdata`. About 3
minutes of one core per network and seed.
"""

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import torch
from report import write_results
from super_resolution_ablation import with_interval
from torch import Tensor, nn
from zero_shot_m3 import Competition, read_m3, scores

from metamixer.data.series.synthetic import synthetic_batch
from metamixer.models.ffnet_ts.seasons import Scaled
from metamixer.models.ffnet_ts.zero import NAIVE_PERIOD, FFNetTSZero, quantile_loss
from metamixer.predictors.forecasting.rolling import ZeroShot
from metamixer.system.files import write_text
from metamixer.system.machine import describe_machine
from metamixer.training.zero_shot import Recipe, ZeroShotTraining

RESULTS = Path(__file__).parent / "results/zero_shot_ablation"
NETWORK = {"dim": 64, "depth": 4}
WINDOWS = ((512, 128, 64), (128, 32, 256))  # context, horizon, batch size
UNSEEN = 10**6  # seed of the synthetic series for validation


@dataclass(frozen=True)
class Variant:
    """A token mixer; ratio: the channel mixer's expansion ratio that makes the parameters equal; seasons: whether the
    seasonal memory, whose query is a phase, looks one period back or only at the last value.
    """

    title: str
    mixer: str
    ratio: float
    seasons: bool = True


VARIANTS = {
    "ffnified": Variant("FFNified attention", "ffnified", 3),
    "attention": Variant("self-attention", "attention", 2),
    "identity": Variant("no token mixing", "identity", 3.5),
    "ffnified_without_phases": Variant("FFNified attention, no phase mixer", "ffnified", 3, seasons=False),
    "identity_without_phases": Variant("no token mixing, no phase mixer", "identity", 3.5, seasons=False),
}


class NoPeriods(nn.Module):
    """Every series without a season: the seasonal memory knows the last value only."""

    def forward(self, series: Scaled) -> Tensor:
        """series of T steps -> (B, 2) ones."""
        return series.values.new_full((len(series.values), 2), NAIVE_PERIOD, dtype=torch.long)


def without_seasons(network: FFNetTSZero) -> None:
    """Let the network detect no season and ignore those of the calendar, in place."""
    network.periods = NoPeriods()
    prepare = network.prepare
    network.prepare = lambda series, season, horizon: prepare(series, None, horizon)


def train(variant: Variant, folder: Path, *, steps: int, seed: int) -> FFNetTSZero:
    """Train one variant and return it with its averaged weights."""
    network = {**NETWORK, "mixers": variant.mixer, "expansion_ratio": variant.ratio}
    training = ZeroShotTraining(Recipe(network=network, windows=WINDOWS, seed=seed), folder)
    if not variant.seasons:
        without_seasons(training.network)
    for step in range(steps):
        training.update(step / steps)
    training.network.load_state_dict(training.averaged)
    return training.network.eval()


@torch.inference_mode()
def synthetic_loss(network: FFNetTSZero, *, batches: int = 8) -> float:
    """Mean quantile loss on unseen synthetic series of the training's longer window."""
    context, horizon, rows = WINDOWS[0]
    losses = []
    for step in range(batches):
        batch = synthetic_batch(rows, context, horizon, seed=UNSEEN, step=step)
        forecast, unit = network.forecast(batch.context, batch.season, horizon)
        losses.append(quantile_loss(forecast, batch.future, unit))
    return torch.stack(losses).mean().item()


def m3_scores(network: FFNetTSZero, competitions: Mapping[str, Competition]) -> dict[str, float]:
    """MASE and quantile loss, means over the frequencies."""
    forecaster = ZeroShot(network)
    found = []
    for competition in competitions.values():
        horizon = competition.futures.shape[1]
        deciles = forecaster.forecast(competition.pasts, horizon, seasons=(competition.season,))
        found.append(scores(competition, deciles))
    return {key: mean(score[key] for score in found) for key in ("mase", "quantile_loss")}


def write(runs: Path, steps: int) -> None:
    """Write the finished runs as JSON and as a table."""
    rows = {}
    for name in VARIANTS:
        done = [json.loads(file.read_text()) for file in sorted(runs.glob(f"{name}_[0-9]*.json"))]
        if done:
            rows[name] = {key: [run[key] for run in done] for key in done[0]}
    lines = [
        f"`ffnet_ts_zero` with {NETWORK['depth']} blocks of width {NETWORK['dim']}, {steps} steps on synthetic series "
        "(windows of 512 + 128 and 128 + 32 steps in turn); mean over the seeds and its 95 % interval, lower is "
        "better.",
        f"Measured on: {describe_machine()}.",
        "",
        "| token mixer | parameters | seeds | synthetic, unseen | M3: MASE | M3: quantile loss | CPU minutes per run |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {VARIANTS[name].title} | {row['parameters'][0] / 1e3:.0f} k | {len(row['mase'])} | "
            f"{with_interval(row['loss'], 3)} | {with_interval(row['mase'], 3)} | "
            f"{with_interval(row['quantile_loss'], 3)} | {mean(row['cpu_minutes']):.1f} |"
            for name, row in rows.items()
        ),
    ]
    write_results(RESULTS, lines, {"steps": steps, "rows": rows})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("m3", type=Path, help="M3.rda")
    parser.add_argument("--runs", type=Path, default=Path("runs/zero_shot_ablation"), help="folder for the runs")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    torch.set_num_threads(1)
    competitions = read_m3(options.m3, every=1)
    options.runs.mkdir(parents=True, exist_ok=True)
    for seed in options.seeds:
        for name, variant in VARIANTS.items():
            done = options.runs / f"{name}_{seed}.json"
            if done.is_file():
                continue
            started = time.process_time()
            network = train(variant, options.runs / f"{name}_{seed}", steps=options.steps, seed=seed)
            result = {
                "cpu_minutes": (time.process_time() - started) / 60,
                "parameters": sum(parameter.numel() for parameter in network.parameters()),
                "loss": synthetic_loss(network),
                **m3_scores(network, competitions),
            }
            write_text(done, json.dumps(result))
            write(options.runs, options.steps)


if __name__ == "__main__":
    main()
