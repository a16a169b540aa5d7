"""Train ffnet_3d_nano and a plain sparse U-Net of the same size on 30 scans of SemanticKITTI, with the same recipe and
epochs.

    python benchmarks/semantickitti.py --data semantickitti_mini_grid005

Trains the networks without a result (about an hour each on one core), resumes stopped runs, tests with votes on the
original points, and writes benchmarks/results/semantickitti.{json,md}. `--data` is the unpacked folder of sequences.
`--packaged` tests the weights in the package instead, and prints their figures.
"""

import argparse
import json
import subprocess
from pathlib import Path

from report import write_results
from trainings import command, train

from metamixer import create_model
from metamixer.checkpoints.packaged import packaged_weights
from metamixer.data.points.benchmarks import KITTI_CLASSES
from metamixer.system.files import write_text
from metamixer.system.machine import describe_machine
from metamixer.tasks.confusion import class_ious, read_confusion, segmentation_measures

ROOT = Path(__file__).parent.parent
RECIPE = ROOT / "recipes/points/semantickitti_mini.yaml"
RESULTS = ROOT / "benchmarks/results/semantickitti"
PACKAGED = "ffnet_3d_nano_semantickitti"
CONTENDERS = {
    "ffnet_3d_nano": "FFNified attention",
    "sparse_unet_nano": "sparse U-Net: one convolution instead of keys and values",
}


def measure(settings: dict[str, object], *, out: Path) -> dict:
    """Test the weights of the settings with votes."""
    subprocess.run(command("test", RECIPE, settings, out=out), check=True)
    counts = read_confusion(out / "test_confusion.csv")
    measures = {name: round(100 * value.item(), 2) for name, value in segmentation_measures(counts).items()}
    ious = {
        name: round(100 * iou.item(), 2)
        for name, iou in zip(KITTI_CLASSES, class_ious(counts), strict=True)
        if not iou.isnan()
    }
    return {**measures, "ious": ious}


def write(rows: dict[str, dict]) -> None:
    """Write the results as JSON and as tables."""
    lines = [
        "SemanticKITTI mini, 30 training scans, recipe `semantickitti_mini.yaml`, seed 0, last epoch; sequence "
        "08's three scans, every "
        f"original point, 13 votes. Measured on: {describe_machine()}.",
        "",
        "| network | parameters | mIoU | accuracy | CPU minutes | wall minutes |",
        "|---|---|---|---|---|---|",
    ]
    for model, row in rows.items():
        lines.append(
            f"| {model} ({CONTENDERS[model]}) | {row['parameters'] / 1e6:.2f} M | {row['miou']:.1f} % | "
            f"{row['accuracy']:.1f} % "
            f"| {row['cpu_minutes']:.0f} | {row['wall_minutes']:.0f} |"
        )
    lines += ["", f"| IoU in % | {' | '.join(rows)} |", f"|---|{'---|' * len(rows)}"]
    for name in KITTI_CLASSES:
        if any(name in row["ious"] for row in rows.values()):
            lines.append(f"| {name} | {' | '.join(str(row['ious'].get(name, '-')) for row in rows.values())} |")
    write_results(RESULTS, lines, {"rows": rows})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("semantickitti_mini_grid005"), help="folder of sequences")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs/semantickitti"), help="folder for the runs; finished ones are kept"
    )
    parser.add_argument("--only", choices=list(CONTENDERS), help="train only this one")
    parser.add_argument("--packaged", action="store_true", help="test the packaged weights instead")
    options = parser.parse_args()
    if options.packaged:
        settings = {"data.root": options.data, "model.init_args.initial": packaged_weights(PACKAGED)}
        print(json.dumps(measure(settings, out=options.runs / "packaged"), indent=1))
        return
    rows = {}
    for model in CONTENDERS:
        result = options.runs / model / "result.json"
        if not result.is_file() and options.only in (None, model):
            settings = {"data.root": options.data, "model.init_args.model": model}
            spent = train(RECIPE, settings, out=result.parent)
            last = {**settings, "ckpt_path": result.parent / "last.ckpt"}  # not the best of many
            write_text(result, json.dumps({**spent, **measure(last, out=result.parent)}))
        if result.is_file():
            network = create_model(model, in_chans=2, num_classes=len(KITTI_CLASSES))
            parameters = sum(parameter.numel() for parameter in network.parameters())
            rows[model] = {"parameters": parameters, **json.loads(result.read_text())}
    write(rows)


if __name__ == "__main__":
    main()
