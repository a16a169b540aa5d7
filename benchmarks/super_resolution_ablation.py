"""Does FFNified attention help super-resolution? Train ffnet_sr_nano with other token mixers, with the same recipe and
number of steps.

    python benchmarks/super_resolution_ablation.py --data super_resolution

Trains the networks without a result from scratch at x2 with recipes/super_resolution/291_images_x2.yaml, and resumes
stopped runs. Batches are half the recipe's, for half the time with the same number of steps: about 10 minutes of one
core per network with bfloat16, 35 without. Writes benchmarks/results/super_resolution_ablation.{json,md}. `--data` is
the folder with T91, BSDS200 and Set5.
"""

import argparse
from pathlib import Path

from trainings import cost, last_validation, train, write_results

from metamixer import create_model
from metamixer.system.machine import computes_bfloat16, describe_machine

ROOT = Path(__file__).parent.parent
RECIPE = ROOT / "recipes/super_resolution/291_images_x2.yaml"
RESULTS = ROOT / "benchmarks/results/super_resolution_ablation"
BATCH_SIZE, STEPS = 8, 500  # an epoch has the same number of steps as in the recipe
MIXERS = {
    "ffnified": "FFNified attention",
    "depthwise": "one 3x3 depthwise convolution",
    "pooling": "3x3 average pooling",
    "identity": "no token mixing",
}


def write(rows: dict[str, dict], epochs: int, *, precision: str) -> None:
    """Write the results as JSON and as a table."""
    lines = [
        "`ffnet_sr_nano` at x2 with other token mixers, from scratch with `291_images_x2.yaml`, "
        f"{epochs} epochs of {STEPS} steps, {BATCH_SIZE} patches each, {precision}, seed 0; Set5, last epoch.",
        f"Measured on: {describe_machine()}.",
        "",
        "| token mixer | parameters | PSNR | SSIM | CPU minutes |",
        "|---|---|---|---|---|",
        *(
            f"| {MIXERS[name]} | {row['parameters'] / 1e3:.0f} k | {row['psnr']:.2f} dB | {row['ssim']:.4f} | "
            f"{row['cpu_minutes']} |"
            for name, row in rows.items()
        ),
    ]
    write_results(RESULTS, lines, {"epochs": epochs, "precision": precision, "rows": rows})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("super_resolution"), help="folder with T91, BSDS200 and Set5")
    parser.add_argument("--runs", type=Path, default=Path("runs/super_resolution_ablation"), help="folder for the runs")
    parser.add_argument("--only", choices=list(MIXERS), help="train only this one; finished runs are kept")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument(
        "--precision",
        default="bf16-mixed" if computes_bfloat16() else "32-true",
        help="precision of training; by default float32 if bfloat16 would be emulated",
    )
    options = parser.parse_args()
    for mixer in [options.only] if options.only else MIXERS:
        settings = {
            "data.root": options.data,
            "data.batch_size": BATCH_SIZE,
            "data.patches_per_epoch": BATCH_SIZE * STEPS,
            "trainer.precision": options.precision,
            "model.model_args": f"{{mixers: {mixer}}}",
            "trainer.max_epochs": options.epochs,
        }
        train(RECIPE, settings, out=options.runs / mixer)
        write(finished(options.runs), options.epochs, precision=options.precision)


def finished(runs: Path) -> dict[str, dict]:
    """Results of the finished runs."""
    rows = {}
    for mixer in MIXERS:
        if (runs / mixer / "done").is_file():
            row = last_validation(runs / mixer, "val/psnr")
            parameters = sum(
                parameter.numel() for parameter in create_model("ffnet_sr_nano", mixers=mixer).parameters()
            )
            rows[mixer] = {
                "psnr": float(row["val/psnr"]),
                "ssim": float(row["val/ssim"]),
                "parameters": parameters,
                **cost(runs / mixer),
            }
    return rows


if __name__ == "__main__":
    main()
