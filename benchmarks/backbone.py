"""What pretrained ffnet_nano is worth: top-1 on mini-ImageNet, a linear probe on Imagenette, and fine-tuning on a tenth
of Imagenette's labels, from these weights and from scratch with the same recipe.

    python benchmarks/backbone.py --mini-imagenet mini_imagenet --imagenette imagenette_96

Adds what `--only` names, else everything, to benchmarks/results/backbone.{json,md}. Both folders hold train/ and val/.
One class of Imagenette, n03417042, is one of mini-ImageNet's: figures on Imagenette are given without it as well.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from report import write_results
from shared_class import SHARED, of_run, run_through, top1, without_shared
from torch import Tensor, nn
from torch.nn import functional as F
from trainings import train

from metamixer import create_model, fuse, load_checkpoint
from metamixer.checkpoints.packaged import packaged_weights
from metamixer.system.machine import describe_machine

ROOT = Path(__file__).parent.parent
RECIPE = ROOT / "recipes/classification/few_images.yaml"
RESULTS = ROOT / "benchmarks/results/backbone"
PACKAGED = "ffnet_nano.mini_imagenet"
DECAYS = (1e-5, 1e-4, 1e-3, 1e-2)
"""Weight decays of the linear probe, of which one is chosen on a tenth of the training images."""


def mini_imagenet(network: nn.Module, folder: Path) -> dict[str, float]:
    """Top-1 among the 100 classes."""
    return {"96 px": round(top1(*run_through(network, folder, "val", 96)), 2)}


def linear_probe(network: nn.Module, folder: Path, size: int = 96) -> dict[str, float]:
    """Top-1 on Imagenette's validation split of a linear classifier on the frozen features."""

    def features(images: Tensor) -> Tensor:
        return network.forward_head(network.forward_features(images), pre_logits=True)

    (x, y), (x_val, y_val) = (run_through(features, folder, split, size) for split in ("train", "val"))
    mean, std = x.mean(dim=0), x.std(dim=0) + 1e-6
    x, x_val = (x - mean) / std, (x_val - mean) / std
    held = torch.arange(len(x)) % 10 == 0
    by_decay = {decay: top1(fitted(x[~held], y[~held], decay)(x[held]), y[held]) for decay in DECAYS}
    logits = fitted(x, y, max(by_decay, key=by_decay.get))(x_val)
    every, without = top1(logits, y_val), without_shared(logits, y_val, folder)
    return {"all classes": round(every, 2), f"without {SHARED}": round(without, 2)}


def random_probe(folder: Path) -> dict[str, float]:
    """The same with random weights, seed 0."""
    torch.manual_seed(0)
    return linear_probe(create_model("ffnet_nano").eval().to(memory_format=torch.channels_last), folder)


def fitted(x: Tensor, y: Tensor, decay: float) -> nn.Module:
    """Logistic regression."""
    layer = nn.Linear(x.shape[1], int(y.max()) + 1)
    nn.init.zeros_(layer.weight)
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(layer(x), y) + decay * layer.weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return layer.requires_grad_(False)


def tenth(folder: Path, out: Path) -> Path:
    """Imagenette with every tenth training image of each class, as links."""
    for split, step in (("train", 10), ("val", 1)):
        for classes in sorted((folder / split).iterdir()):
            place = out / split / classes.name
            place.mkdir(parents=True, exist_ok=True)
            for image in sorted(classes.iterdir())[::step]:
                link = place / image.name
                if not link.exists():
                    link.symlink_to(image.resolve())
    return out


def few_labels(weights: Path, folder: Path, runs: Path, seeds: Sequence[int]) -> dict[str, float]:
    """Top-1 on Imagenette's validation split after training on a tenth of the labels."""
    data = tenth(folder, runs / "imagenette_tenth")
    rows = {}
    for seed in seeds:
        settings = {"data.root": data, "seed_everything": seed, "data.seed": seed}
        start = {"model.init_args.initial": weights}
        scratch = {"model.init_args.initial": "null", "model.init_args.new_classifier": "false"}
        for name, extra in (("pretrained", start), ("scratch", scratch)):
            run = runs / f"tenth_{name}_{seed}"
            cost = train(RECIPE, {**settings, **extra}, out=run)
            every, without = of_run(run, data)
            rows[f"{name}, seed {seed}"] = round(every, 2)
            rows[f"{name}, seed {seed}, without {SHARED}"] = round(without, 2)
            rows[f"{name}, seed {seed}, CPU minutes"] = cost["cpu_minutes"]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mini-imagenet", type=Path, default=Path("mini_imagenet"))
    parser.add_argument("--imagenette", type=Path, default=Path("imagenette_96"))
    parser.add_argument("--weights", type=Path, help="a checkpoint; default: the packaged weights")
    parser.add_argument("--runs", type=Path, default=Path("runs/backbone"), help="folder for the trainings")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=("mini_imagenet", "linear_probe", "random_probe", "few_labels"))
    parser.add_argument("--out", type=Path, default=RESULTS, help="where to write, without a suffix")
    options = parser.parse_args()
    weights = options.weights or packaged_weights(PACKAGED)
    network = fuse(load_checkpoint(weights)[0].float()).to(memory_format=torch.channels_last)
    measures = {
        "mini_imagenet": lambda: mini_imagenet(network, options.mini_imagenet),
        "linear_probe": lambda: linear_probe(network, options.imagenette),
        "random_probe": lambda: random_probe(options.imagenette),
        "few_labels": lambda: few_labels(weights, options.imagenette, options.runs, options.seeds),
    }
    file = options.out.with_suffix(".json")
    rows = json.loads(file.read_text())["rows"] if file.is_file() else {}
    for name in options.only or measures:
        found, earlier = measures[name](), rows.get(name, {})
        kept = {key: value for key, value in earlier.items() if key not in found and key != "machine"}  # other seeds
        machines = dict.fromkeys([*(earlier["machine"].split("; ") if kept else []), describe_machine()])
        rows[name] = {**kept, **found, "machine": "; ".join(machines)}
        write(rows, options.out)


TITLES = {
    "mini_imagenet": "mini-ImageNet, 100 classes, top-1 on val (%)",
    "linear_probe": "linear probe on Imagenette at 96 px, top-1 on val (%)",
    "random_probe": "the same with random weights (%)",
    "few_labels": "a tenth of Imagenette's labels by `few_images.yaml`, top-1 on val (%)",
}


def write(rows: dict[str, dict], out: Path) -> None:
    """The results as JSON and as a table; what wasn't run says so."""
    lines = ["`ffnet_nano` with the packaged weights.", "", "| | | |", "|---|---|---|"]
    for name, title in TITLES.items():
        values = rows.get(name, {"": "not run"})
        lines += [f"| {title} | {key} | {value} |" for key, value in values.items()]
    write_results(out, lines, {"rows": rows})


if __name__ == "__main__":
    main()
