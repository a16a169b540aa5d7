"""Train ffnet_nano with the FFNet head on CamVid, from the packaged backbone and from scratch, and a U-Net with about
the same MACs from scratch, with the same recipe and number of steps.

    python benchmarks/camvid.py --data CamVid

Trains the networks without a result in `--runs` (about an hour each on one core), resumes stopped runs, and writes
benchmarks/results/camvid.{json,md}, in which earlier rows of other networks stay. `--data` is the unpacked folder with
train/, trainannot/, val/ and valannot/.
"""

import argparse
import json
from pathlib import Path

import torch
import yaml
from trainings import last_validation, train, write_results

from metamixer import create_model
from metamixer.bench.complexity import measure
from metamixer.system.machine import describe_machine

ROOT = Path(__file__).parent.parent
RECIPES = ROOT / "recipes/segmentation"
RESULTS = ROOT / "benchmarks/results/camvid"
SIZE = (360, 480)
CONTENDERS: dict[str, tuple[str, dict[str, object]]] = {
    "FFNet head on the packaged ffnet_nano": ("camvid", {}),
    "FFNet head on ffnet_nano": ("camvid", {"model.pretrained_backbone": "false"}),
    "U-Net on mobilenetv3_small_100": ("camvid_unet", {}),
}
"""Title -> name of the recipe, and settings that differ from it."""


def last_metrics(run: Path) -> dict:
    """Metrics of the last validation: the end of the schedule, not the best of many."""
    row = last_validation(run, "val/miou")
    ious = {
        key.removeprefix("val/iou/"): round(100 * float(value), 1)
        for key, value in row.items()
        if key.startswith("val/iou/")
    }
    return {
        "miou": round(100 * float(row["val/miou"]), 2),
        "accuracy": round(100 * float(row["val/accuracy"]), 2),
        "ious": ious,
    }


def size_of(recipe: str) -> dict:
    """Parameters and multiply-accumulates of the training form."""
    settings = yaml.safe_load((RECIPES / f"{recipe}.yaml").read_text())["model"]["init_args"]
    with torch.device("meta"):
        network = create_model(settings["model"], num_classes=settings["num_classes"]).eval()
    complexity = measure(network, torch.empty(1, 3, *SIZE, device="meta"))
    return {"parameters": complexity.params, "macs": complexity.macs}


def write(rows: dict[str, dict]) -> None:
    """Write the results as JSON and as a table."""
    lines = [
        "CamVid at 480x360, 11 classes, void ignored; recipes `camvid.yaml` and `camvid_unet.yaml`, seed 0; val, last "
        "epoch. All from scratch, but for the packaged backbone.",
        "",
        "| network | parameters | MACs at 360x480 | mIoU, val | pixel accuracy, val | CPU minutes | wall minutes "
        "| measured on |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for title, row in rows.items():
        lines.append(
            f"| {title} | {row['parameters'] / 1e6:.2f} M | {row['macs'] / 1e9:.2f} G | {row['miou']:.2f} % | "
            f"{row['accuracy']:.2f} % "
            f"| {row['cpu_minutes']} | {row['wall_minutes']} | {row['machine']} |"
        )
    for title, row in rows.items():
        lines += [
            "",
            f"{title}, IoU by class: " + ", ".join(f"{name} {iou:.1f}" for name, iou in row["ious"].items()) + ".",
        ]
    write_results(RESULTS, lines, {"rows": rows})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=Path("CamVid"), help="folder with train/, trainannot/, val/, valannot/"
    )
    parser.add_argument(
        "--runs", type=Path, default=Path("runs/camvid"), help="folder for the runs; finished ones are kept"
    )
    parser.add_argument("--only", choices=list(CONTENDERS), help="train only this one")
    options = parser.parse_args()
    rows = json.loads(RESULTS.with_suffix(".json").read_text())["rows"]
    for title, (recipe, settings) in CONTENDERS.items():
        run = options.runs / title.replace(" ", "_")
        if options.only in (None, title) or (run / "done").is_file():
            spent = train(RECIPES / f"{recipe}.yaml", {"data.root": options.data, **settings}, out=run)
            rows[title] = {**last_metrics(run), **size_of(recipe), **spent, "machine": describe_machine()}
    write(rows)


if __name__ == "__main__":
    main()
