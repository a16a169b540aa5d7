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

from report import write_results
from shared_class import NOTE, SHARED, of_run
from trainings import train

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
    """Top-1 in percent after the last epoch, with and without the shared class, and the CPU minutes."""
    run = runs / f"{images}_{list(WAYS).index(way)}_{seed}"
    data = subset(folder, runs / f"images_{images}_{seed}", images, seed)
    settings = {
        "data.root": data,
        "data.num_workers": 0,
        "data.seed": seed,
        "seed_everything": seed,
        "trainer.max_epochs": EPOCHS[images],
        "trainer.check_val_every_n_epoch": EPOCHS[images],
    }
    cost = train(RECIPE, {**settings, **WAYS[way]}, out=run)
    top1, without = of_run(run, data)
    return {"top1": round(top1, 1), f"without_{SHARED}": round(without, 1), "cpu_minutes": cost["cpu_minutes"]}


def table(rows: dict[str, dict]) -> list[str]:
    """One line for each number of images and way, with the results of all seeds."""
    lines = [f"| images | epochs | way | top-1, % by seed | mean | mean without {SHARED} | CPU minutes |"]
    lines.append("|---|---|---|---|---|---|---|")
    for images, epochs in EPOCHS.items():
        for way in WAYS:
            found = rows.get(str(images), {}).get(way, {})
            shown = ", ".join(str(found[seed]["top1"]) for seed in sorted(found)) or "not run"
            means = [mean(found, name) for name in ("top1", f"without_{SHARED}", "cpu_minutes")]
            lines.append(f"| {images} | {epochs} | {way} | {shown} | {' | '.join(means)} |")
    return lines


def mean(found: dict[str, dict], name: str) -> str:
    """The mean over the seeds; empty if one of them lacks the figure."""
    values = [row.get(name) for row in found.values()]
    return f"{sum(values) / len(values):.1f}" if values and None not in values else ""


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
                write_results(options.out, [*table(rows), "", NOTE, "", describe_machine(), ""], {"rows": rows})


if __name__ == "__main__":
    main()
