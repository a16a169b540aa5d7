"""The recipes that come with the package, by name."""

from collections.abc import Sequence
from pathlib import Path

from ..errors import InputError

PACKAGE = Path(__file__).parents[1]
FOLDERS = (PACKAGE / "recipes", PACKAGE.parents[1] / "recipes")
"""Where they are: in the package of a wheel, and in a checkout beside `src`."""


def recipe_names() -> dict[str, Path]:
    """Every recipe by its path without suffix, such as classification/imagenette."""
    folder = next((folder for folder in FOLDERS if folder.is_dir()), FOLDERS[0])
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.yaml"))}


def find_recipe(name: str) -> str:
    """The file of a recipe: a path as it is, or a name, such as imagenette or detection/own_data.

    Raises InputError for a name that several recipes have; what is no recipe's name is left as it is.
    """
    if Path(name).is_file():
        return name
    recipes = recipe_names()
    wanted = name.removeprefix("recipes/").removesuffix(".yaml")
    found = [key for key in recipes if key == wanted or ("/" not in wanted and key.endswith(f"/{wanted}"))]
    if len(found) > 1:
        raise InputError(f"config {name!r}, expected one of {', '.join(found)}")
    return str(recipes[found[0]]) if found else name


def with_recipes(arguments: Sequence[str]) -> list[str]:
    """Arguments of `fit` in which every `--config NAME` is a file."""
    result: list[str] = []
    for word in arguments:
        if result and result[-1] in ("--config", "-c"):
            word = find_recipe(word)
        elif word.startswith("--config="):
            word = f"--config={find_recipe(word.removeprefix('--config='))}"
        result.append(word)
    return result
