"""Train ffnet_nano with the FFNet head on CamVid, from the packaged backbone and from scratch, and a U-Net with about
the same MACs from scratch, with the same recipe and number of steps.

    python benchmarks/camvid.py --data CamVid

Trains the networks without a result in `--runs` (half an hour to an hour each on one core; three seeds of the packaged
backbone), resumes stopped runs, and writes benchmarks/results/camvid.{json,md}, in which earlier rows of other networks
stay. `--data` is the unpacked folder with
train/, trainannot/, val/ and valannot/.
"""

import argparse
import json
from pathlib import Path
from statistics import mean

import torch
import yaml
from report import write_results
from trainings import last_validation, train

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

SEEDS = {"FFNet head on the packaged ffnet_nano": (0, 1, 2)}
"""Title -> seeds; others: 0."""


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


def of_seeds(found: dict[str, dict]) -> dict:
    """Means over the seeds, and the mean IoU of each."""
    by_seed = [row["miou"] for row in found.values()]
    names = next(iter(found.values()))["ious"]
    return {
        "miou": round(mean(by_seed), 2),
        "by_seed": by_seed,
        "accuracy": round(mean(row["accuracy"] for row in found.values()), 2),
        "ious": {name: round(mean(row["ious"][name] for row in found.values()), 1) for name in names},
        **{cost: round(mean(row[cost] for row in found.values()), 1) for cost in ("wall_minutes", "cpu_minutes")},
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
        "CamVid at 480x360, 11 classes, void ignored; recipes `camvid.yaml` and `camvid_unet.yaml`, seed 0, or means "
        "over seeds with each seed's figure; val, last epoch. All from scratch, but for the packaged backbone.",
        "",
        "| network | parameters | MACs at 360x480 | mIoU, val | pixel accuracy, val | CPU minutes | wall minutes "
        "| measured on |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for title, row in rows.items():
        seeds = row.get("by_seed", [])
        by_seed = f" ({', '.join(f'{value:.2f}' for value in seeds)})" if len(seeds) > 1 else ""
        lines.append(
            f"| {title} | {row['parameters'] / 1e6:.2f} M | {row['macs'] / 1e9:.2f} G | {row['miou']:.2f} %{by_seed} | "
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
        found = {}
        for seed in SEEDS.get(title, (0,)):
            run = options.runs / (title.replace(" ", "_") + (f"_{seed}" if seed else ""))
            if options.only in (None, title) or (run / "done").is_file():
                given = {"data.root": options.data, "seed_everything": seed, **settings}
                spent = train(RECIPES / f"{recipe}.yaml", given, out=run)
                found[str(seed)] = {**last_metrics(run), **spent}
        if found:
            rows[title] = {**of_seeds(found), **size_of(recipe), "machine": describe_machine()}
    write(rows)


if __name__ == "__main__":
    main()
