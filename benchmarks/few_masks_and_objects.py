"""What 50 annotated images give: few_masks.yaml on CamVid's streets and few_objects.yaml on people in COCO's photos,
from the packaged backbone and from scratch.

    python benchmarks/few_masks_and_objects.py --camvid CamVid --coco coco_subset_416

`--camvid` is the unpacked folder with train/, trainannot/, val/ and valannot/, `--coco` one in COCO's layout. A seed
chooses 50 training images; all validation images are measured, after the last epoch. Adds to
benchmarks/results/few_masks_and_objects.{json,md}; finished trainings in `--runs` aren't repeated.
"""

import argparse
import json
import random
from collections.abc import Iterable
from pathlib import Path

from report import write_results
from trainings import last_validation, train

from metamixer.system.files import write_text
from metamixer.system.machine import describe_machine
from metamixer.training.own_data.training import fastest_precision

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks/results/few_masks_and_objects"
IMAGES = 50
PERSON = 1
"""COCO's category of people."""

STARTS = {
    "packaged backbone": {},
    "from scratch": {"model.init_args.pretrained_backbone": "false"},
    "packaged backbone, of which only the last stage is trained": {
        "trainer.callbacks+": "FrozenStages",
        "trainer.callbacks.stages": 3,
    },
}
"""Title -> options that differ from the recipe."""


def link(files: Iterable[Path], folder: Path) -> None:
    """Links to files, in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        if not (folder / file.name).exists():
            (folder / file.name).symlink_to(file.resolve())


def masks(source: Path, out: Path, seed: int) -> dict[str, object]:
    """Options of few_masks.yaml for 50 images of CamVid with their labels, which are linked in `out`."""
    chosen = random.Random(seed).sample(sorted((source / "train").iterdir()), IMAGES)
    link(chosen, out / "train")
    link((source / "trainannot" / f"{file.stem}.png" for file in chosen), out / "trainannot")
    for folder in ("val", "valannot"):
        link((source / folder).iterdir(), out / folder)
    data = {"root": out, "classes": "camvid", "train_labels": "trainannot", "val_labels": "valannot"}
    return {"model.num_classes": 11, **{f"data.{name}": value for name, value in data.items()}}


def objects(source: Path, out: Path, seed: int) -> dict[str, object]:
    """Options of few_objects.yaml for 50 photographs with people, whose annotations are written to `out`."""
    for split in ("train", "val"):
        content = json.loads((source / f"annotations/instances_{split}2017.json").read_text())
        people = [each for each in content["annotations"] if each["category_id"] == PERSON]
        shown = sorted({each["image_id"] for each in people})
        kept = set(random.Random(seed).sample(shown, IMAGES) if split == "train" else shown)
        part = {
            "images": [image for image in content["images"] if image["id"] in kept],
            "annotations": [each for each in people if each["image_id"] in kept],
            "categories": [each for each in content["categories"] if each["id"] == PERSON],
        }
        out.mkdir(parents=True, exist_ok=True)
        write_text(out / f"{split}.json", json.dumps(part))
    return {
        "model.num_classes": 1,
        "data.root": "/",
        "data.train_images": (source / "train2017").resolve(),
        "data.train_annotations": (out / "train.json").resolve(),
        "data.val_images": (source / "val2017").resolve(),
        "data.val_annotations": (out / "val.json").resolve(),
    }


TASKS = {
    "few_masks.yaml, CamVid, 11 classes: mIoU": ("segmentation", "few_masks", masks, "val/miou"),
    "few_objects.yaml, people in COCO: box AP50": ("detection", "few_objects", objects, "val/box_ap50"),
}
"""Title -> task, recipe, the function that makes its data, and the metric."""


def measure(title: str, start: str, seed: int, source: Path, runs: Path) -> dict[str, float]:
    """The metric in percent after the last epoch, and the CPU minutes."""
    task, recipe, subset, metric = TASKS[title]
    run = runs / f"{recipe}_{list(STARTS).index(start)}_{seed}"
    settings = {
        **subset(source, runs / f"{recipe}_images_{seed}", seed),
        **{f"trainer.{name}": value for name, value in fastest_precision(task).items()},
        **STARTS[start],
        "data.num_workers": 0,
        "seed_everything": seed,
    }
    spent = train(ROOT / f"recipes/{task}/{recipe}.yaml", settings, out=run)
    return {"percent": round(100 * float(last_validation(run, metric)[metric]), 1), **spent}


def table(rows: dict[str, dict]) -> list[str]:
    """One line for each task and start, with the results of all seeds."""
    lines = [f"{IMAGES} training images by seed; all validation images, last epoch.", ""]
    lines += ["| recipe, data, metric | start | % by seed | mean | CPU minutes |", "|---|---|---|---|---|"]
    for title in TASKS:
        for start in STARTS:
            found = rows.get(title, {}).get(start, {})
            values = [found[seed]["percent"] for seed in sorted(found)]
            minutes = [found[seed]["cpu_minutes"] for seed in sorted(found)]
            mean, spent = (f"{sum(each) / len(each):.1f}" if each else "" for each in (values, minutes))
            lines.append(f"| {title} | {start} | {', '.join(map(str, values)) or 'not run'} | {mean} | {spent} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--camvid", type=Path, default=Path("CamVid"))
    parser.add_argument("--coco", type=Path, default=Path("coco_subset_416"))
    parser.add_argument("--tasks", nargs="+", choices=["masks", "objects"], default=["masks", "objects"])
    parser.add_argument("--starts", type=int, nargs="+", choices=range(len(STARTS)), default=[*range(len(STARTS))])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, default=Path("runs/few_masks_and_objects"))
    options = parser.parse_args()
    file = RESULTS.with_suffix(".json")
    rows = json.loads(file.read_text())["rows"] if file.is_file() else {}
    sources = {"masks": options.camvid, "objects": options.coco}
    chosen = [title for title, (_, _, subset, _) in TASKS.items() if subset.__name__ in options.tasks]
    for seed in options.seeds:
        for title in chosen:
            for start in (list(STARTS)[number] for number in options.starts):
                source = sources[TASKS[title][2].__name__]
                found = measure(title, start, seed, source, options.runs)
                rows.setdefault(title, {}).setdefault(start, {})[str(seed)] = found
                write_results(RESULTS, [*table(rows), "", describe_machine(), ""], {"rows": rows})


if __name__ == "__main__":
    main()
