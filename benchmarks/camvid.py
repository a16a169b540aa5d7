"""ffnet_nano with the FFNet head and a U-Net of about the same MACs on CamVid, from scratch: same recipe, same steps, one table.

    python benchmarks/camvid.py --data CamVid

Trains what has no result yet (about an hour and a half each on one core) and writes benchmarks/results/camvid.{json,md}.
`--data` is the unpacked folder with train/, trainannot/, val/ and valannot/. A run that was stopped goes on where it was.
"""

import argparse
import csv
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch
import yaml

from metamixer import create_model
from metamixer.complexity import measure
from metamixer.machine import describe_machine

ROOT = Path(__file__).parent.parent
RECIPES = ROOT / "recipes/segmentation"
RESULTS = ROOT / "benchmarks/results/camvid"
SIZE = (360, 480)
CONTENDERS = {"FFNet head on ffnet_nano": "camvid", "U-Net on mobilenetv3_small_100": "camvid_unet"}
"""Title -> recipe, and the folder of the run."""


def train(recipe: str, *, data: Path, out: Path) -> dict:
    """One run of the recipe, or what is left of it; returns what all its parts cost."""
    cost = out / "parts.json"
    spent = json.loads(cost.read_text()) if cost.is_file() else {"wall_minutes": 0.0, "cpu_minutes": 0.0}
    arguments = ["--config", str(RECIPES / f"{recipe}.yaml"), "--data.root", str(data), "--out", str(out)]
    if (out / "last.ckpt").is_file():
        arguments += ["--resume", "true"]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.time()
    process = subprocess.run([sys.executable, "-m", "metamixer", "fit", *arguments, "--trainer.enable_progress_bar", "false"])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    spent = {
        "wall_minutes": round(spent["wall_minutes"] + (time.time() - start) / 60, 1),
        "cpu_minutes": round(spent["cpu_minutes"] + seconds / 60, 1),
    }
    out.mkdir(parents=True, exist_ok=True)
    cost.write_text(json.dumps(spent) + "\n")
    process.check_returncode()
    return spent


def last_measures(run: Path) -> dict:
    """What the run's last validation gave: the end of the schedule, not the best of many looks."""
    log = max(run.glob("logs/version_*/metrics.csv"), key=lambda path: path.stat().st_mtime)
    with log.open() as file:
        row = [row for row in csv.DictReader(file) if row.get("val/miou")][-1]
    ious = {key.removeprefix("val/iou_"): round(100 * float(value), 1) for key, value in row.items() if key.startswith("val/iou_")}
    return {"miou": round(100 * float(row["val/miou"]), 2), "accuracy": round(100 * float(row["val/accuracy"]), 2), "ious": ious}


def size_of(recipe: str) -> dict:
    """Parameters and multiply-accumulates in training form."""
    settings = yaml.safe_load((RECIPES / f"{recipe}.yaml").read_text())["model"]["init_args"]
    with torch.device("meta"):
        network = create_model(settings["model"], num_classes=settings["num_classes"]).eval()
    complexity = measure(network, torch.empty(1, 3, *SIZE, device="meta"))
    return {"parameters": complexity.params, "macs": complexity.macs}


def write(rows: dict[str, dict]) -> None:
    """The result as JSON and as a table."""
    lines = [
        "CamVid at 480x360 from scratch, 11 classes, void ignored; recipes `camvid.yaml` and `camvid_unet.yaml`, seed 0; val, last epoch.",
        f"Measured on: {describe_machine()}.",
        "",
        "| network | parameters | MACs at 360x480 | mIoU, val | pixel accuracy, val | CPU minutes | wall minutes |",
        "|---|---|---|---|---|---|---|",
    ]
    for title, row in rows.items():
        lines.append(
            f"| {title} | {row['parameters'] / 1e6:.2f} M | {row['macs'] / 1e9:.2f} G | {row['miou']:.2f} % | {row['accuracy']:.2f} % "
            f"| {row['cpu_minutes']} | {row['wall_minutes']} |"
        )
    for title, row in rows.items():
        lines += ["", f"{title}, IoU by class: " + ", ".join(f"{name} {iou:.1f}" for name, iou in row["ious"].items()) + "."]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.with_suffix(".json").write_text(json.dumps({"machine": describe_machine(), "rows": rows}, indent=1) + "\n")
    RESULTS.with_suffix(".md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("CamVid"), help="folder with train/, trainannot/, val/, valannot/")
    parser.add_argument("--runs", type=Path, default=Path("runs/camvid"), help="folder for the runs; finished ones are kept")
    parser.add_argument("--only", choices=list(CONTENDERS), help="train this one only")
    options = parser.parse_args()
    rows = {}
    for title, recipe in CONTENDERS.items():
        run = options.runs / recipe
        cost = run / "cost.json"
        if not cost.is_file() and options.only in (None, title):
            spent = train(recipe, data=options.data, out=run)
            cost.write_text(json.dumps(spent) + "\n")
        if cost.is_file():
            rows[title] = {**last_measures(run), **size_of(recipe), **json.loads(cost.read_text())}
    write(rows)


if __name__ == "__main__":
    main()
