"""Does FFNified attention help super-resolution? Train ffnet_sr_nano with other token mixers at equal parameters and
multiply-accumulates (within 1 %), with the same recipe, number of steps and seeds.

    python benchmarks/super_resolution_ablation.py --data super_resolution

Trains the networks without a result from scratch at x2 with recipes/super_resolution/291_images_x2.yaml, and resumes
stopped runs. Batches are half the recipe's, for half the time with the same number of steps: about 10 minutes of one
core per network and seed with bfloat16, 35 without. Writes benchmarks/results/super_resolution_ablation.{json,md}.
`--data` is the folder with T91, BSDS200 and Set5.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

import torch
from report import write_results
from trainings import cost, last_validation, train

from metamixer import create_model
from metamixer.bench.complexity import measure
from metamixer.system.machine import computes_bfloat16, describe_machine

ROOT = Path(__file__).parent.parent
RECIPE = ROOT / "recipes/super_resolution/291_images_x2.yaml"
RESULTS = ROOT / "benchmarks/results/super_resolution_ablation"
BATCH_SIZE, STEPS = 8, 500  # an epoch has the same number of steps as in the recipe
SIDE = 64
"""Of the small image whose multiply-accumulates are counted."""


@dataclass(frozen=True)
class Mixer:
    """A token mixer; ratio: the channel mixer's expansion ratio that makes up for missing parameters."""

    title: str
    ratio: float


MIXERS = {
    "ffnified": Mixer("FFNified attention", 2),
    "depthwise": Mixer("one 3x3 depthwise convolution", 165 / 64),
    "pooling": Mixer("3x3 average pooling", 138 / 64),
    "identity": Mixer("no token mixing", 138 / 64),
}
STUDENT = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78}
"""Two-sided 95 % quantiles of Student's t by the number of seeds."""


def write(rows: dict[str, dict], epochs: int, *, precision: str) -> None:
    """Write the results as JSON and as a table."""
    lines = [
        "`ffnet_sr_nano` at x2 with other token mixers, from scratch with `291_images_x2.yaml`, "
        f"{epochs} epochs of {STEPS} steps, {BATCH_SIZE} patches each, {precision}; Set5, last epoch; mean over the "
        "seeds and its 95 % interval.",
        f"Measured on: {describe_machine()}.",
        "",
        f"| token mixer | parameters | MACs for {SIDE}x{SIDE} pixels | seeds | PSNR | SSIM | CPU minutes per run |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {MIXERS[name].title} | {row['parameters'] / 1e3:.0f} k | {row['macs'] / 1e6:.0f} M | "
            f"{len(row['psnr'])} | {with_interval(row['psnr'])} dB | {mean(row['ssim']):.4f} | "
            f"{mean(row['cpu_minutes']):.1f} |"
            for name, row in rows.items()
        ),
    ]
    write_results(RESULTS, lines, {"epochs": epochs, "precision": precision, "rows": rows})


def with_interval(values: list[float], digits: int = 2) -> str:
    """The mean, and half the 95 % interval if there are several values."""
    if len(values) < 2:
        return f"{mean(values):.{digits}f}"
    half = STUDENT[min(len(values), max(STUDENT))] * stdev(values) / len(values) ** 0.5
    return f"{mean(values):.{digits}f} ± {half:.{digits}f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("super_resolution"), help="folder with T91, BSDS200 and Set5")
    parser.add_argument("--runs", type=Path, default=Path("runs/super_resolution_ablation"), help="folder for the runs")
    parser.add_argument("--only", choices=list(MIXERS), help="train only this one; finished runs are kept")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--precision",
        default="bf16-mixed" if computes_bfloat16() else "32-true",
        help="precision of training; by default float32 if bfloat16 would be emulated",
    )
    options = parser.parse_args()
    for seed in options.seeds:
        for mixer in [options.only] if options.only else MIXERS:
            settings = {
                "data.root": options.data,
                "data.batch_size": BATCH_SIZE,
                "data.patches_per_epoch": BATCH_SIZE * STEPS,
                "data.seed": seed,
                "seed_everything": seed,
                "trainer.precision": options.precision,
                "model.model_args": f"{{mixers: {mixer}, expansion_ratio: {MIXERS[mixer].ratio}}}",
                "trainer.max_epochs": options.epochs,
                "trainer.check_val_every_n_epoch": options.epochs,
            }
            train(RECIPE, settings, out=options.runs / f"{mixer}_{seed}")
            write(finished(options.runs, options.seeds), options.epochs, precision=options.precision)


def finished(runs: Path, seeds: list[int]) -> dict[str, dict]:
    """Results of the finished runs: values by seed."""
    rows = {}
    for name in MIXERS:
        done = [folder for seed in seeds if ((folder := runs / f"{name}_{seed}") / "done").is_file()]
        if not done:
            continue
        last = [last_validation(folder, "val/psnr") for folder in done]
        rows[name] = {
            "psnr": [float(row["val/psnr"]) for row in last],
            "ssim": [float(row["val/ssim"]) for row in last],
            **size_of(name),
            "cpu_minutes": [cost(folder)["cpu_minutes"] for folder in done],
        }
    return rows


def size_of(name: str) -> dict[str, int]:
    """Parameters of the network with a mixer, and multiply-accumulates for a small image of `SIDE` pixels a side."""
    with torch.device("meta"):
        network = create_model("ffnet_sr_nano", mixers=name, expansion_ratio=MIXERS[name].ratio)
        size = measure(network, torch.empty(1, 3, SIDE, SIDE))
    return {"parameters": size.params, "macs": size.macs}


if __name__ == "__main__":
    main()
