"""Expansion of the forecasting option `--horizon N`, and its refusal for other tasks."""

from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

from .. import tasks
from ..errors import InputError, shown
from ..system.yaml_files import read_yaml


def expand_horizon(arguments: list[str]) -> list[str]:
    """Replace `--horizon N` by settings of model, data and --out, and those of the recipes' `at_horizon`.

    They are inserted right after the last recipe, so that later options override them.
    """
    arguments = list(in_two_words(arguments))
    recipes = [argument for flag, argument in pairwise(arguments) if flag == "--config"]
    horizons = [argument for flag, argument in pairwise(arguments) if flag == "--horizon"]
    if not recipes or not horizons:
        return arguments
    horizon = horizons[-1]
    out, changes = "runs/latest", {}
    for path in recipes:
        recipe = read_yaml(Path(path), expected="a recipe")
        if not isinstance(recipe, dict) or not horizon.isdigit():
            raise InputError(f"--horizon {horizon}, expected a number of steps and a recipe for forecasting")
        expect_forecasting(model_class(class_path(recipe)), f"--horizon {horizon}")
        out, changes = recipe.get("out", out), {**changes, **changes_at(int(horizon), recipe, path)}
    settings = {
        "out": f"{out}_{horizon}",
        "model.horizon": horizon,
        "data.horizon": horizon,
        **changes,
    }
    expanded = [f"--{key}={value}" for key, value in settings.items()]
    end = len(arguments) - arguments[::-1].index("--config") + 1
    return [*arguments[:end], *expanded, *arguments[end:]]


def changes_at(horizon: int, recipe: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The settings that differ at a horizon; raises InputError that names the recipe's path."""
    changes = recipe.get("at_horizon") or {}
    changes = changes.get(horizon) or {} if isinstance(changes, dict) else changes
    if not isinstance(changes, dict):
        raise InputError(f"{path}: at_horizon {shown(recipe['at_horizon'])}, expected settings by horizon")
    return changes


def expect_forecasting(model: type | None, option: str) -> None:
    """Raise InputError if `option` is given to the model of another task; None: the model isn't known yet."""
    if model is not None and not issubclass(model, tasks.Forecasting):
        raise InputError(f"{option} for {model.__name__}, expected a recipe for Forecasting")


def class_path(recipe: Mapping[str, Any]) -> str:
    """The class of a recipe's `model`; empty if it has none."""
    model = recipe.get("model") or ""
    return model.get("class_path", "") if isinstance(model, Mapping) else str(model)


def model_class(path: str) -> type | None:
    """Find a class of ours by name or any class by its path; None if there is no such class."""
    module, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module) if module else tasks, name, None)
    except ImportError:
        return None
    return found if isinstance(found, type) else None


def in_two_words(arguments: Iterable[str]) -> Iterator[str]:
    """Split `--config=FILE`, `-c FILE` and `--horizon=N` into two words; keep everything else."""
    for argument in arguments:
        name, assigned, value = argument.partition("=")
        name = "--config" if name == "-c" else name
        if name in ("--config", "--horizon"):
            yield name
            if assigned:
                yield value
        else:
            yield argument
