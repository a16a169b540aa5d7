"""How to train with 50, 500 or 5,000 images of one's own: ffnet_nano by few_images.yaml in several ways, on that many
of Imagenette's training images.

    python benchmarks/few_images.py --imagenette imagenette_96 --images 50 500

Validated on 950 other training images, so that Imagenette's own validation split has no part in the choice. Adds to
benchmarks/results/few_images.{json,md}; finished trainings in `--runs` aren't repeated.
"""

import argparse
import json
import random
from pathlib import Path

from trainings import last_validation, train, write_results

from metamixer.system.machine import describe_machine

ROOT = Path(__file__).parent.parent
RECIPE = ROOT / "recipes/classification/few_images.yaml"
RESULTS = ROOT / "benchmarks/results/few_images"
HELD = 95
"""Images of each class to validate on."""

EPOCHS = {50: 150, 500: 40, 5000: 20}
"""Images -> epochs, the same for every way."""

WAYS = {
    "from scratch": {"model.init_args.initial": "null", "model.init_args.new_classifier": "false"},
    "few_images.yaml": {},
    "few_images.yaml, only the last stage and the classifier": {
        "trainer.callbacks+": "FrozenStages",
        "trainer.callbacks.stages": 3,
    },
}


def subset(folder: Path, out: Path, images: int, seed: int) -> Path:
    """A data set of links: training images, equally many of each class, and `HELD` others of each for validation."""
    classes = sorted(path for path in (folder / "train").iterdir() if path.is_dir())
    for each in classes:
        files = sorted(each.iterdir())
        random.Random(0).shuffle(files)
        held, rest = files[:HELD], files[HELD:]
        chosen = random.Random(seed).sample(rest, images // len(classes))
        for split, part in (("train", chosen), ("val", held)):
            place = out / split / each.name
            place.mkdir(parents=True, exist_ok=True)
            for image in part:
                if not (place / image.name).exists():
                    (place / image.name).symlink_to(image.resolve())
    return out


def measure(way: str, images: int, seed: int, folder: Path, runs: Path) -> dict[str, float]:
    """Top-1 in percent after the last epoch, and the CPU minutes."""
    run = runs / f"{images}_{list(WAYS).index(way)}_{seed}"
    settings = {
        "data.root": subset(folder, runs / f"images_{images}_{seed}", images, seed),
        "data.num_workers": 0,
        "data.seed": seed,
        "seed_everything": seed,
        "trainer.max_epochs": EPOCHS[images],
        "trainer.check_val_every_n_epoch": EPOCHS[images],
    }
    cost = train(RECIPE, {**settings, **WAYS[way]}, out=run)
    top1 = round(100 * float(last_validation(run, "val/top1")["val/top1"]), 1)
    return {"top1": top1, "cpu_minutes": cost["cpu_minutes"]}


def table(rows: dict[str, dict]) -> list[str]:
    """One line for each number of images and way, with the results of all seeds."""
    lines = ["| images | epochs | way | top-1, % by seed | mean | CPU minutes |", "|---|---|---|---|---|---|"]
    for images, epochs in EPOCHS.items():
        for way in WAYS:
            found = rows.get(str(images), {}).get(way, {})
            top1 = [found[seed]["top1"] for seed in sorted(found)]
            minutes = [found[seed]["cpu_minutes"] for seed in sorted(found)]
            shown = ", ".join(map(str, top1)) if top1 else "not run"
            mean = f"{sum(top1) / len(top1):.1f}" if top1 else ""
            spent = f"{sum(minutes) / len(minutes):.1f}" if top1 else ""
            lines.append(f"| {images} | {epochs} | {way} | {shown} | {mean} | {spent} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--imagenette", type=Path, default=Path("imagenette_96"))
    parser.add_argument("--images", type=int, nargs="+", choices=tuple(EPOCHS), default=list(EPOCHS))
    parser.add_argument("--ways", type=int, nargs="+", choices=range(len(WAYS)), default=[*range(len(WAYS))])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, default=Path("runs/few_images"))
    parser.add_argument("--out", type=Path, default=RESULTS, help="where to write, without a suffix")
    options = parser.parse_args()
    file = options.out.with_suffix(".json")
    rows = json.loads(file.read_text())["rows"] if file.is_file() else {}
    for images in options.images:
        for seed in options.seeds:
            for way in (list(WAYS)[number] for number in options.ways):
                found = measure(way, images, seed, options.imagenette, options.runs)
                rows.setdefault(str(images), {}).setdefault(way, {})[str(seed)] = found
                write_results(options.out, [*table(rows), "", describe_machine(), ""], {"rows": rows})


if __name__ == "__main__":
    main()
