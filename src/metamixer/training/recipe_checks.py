"""Recipes on the command line of training: judged before Lightning reads them, and named in what is wrong with them."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from jsonargparse import ArgumentError
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from ..errors import DivergenceError, InputError, shown
from ..system.yaml_files import read_yaml
from .horizon import in_two_words
from .recipes import nearest_recipe


def recipes_in(arguments: Sequence[str]) -> list[str]:
    """The files that `--config` names."""
    return [argument for flag, argument in pairwise(in_two_words(arguments)) if flag == "--config"]


def check_recipes(arguments: Sequence[str]) -> None:
    """Raise InputError that names the recipe which isn't YAML of a usual size, or holds no settings."""
    for path in map(Path, recipes_in(arguments)):
        if not path.is_file():
            raise InputError(
                f"{path}: no such recipe, expected a YAML file or a name such as digits{nearest_recipe(path.name)}"
            )
        recipe = read_yaml(path, expected="a recipe")
        if not isinstance(recipe, dict) or not all(isinstance(key, str) for key in recipe):
            raise InputError(f"{path}: holds {type(recipe).__name__}, expected settings such as model, data, trainer")
        for key in ("trainer", "checkpoint", "last_checkpoint", "model", "data"):
            named = key in ("model", "data") and isinstance(recipe.get(key), str)
            if not named and not isinstance(recipe.get(key, {}), dict):
                raise InputError(f"{path}: {key} {shown(recipe[key])}, expected settings by name")


@contextmanager
def naming_recipes(arguments: Sequence[str]) -> Iterator[None]:
    """Name the recipe in an InputError that names neither a file nor a value from the command line."""
    try:
        yield
    except InputError as error:
        recipes = ", ".join(recipes_in(arguments))
        named = str(error).partition(": ")[0]
        option = f"--{str(error).split(maxsplit=1)[0].rstrip(':')}"
        typed = option in in_two_words(arguments) or any(value in str(error) for value in typed_values(arguments))
        if not recipes or typed or named.startswith("--") or "/" in named or os.path.exists(named):
            raise
        raise InputError(f"{recipes}: {error}") from None


def typed_values(arguments: Sequence[str]) -> list[str]:
    """The values of all options but `--config`, without those too short to be told from a message's other words."""
    pairs = pairwise(in_two_words(arguments))
    given = [value for option, value in pairs if option.startswith("--") and option != "--config"]
    return [value for value in given if len(value) > 2 and not value.startswith("--")]


@contextmanager
def unnamed(recipe: Path) -> Iterator[None]:
    """Leave a recipe that the user didn't write out of an InputError."""
    try:
        yield
    except InputError as error:
        raise InputError(str(error).removeprefix(f"{recipe}: ")) from None


@contextmanager
def built_from_settings() -> Iterator[None]:
    """Around the building of a run: what a library says of a setting becomes an InputError, in one line."""
    try:
        yield
    except (InputError, DivergenceError, ArgumentError, MisconfigurationException, OSError):
        raise
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, InputError):
            cause = cause.__cause__
        said = f"{type(error.__cause__ or error).__name__}: {error.__cause__ or error}"
        raise cause or InputError(" ".join(said.split())) from None
