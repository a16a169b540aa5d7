"""Reproduce the paper's forecasting table: data sets x horizons x seeds, next to published figures.

    METAMIXER_DATA=DATA python benchmarks/forecasting.py --sets ETTh1 ETTh2 --horizons 96 192 336 720 --seeds 2021

Trains the runs without a result for this limit of epochs, and resumes stopped runs. Tests the weights with the lowest
validation error on every test window. Writes benchmarks/results/forecasting.{json,md} after each run; it replaces a run
with another limit.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

from trainings import add_cost, cost

from metamixer.system.files import write_text
from metamixer.system.machine import describe_machine
from metamixer.training.command_line import run

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks/results/forecasting"
HORIZONS = (96, 192, 336, 720)
SETS = ("ETTh1", "ETTh2", "ETTm1", "ETTm2", "weather", "ECL", "traffic", "exchange")
"""Each has a recipe of the same name in lower case."""

PUBLISHED = {
    "FFNet (paper)": {
        "ETT": (0.376, 0.390),
        "weather": (0.244, 0.274),
        "ECL": (0.184, 0.278),
        "traffic": (0.517, 0.338),
        "exchange": (0.343, 0.392),
    },
    "iTransformer": {
        "ETT": (0.383, 0.399),
        "weather": (0.258, 0.278),
        "ECL": (0.178, 0.270),
        "traffic": (0.428, 0.282),
        "exchange": (0.360, 0.403),
    },
    "PatchTST": {
        "ETT": (0.381, 0.397),
        "weather": (0.259, 0.281),
        "ECL": (0.205, 0.290),
        "traffic": (0.481, 0.304),
        "exchange": (0.367, 0.404),
    },
    "DLinear": {
        "ETT": (0.442, 0.444),
        "weather": (0.265, 0.317),
        "ECL": (0.212, 0.300),
        "traffic": (0.625, 0.383),
        "exchange": (0.354, 0.414),
    },
}
"""MSE and MAE, mean of the four horizons at lookback 96; ETT is the mean of its four sets (paper, table 5)."""


ROWS = {
    "published": "published settings",
    "ours": "our settings",
    "chosen": "per run, the settings with the lower validation error",
}
"""Settings -> their name in the table."""


def train(name: str, horizon: int, seed: int, *, settings: str, limit: int | None, runs: Path) -> dict:
    """Train and test one run of a recipe; return its figures and cost.

    limit: maximum number of epochs, or None for the recipe's.
    """
    out = runs / f"{settings}_{name}_{horizon}_{seed}{f'_{limit}_epochs' if limit else ''}"
    recipe = ROOT / "recipes/forecasting" / ("" if settings == "published" else settings) / f"{name.lower()}.yaml"
    options = {"config": recipe, "horizon": horizon, "seed_everything": seed, "data.seed": seed, "out": out}
    options |= {"trainer.enable_progress_bar": "false", "resume": str((out / "last.ckpt").is_file()).lower()}
    options |= {"trainer.max_epochs": limit} if limit else {}
    cpu, wall = time.process_time(), time.time()
    try:
        command_line = run(["fit", *(word for name, value in options.items() for word in (f"--{name}", str(value)))])
    finally:
        add_cost(out, wall=time.time() - wall, cpu=time.process_time() - cpu)
    trainer, best = command_line.trainer, command_line.trainer.checkpoint_callback
    test = trainer.test(
        command_line.model, datamodule=command_line.datamodule, ckpt_path=best.best_model_path, verbose=False
    )[0]
    return {
        "set": name,
        "horizon": horizon,
        "seed": seed,
        "settings": settings,
        "mse": round(test["test/mse"], 5),
        "mae": round(test["test/mae"], 5),
        "val_mse": round(float(best.best_model_score), 5),
        "epochs": trainer.current_epoch,
        "epoch_limit": limit,
        "machine": describe_machine(),
        **cost(out),
    }


def table(rows: list[dict]) -> str:
    """The results as Markdown: the mean over seeds of each run, then the means that the paper reports."""
    lines = [
        "Lookback 96, all test windows, scaling fitted on the training rows.",
        f"Measured on: {'; '.join(dict.fromkeys(row['machine'] for row in rows))}.",
        "Limit: maximum number of epochs, lower than the recipe's to save time; early stopping may have ended the run "
        "before.",
        "",
        "| set | horizon | settings | MSE | MAE | seeds | epochs | CPU minutes per run |",
        "|---|---|---|---|---|---|---|---|",
    ]
    groups: dict[tuple, list[dict]] = {}
    for row in sorted(
        rows, key=lambda row: (row["settings"] != "published", SETS.index(row["set"]), row["horizon"], row["seed"])
    ):
        groups.setdefault((row["set"], row["horizon"], row["settings"]), []).append(row)
    for (name, horizon, settings), group in groups.items():
        epochs = ", ".join(
            f"{row['epochs']} (limit {row['epoch_limit']})" if row["epoch_limit"] else str(row["epochs"])
            for row in group
        )
        minutes = statistics.mean(row["cpu_minutes"] for row in group)
        figures = " | ".join(spread([row[key] for row in group]) for key in ("mse", "mae"))
        lines.append(f"| {name} | {horizon} | {settings} | {figures} | {len(group)} | {epochs} | {minutes:.0f} |")
    lines += [
        "",
        "Mean over the horizons, MSE / MAE (others: paper, table 5; ours: the runs above, if all four horizons were "
        "run):",
        "",
    ]
    return "\n".join([*lines, *means(groups)])


def means(groups: dict[tuple, list[dict]]) -> list[str]:
    """The paper's table with our means; "not run" if a horizon is missing."""
    columns = [*SETS[:4], "ETT", *SETS[4:]]
    lines = [f"| network | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    groups = groups | chosen_by_validation(groups)
    for settings in dict.fromkeys(key[2] for key in groups):
        found = {name: mean_over_horizons(groups, name, settings) for name in SETS}
        ett = [found[name] for name in SETS[:4]]
        found["ETT"] = tuple(statistics.mean(column) for column in zip(*ett, strict=True)) if all(ett) else None
        lines.append(f"| metamixer, {ROWS[settings]} | {' | '.join(pair(found[name]) for name in columns)} |")
    for network, figures in PUBLISHED.items():
        lines.append(f"| {network} | {' | '.join(pair(figures.get(name), missing='') for name in columns)} |")
    return lines


def chosen_by_validation(groups: dict[tuple, list[dict]]) -> dict[tuple, list[dict]]:
    """For each set and horizon, the settings with the lowest validation error, whatever their test error."""
    best: dict[tuple, list[dict]] = {}
    for (name, horizon, _), group in groups.items():
        rival = best.setdefault((name, horizon, "chosen"), group)
        if statistics.mean(row["val_mse"] for row in group) < statistics.mean(row["val_mse"] for row in rival):
            best[name, horizon, "chosen"] = group
    return best


def mean_over_horizons(groups: dict[tuple, list[dict]], name: str, settings: str) -> tuple[float, float] | None:
    """MSE and MAE, or None if a horizon is missing."""
    runs = [groups.get((name, horizon, settings)) for horizon in HORIZONS]
    if not all(runs):
        return None
    mse, mae = (statistics.mean(statistics.mean(row[key] for row in group) for group in runs) for key in ("mse", "mae"))
    return mse, mae


def pair(figures: tuple[float, float] | None, *, missing: str = "not run") -> str:
    return f"{figures[0]:.3f} / {figures[1]:.3f}" if figures else missing


def spread(values: list[float]) -> str:
    """The mean, and the std if there are several values."""
    std = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4f}{std}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS[:4])
    parser.add_argument("--horizons", nargs="+", type=int, choices=HORIZONS, default=HORIZONS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[2021])
    parser.add_argument("--settings", choices=("published", "ours"), default="published", help="whose settings")
    parser.add_argument(
        "--epochs", type=int, help="maximum number, to save time; after 30, the rate is 6 %% of its initial value"
    )
    parser.add_argument("--runs", type=Path, default=Path("runs/forecasting"), help="folder for the runs")
    options = parser.parse_args()
    sys.argv = sys.argv[:1]
    for name in options.sets:
        for horizon in options.horizons:
            for seed in options.seeds:
                key = {"set": name, "horizon": horizon, "seed": seed, "settings": options.settings}
                if not any((key | {"epoch_limit": options.epochs}).items() <= row.items() for row in results()):
                    row = train(name, horizon, seed, settings=options.settings, limit=options.epochs, runs=options.runs)
                    write([*(other for other in results() if not key.items() <= other.items()), row])
    write(results())
    print(table(results()))


def results() -> list[dict]:
    """The results so far."""
    path = RESULTS.with_suffix(".json")
    return json.loads(path.read_text()) if path.is_file() else []


def write(rows: list[dict]) -> None:
    """Write the results as JSON and as a table."""
    write_text(RESULTS.with_suffix(".json"), json.dumps(rows, indent=1))
    write_text(RESULTS.with_suffix(".md"), table(rows))


if __name__ == "__main__":
    main()
