"""Train ffnet_nano and two timm networks of about the same size on Imagenette at 96 px, with the same recipe and
epochs.

    python benchmarks/imagenette.py --data imagenette_96

Trains the networks without a result with `imagenette.yaml`, then `imagenette_finish.yaml` (about 90 minutes per network
on one core), or from the packaged weights with `imagenette_fine_tuned.yaml` (three
seeds) or `imagenette_fine_tuned_distilled.yaml`, and adds them to benchmarks/results/imagenette.{json,md}.
`--data` is the unpacked folder with train/ and val/.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import torch
from report import write_results
from shared_class import NOTE, SHARED, of_run
from trainings import last_validation, train

from metamixer import create_model
from metamixer.bench.complexity import measure
from metamixer.system.machine import describe_accelerator, describe_machine

ROOT = Path(__file__).parent.parent
RECIPES = ROOT / "recipes/classification"
RESULTS = ROOT / "benchmarks/results/imagenette"
SIZE = 96


class Contender(NamedTuple):
    """A network to train: its name in timm, its arguments, its recipes in turn, and the folder of its first run.

    seeds: one training each; that of seed 0 has no number in its folder's name.
    """

    model: str
    model_args: dict
    recipes: Sequence[str]
    run: str
    seeds: Sequence[int] = (0,)

    def runs(self, folder: Path, seed: int) -> list[Path]:
        """The folders of a seed's runs in turn."""
        numbered = f"{self.run}_{seed}" if seed else self.run
        return [folder / f"{numbered}{suffix}" for suffix in ("", "_finish")][: len(self.recipes)]


SCRATCH = ("imagenette", "imagenette_finish")
CONTENDERS: dict[str, Contender] = {
    "ffnet_nano": Contender("ffnet_nano", {}, SCRATCH, "ffnet_nano"),
    "ffnet_nano, distilled": Contender(
        "ffnet_nano", {}, ("imagenette_distilled", "imagenette_finish"), "ffnet_nano_distilled"
    ),
    "convnext, ffnet_nano's widths and depths": Contender(
        "convnext_atto", {"dims": [32, 64, 128, 256], "depths": [2, 2, 4, 1]}, SCRATCH, "convnext_atto"
    ),
    "mobilenetv4_conv_small": Contender("mobilenetv4_conv_small", {}, SCRATCH, "mobilenetv4_conv_small"),
    "ffnet_nano, from ffnet_nano.mini_imagenet": Contender(
        "ffnet_nano", {}, ("imagenette_fine_tuned",), "ffnet_nano_fine_tuned", (0, 1, 2)
    ),
    "ffnet_nano, from ffnet_nano.mini_imagenet, distilled": Contender(
        "ffnet_nano", {}, ("imagenette_fine_tuned_distilled",), "ffnet_nano_fine_tuned_distilled"
    ),
}


def settings_of(contender: Contender, data: Path, *, num_workers: int) -> dict[str, object]:
    """Options of `metamixer fit` in addition to the recipe."""
    args = {"model.init_args.model_args": json.dumps(contender.model_args)} if contender.model_args else {}
    return {"data.root": data, "data.num_workers": num_workers, "model.init_args.model": contender.model, **args}


def train_all(contender: Contender, options: argparse.Namespace) -> None:
    """Train with every seed; finished runs are kept."""
    settings = settings_of(contender, options.data, num_workers=options.workers)
    for seed in contender.seeds:
        runs = contender.runs(options.runs, seed)
        for recipe, run, before in zip(contender.recipes, runs, (None, *runs), strict=False):
            start = {"model.init_args.initial": before / "last.ckpt"} if before else {}
            train(RECIPES / f"{recipe}.yaml", {**settings, **start, "seed_everything": seed}, out=run)


def result(contender: Contender, finished: Sequence[Sequence[Path]], data: Path) -> dict:
    """A row of the table: the accuracy at the end of a seed's last run, epochs and cost of its runs; means over seeds.

    finished: the runs of each finished seed.
    """
    epochs = [int(last_validation(run, "val/top1")["epoch"]) + 1 for run in finished[0]]
    top1, without = zip(*(of_run(runs[-1], data, SIZE) for runs in finished), strict=True)
    costs = [json.loads((run / "cost.json").read_text()) for runs in finished for run in runs]
    return {
        "epochs": " + ".join(map(str, epochs)),
        "top1": round(mean(top1), 2),
        "by_seed": [round(value, 2) for value in top1],
        f"without_{SHARED}": round(mean(without), 2),
        **size_of(contender),
        "machine": describe_accelerator() + describe_machine(),
        **{name: round(sum(cost[name] for cost in costs) / len(finished), 1) for name in costs[0]},
    }


def size_of(contender: Contender) -> dict:
    """Parameters and multiply-accumulates of the training form."""
    network = create_model(contender.model, num_classes=10, device="meta", **contender.model_args).eval()
    complexity = measure(network, torch.empty(1, 3, SIZE, SIZE, device="meta"))
    return {"parameters": complexity.params, "macs": complexity.macs}


def write(rows: dict[str, dict], out: Path) -> None:
    """Write the results as JSON and as a table."""
    lines = [
        f"Imagenette, {SIZE} px, recipes `imagenette.yaml` (or `imagenette_distilled.yaml`), then "
        "`imagenette_finish.yaml`, or `imagenette_fine_tuned.yaml` (or `imagenette_fine_tuned_distilled.yaml`) alone, "
        f"seed 0, or means over seeds with each seed's figure. {NOTE}",
        "",
        f"| network | parameters | MACs at 96 px | epochs | top-1, val (last epoch) | without {SHARED} | CPU minutes "
        "| wall minutes | measured on |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for title, row in rows.items():
        without = row.get(f"without_{SHARED}")
        seeds = row.get("by_seed", [])
        by_seed = f" ({', '.join(f'{value:.2f}' for value in seeds)})" if len(seeds) > 1 else ""
        lines.append(
            f"| {title} | {row['parameters'] / 1e6:.2f} M | {row['macs'] / 1e6:.1f} M | {row['epochs']} | "
            f"{row['top1']:.2f} %{by_seed} | {f'{without:.2f} %' if without else 'not evaluated'} "
            f"| {row['cpu_minutes']} | {row['wall_minutes']} | {row['machine']} |"
        )
    write_results(out, lines, {"rows": rows})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("imagenette_96"), help="folder with train/ and val/")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs/imagenette"), help="folder for the runs; finished ones are kept"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes that load images")
    parser.add_argument("--out", type=Path, default=RESULTS, help="results to write, without the suffix")
    parser.add_argument("--only", choices=list(CONTENDERS), help="train only this one")
    options = parser.parse_args()
    rows = (
        json.loads(options.out.with_suffix(".json").read_text())["rows"]
        if options.out.with_suffix(".json").is_file()
        else {}
    )
    for title, contender in CONTENDERS.items():
        if title == options.only or (options.only is None and title not in rows):
            train_all(contender, options)
        runs = (contender.runs(options.runs, seed) for seed in contender.seeds)
        if finished := [each for each in runs if (each[-1] / "done").is_file()]:
            rows[title] = result(contender, finished, options.data)
    write(rows, options.out)


if __name__ == "__main__":
    main()
