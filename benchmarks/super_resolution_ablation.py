"""Does FFNified attention earn its place in super-resolution? ffnet_sr_nano with other token mixers: same recipe, same
steps, one table.

    python benchmarks/super_resolution_ablation.py --data super_resolution

Trains what has no result yet from scratch at x2 by recipes/super_resolution/291_images_x2.yaml, in batches half as
large (as many steps, half the time: about 10 minutes of one core with bfloat16 each, 35 without), goes on with what was
stopped, and writes benchmarks/results/super_resolution_ablation.{json,md}. `--data` is the folder with T91, BSDS200 and
Set5.
"""

import argparse
from pathlib import Path

from trainings import cost, last_validation, train, write_results

from metamixer import create_model
from metamixer.system.machine import computes_bfloat16, describe_machine

ROOT = Path(__file__).parent.parent
RECIPE = ROOT / "recipes/super_resolution/291_images_x2.yaml"
RESULTS = ROOT / "benchmarks/results/super_resolution_ablation"
BATCH_SIZE, STEPS = 8, 500  # an epoch has as many steps as the recipe's
MIXERS = {
    "ffnified": "FFNified attention",
    "depthwise": "one 3x3 depthwise convolution",
    "pooling": "3x3 average pooling",
    "identity": "no token mixing",
}


def write(rows: dict[str, dict], epochs: int, *, precision: str) -> None:
    """The result as JSON and as a table."""
    lines = [
        "`ffnet_sr_nano` at x2 with other token mixers, from scratch by `291_images_x2.yaml`, "
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
    parser.add_argument("--only", choices=list(MIXERS), help="train this one only; finished ones are kept")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument(
        "--precision",
        default="bf16-mixed" if computes_bfloat16() else "32-true",
        help="of the training; float32 where bfloat16 would be emulated",
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
    """What the runs that came to their end gave."""
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
