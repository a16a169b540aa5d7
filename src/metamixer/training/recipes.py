"""The packaged recipes, by name."""

from collections.abc import Sequence
from pathlib import Path

from ..errors import InputError, did_you_mean

PACKAGE = Path(__file__).parents[1]
FOLDERS = (PACKAGE / "recipes", PACKAGE.parents[1] / "recipes")
"""Folders of recipes: inside an installed package, and next to `src` in a checkout."""


def recipe_names() -> dict[str, Path]:
    """Every recipe by its path without suffix, such as classification/imagenette."""
    folder = next((folder for folder in FOLDERS if folder.is_dir()), FOLDERS[0])
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.yaml"))}


def find_recipe(name: str) -> str:
    """The file of a recipe, given by path or by name, such as imagenette or detection/own_data.

    Raises InputError for an ambiguous name; an unknown name is returned unchanged.
    """
    if Path(name).is_file():
        return name
    recipes = recipe_names()
    wanted = name.removeprefix("recipes/").removesuffix(".yaml")
    found = [key for key in recipes if key == wanted or ("/" not in wanted and key.endswith(f"/{wanted}"))]
    if len(found) > 1:
        raise InputError(f"config {name!r}, expected one of {', '.join(found)}")
    return str(recipes[found[0]]) if found else name


def nearest_recipe(name: str) -> str:
    """`; did you mean NAME?` if a recipe has a similar name, else nothing."""
    return did_you_mean(Path(name).stem, {key.rpartition("/")[2] for key in recipe_names()})


def with_recipes(arguments: Sequence[str]) -> list[str]:
    """Replace the recipe names in `--config NAME` by their files."""
    result: list[str] = []
    for word in arguments:
        if result and result[-1] in ("--config", "-c"):
            word = find_recipe(word)
        elif word.startswith("--config="):
            word = f"--config={find_recipe(word.removeprefix('--config='))}"
        result.append(word)
    return result
