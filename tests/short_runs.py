"""A short training with everything random that a recipe can have, and all that it ends with."""

import random

import numpy as np
import torch
import yaml
from torch.utils import _pytree

from metamixer.cli import main

BATCHES = 5
EPOCHS = 2
STEPS = BATCHES * EPOCHS

DIGITS_EPOCHS = 2
DIGITS_STEPS = 3


def write_recipe(path, **changes):
    """A short training with everything random that a recipe can have; changes: by dotted key."""
    content = {
        "seed_everything": 1,
        "model.class_path": "Classification",
        "model.init_args.model": "ffnet_nano",
        "model.init_args.num_classes": 10,
        "model.init_args.model_args": {
            "depths": [1, 0, 0, 0],
            "dims": [8, 8, 16, 16],
            "stem_dim": 8,
            "drop_path_rate": 0.2,
            "drop_rate": 0.1,
        },
        "model.init_args.optimization": {"warmup_epochs": 1},
        "data.class_path": "DigitsData",
        "data.init_args.batch_size": 8,
        "trainer.accelerator": "cpu",
        "trainer.max_epochs": EPOCHS,
        "trainer.limit_train_batches": BATCHES,
        "trainer.limit_val_batches": 2,
        "trainer.num_sanity_val_steps": 0,
        "trainer.log_every_n_steps": 1,
        "trainer.enable_progress_bar": False,
        "trainer.enable_model_summary": False,
        "trainer.callbacks": [{"class_path": "MovingAverage", "init_args": {"decay": 0.9}}],
        "last_checkpoint.every_n_train_steps": 1,
        **changes,
    }
    nested = {}
    for key, value in content.items():
        *parents, name = key.split(".")
        place = nested
        for parent in parents:
            place = place.setdefault(parent, {})
        place[name] = value
    path.write_text(yaml.safe_dump(nested))
    return str(path)


def fit(recipe, out, *options):
    return main(["fit", "--config", recipe, "--out", str(out), *options])


def write_digits_recipe(path, data="DigitsData", **init_args):
    """A recipe as a user writes it, in nested YAML, short and with everything random; init_args: of the task."""
    content = {
        "seed_everything": 1,
        "model": {
            "class_path": "Classification",
            "init_args": {
                "model": "ffnet_nano",
                "num_classes": 10,
                "model_args": {
                    "depths": [1, 1, 1, 1],
                    "dims": [8, 16, 32, 32],
                    "stem_dim": 8,
                    "drop_path_rate": 0.2,
                    "drop_rate": 0.1,
                },
                "optimization": {"warmup_epochs": 1},
                **init_args,
            },
        },
        "data": {"class_path": data, "init_args": {"batch_size": 16}},
        "trainer": {
            "accelerator": "cpu",
            "max_epochs": DIGITS_EPOCHS,
            "limit_train_batches": DIGITS_STEPS,
            "limit_val_batches": 2,
            "log_every_n_steps": 1,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "callbacks": [{"class_path": "MovingAverage", "init_args": {"decay": 0.9}}],
        },
    }
    path.write_text(yaml.safe_dump(content))
    return str(path)


def end_of(run):
    """All that a run ends with: weights, averages, optimizer, schedule, position, best checkpoint, random state."""
    checkpoint = torch.load(run / "last.ckpt", weights_only=True)
    best = torch.load(run / "best.ckpt", weights_only=True)
    kept = {key: checkpoint[key] for key in ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step")}
    kept |= {key: checkpoint[key] for key in ("current_model_state", "averaging_state") if key in checkpoint}
    kept |= {"best": best["state_dict"], "best step": best["global_step"]}
    kept["random"] = [torch.get_rng_state(), torch.tensor(np.random.get_state()[1].astype(np.int64)), random.getstate()]
    return kept


def differences(first, second):
    """The paths of what differs in two trees."""
    one, other = (dict(_pytree.tree_flatten_with_path(tree)[0]) for tree in (first, second))
    assert one.keys() == other.keys()
    same = {
        path: torch.equal(value, other[path]) if isinstance(value, torch.Tensor) else value == other[path]
        for path, value in one.items()
    }
    return [_pytree.keystr(path) for path, equal in same.items() if not equal]
