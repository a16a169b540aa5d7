"""Runs of one and of two processes (gloo, forked from this one or started by it) that must come to the same.

python tests/two_processes.py FOLDER
"""

import csv
import io
import json
import sys
import tarfile
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import patch

import torch
from PIL import Image

from metamixer.cli import main
from metamixer.data import DigitsData
from metamixer.tasks import Classification
from short_runs import differences, end_of, write_recipe

TWO = ["--trainer.devices", "2", "--trainer.strategy", "ddp_fork"]
IMAGES = 65
SHARDS = 5


def run(command, recipe, out, *options, code=0):
    found = main([command, "--config", recipe, "--out", str(out), *options])
    assert found == code, (found, command, recipe, options)


def write_shards(root):
    """65 images in 5 shards, for training and validation, named differently."""
    root.mkdir()
    splits = {}
    for split, start in (("train", 0), ("validation", 100)):
        names = [f"{split}-{shard}.tar" for shard in range(SHARDS)]
        for shard, name in enumerate(names):
            with tarfile.open(root / name, "w") as archive:
                for number in range(start + shard, start + IMAGES, SHARDS):
                    picture = io.BytesIO()
                    Image.new("RGB", (32, 32), (number, 255 - number, 7 * number % 256)).save(picture, "PNG")
                    for suffix, value in (("png", picture.getvalue()), ("cls", str(number % 2).encode())):
                        member = tarfile.TarInfo(f"{number:03}.{suffix}")
                        member.size = len(value)
                        archive.addfile(member, io.BytesIO(value))
        splits[split] = {"name": split, "num_samples": IMAGES, "filenames": names, "shard_lengths": [13] * SHARDS}
    (root / "info.json").write_text(json.dumps({"splits": splits}))


def measured(out):
    """The last validation of a run."""
    with max(Path(out).glob("logs/version_*/metrics.csv")).open() as file:
        rows = [row for row in csv.DictReader(file) if row.get("val/loss")]
    return {name: float(rows[-1][name]) for name in ("val/loss", "val/top1")}


def one_of_32_equals_two_of_16(folder):
    """A network without batch statistics, with augmentation, whose head learns alone at first; items draw the same."""
    recipe = write_recipe(
        folder / "even.yaml",
        **{
            "model.init_args.model": "vit_tiny_patch16_224",
            "model.init_args.model_args": {
                "img_size": 32,
                "patch_size": 8,
                "embed_dim": 48,
                "depth": 2,
                "num_heads": 3,
            },
            "model.init_args.optimization": {"name": "sgd", "lr": 0.1, "warmup_epochs": 0},
            "model.init_args.mixup": 0,
            "model.init_args.cutmix": 0,
            "trainer.max_epochs": 2,
            "trainer.callbacks": [{"class_path": "HeadFirst", "init_args": {"epochs": 1}}],
        },
    )
    run("fit", recipe, folder / "one", "--data.batch_size", "32")
    run("fit", recipe, folder / "two", "--data.batch_size", "16", *TWO)
    one, two = (torch.load(folder / name / "last.ckpt", weights_only=True)["state_dict"] for name in ("one", "two"))
    far = max((one[name] - two[name]).abs().max().item() for name in one)
    print("1 x 32 and 2 x 16 differ by", far)
    assert far <= 1e-6, far


def every_item_of_shards_counts_once(folder):
    """Five shards for two processes with two workers each, which measure 33 and 32 images: 3 and 2 batches."""
    write_shards(folder / "shards")
    recipe = write_recipe(
        folder / "shards.yaml",
        **{
            "data.class_path": "ImageData",
            "data.init_args": {"root": str(folder / "shards"), "dataset": "wds/numbers", "batch_size": 16},
            "data.init_args.preprocessing": {"size": 32, "crop_pct": 1.0},
            "data.init_args.num_workers": 2,
            "model.init_args.num_classes": 2,
            "trainer.limit_train_batches": 1.0,
            "trainer.limit_val_batches": 1.0,
        },
    )
    run("fit", recipe, folder / "whole", *TWO)
    two = measured(folder / "whole")
    one = alone(recipe, folder / "whole" / "last.ckpt")
    print("validation of one and of two processes", one, two)
    assert all(abs(one[name] - two[name]) < 1e-6 for name in two), (one, two)
    return recipe


def alone(recipe, checkpoint):
    """The metrics of `metamixer validate` in one process."""
    found = {}
    original = Classification.on_validation_end
    Classification.on_validation_end = lambda self: found.update(
        {name: self.trainer.callback_metrics[name].item() for name in ("val/loss", "val/top1")}
    )
    run("validate", recipe, checkpoint.parent, "--ckpt_path", str(checkpoint))
    Classification.on_validation_end = original
    return found


def stopped_equals_unbroken(folder, recipe):
    """Both processes fail in the second epoch's second batch."""
    original = Classification.training_step

    def step(self, items, batch_idx):
        if (self.current_epoch, batch_idx) == (1, 1):
            raise OverflowError("stop here")
        return original(self, items, batch_idx)

    Classification.training_step = step
    with suppress(Exception):
        main(["fit", "--config", recipe, "--out", str(folder / "run"), *TWO])
    Classification.training_step = original
    assert torch.load(folder / "run" / "last.ckpt", weights_only=True)["global_step"] == 3
    run("fit", recipe, folder / "run", "--resume", "auto", *TWO)
    whole, resumed = end_of(folder / "whole"), end_of(folder / "run")
    del whole["random"], resumed["random"]  # of this process, which only waits
    assert differences(whole, resumed) == [], differences(whole, resumed)


def a_command_that_starts_the_second_process(folder):
    """`python -m metamixer fit` runs itself again for the second process; each sees half of an epoch."""
    recipe = write_recipe(folder / "digits.yaml", **{"trainer.max_epochs": 1, "trainer.limit_train_batches": 1.0})
    options = ["--data.batch_size", "64", "--trainer.devices", "2", "--trainer.strategy", "ddp"]
    words = ["fit", "--config", recipe, "--out", str(folder / "started"), *options]
    program = find_spec("metamixer.__main__")
    with patch.object(sys.modules["__main__"], "__spec__", program), patch.object(sys, "argv", ["metamixer", *words]):
        assert main(words) == 0
    steps = torch.load(folder / "started" / "last.ckpt", weights_only=True)["global_step"]
    assert steps == -(-len(DigitsData().training_dataset()) // 2) // 64, steps
    print("the second process was started and saw half of an epoch")


def compare(folder):
    """All of it, in a folder."""
    one_of_32_equals_two_of_16(folder)
    recipe = every_item_of_shards_counts_once(folder)
    stopped_equals_unbroken(folder, recipe)
    a_command_that_starts_the_second_process(folder)


if __name__ == "__main__":
    compare(Path(sys.argv[1]))
