"""Every recipe is found by its name, parses against the real signatures, builds its network, and states hardware, time
and figure in its header.
"""

import re
import sys
from importlib.machinery import PathFinder
from itertools import takewhile
from pathlib import Path

import pytest
import timm
import torch
import yaml

from metamixer import create_model
from metamixer.errors import InputError
from metamixer.models.tasks import TASKS
from metamixer.training import command_line
from metamixer.training.horizon import expand_horizon
from metamixer.training.recipes import find_recipe, nearest_recipe, recipe_names, with_recipes

RECIPES = Path(__file__).parents[1] / "recipes"
BENCHMARKS = RECIPES.parent / "benchmarks"
NAMES = sorted(str(path.relative_to(RECIPES)) for path in RECIPES.rglob("*.yaml"))

HEADER = {
    "hardware": r"\b(GPUs?|CPUs?|cores?)\b",
    "time": r"\b\d+ (seconds|minutes|hours|days)\b|\ban? (minute|hour|day)\b",
    "figure": r"\b(paper|measured|not run)\b",
}
"""What the header of a recipe must contain -> its pattern."""


@pytest.fixture
def parse(monkeypatch):
    """Parse the command line without building or running anything."""
    for step in ("instantiate_classes", "_run_subcommand"):
        monkeypatch.setattr(command_line.TrainingCLI, step, lambda self, *args: None)

    monkeypatch.setattr(sys, "argv", ["metamixer"])

    def parse(path: Path, command: str = "fit", horizon: int | None = None):
        extra = ["--horizon", str(horizon)] if horizon else []
        return command_line.run([command, "--config", str(path), *extra]).config[command]

    return parse


def header(path: Path) -> str:
    """The comment at the top of a recipe."""
    lines = takewhile(lambda line: line.startswith("#"), path.read_text().splitlines())
    return " ".join(line.removeprefix("#").strip() for line in lines)


FITTED = [name for name in NAMES if "metamixer.training.zero_shot" not in header(RECIPES / name)]
"""Recipes of `metamixer fit`; the others are tested in `test_synthetic_series.py`."""


def test_recipes_are_found_by_name():
    assert find_recipe("imagenette").endswith("recipes/classification/imagenette.yaml")
    assert find_recipe("detection/own_data").endswith("recipes/detection/own_data.yaml")
    assert with_recipes(["fit", "--config", "digits", "--config=imagenette"])[2:] == [
        find_recipe("digits"),
        f"--config={find_recipe('imagenette')}",
    ]
    assert find_recipe("nowhere.yaml") == "nowhere.yaml" and len(recipe_names()) > 40
    assert nearest_recipe("digit") == "; did you mean digits?" and nearest_recipe("wxyz") == ""
    with pytest.raises(InputError, match="config 'own_data', expected one of detection/own_data, points/own_data"):
        find_recipe("own_data")


@pytest.mark.parametrize("name", NAMES)
def test_header_states_hardware_time_and_figure(name):
    text = header(RECIPES / name)
    missing = [what for what, pattern in HEADER.items() if not re.search(pattern, text, re.IGNORECASE)]
    assert not missing, f"{name}: no {', '.join(missing)} in the header {text!r}"


@pytest.mark.parametrize("name", FITTED)
def test_parses_builds_its_network_and_keeps_the_best_by_the_tasks_metric(name, parse):
    path = RECIPES / name
    config = parse(path, "test" if "metamixer test" in header(path) else "fit")
    (task,) = (task for task in TASKS.values() if task.name == Path(name).parts[0])
    assert (config.checkpoint.monitor, config.checkpoint.mode) == (task.monitor, task.mode)
    settings = config.model.init_args
    with torch.device("meta"):
        create_model(settings.model, **input_sizes(config), **(settings.model_args or {}))
    if settings.get("distillation"):
        teacher = settings.distillation.init_args.teacher.init_args.model
        assert teacher in timm.list_pretrained() or PathFinder.find_spec(teacher.split(":")[0], [str(BENCHMARKS)])


def input_sizes(config) -> dict:
    """Arguments that the task passes to the network; model and data of a forecasting recipe must agree on them."""
    settings = config.model.init_args
    if config.model.class_path.endswith("SuperResolution"):
        assert settings.scale == config.data.init_args.scale
        return {"scale": settings.scale}
    if config.model.class_path.endswith("Restoration"):
        data = config.data.init_args
        assert (settings.scale, settings.channels) == (data.scale, data.channels)
        return {"scale": settings.scale, "in_chans": settings.channels}
    if not config.model.class_path.endswith("Forecasting"):
        return {"num_classes": settings.num_classes}
    data = config.data.init_args
    assert (settings.lookback, settings.horizon) == (data.lookback, data.horizon)
    return {"variables": settings.variables, "lookback": settings.lookback, "horizon": settings.horizon}


@pytest.mark.parametrize("name", [name for name in FITTED if name.startswith("forecasting/")])
@pytest.mark.parametrize("horizon", [96, 192, 336, 720])
def test_a_horizon_changes_the_recipes_settings(name, horizon, parse):
    path = RECIPES / name
    config = parse(path, horizon=horizon)
    changes = yaml.safe_load(path.read_text()).get("at_horizon", {}).get(horizon, {})
    assert (config.model.init_args.horizon, config.data.init_args.horizon) == (horizon, horizon)
    assert config.out.endswith(f"_{horizon}")
    for key, value in changes.items():
        section, *middle, last = key.split(".")
        node = config[section].callbacks[0].init_args if middle == ["callbacks"] else config[section].init_args
        node = node.model_args if middle == ["model_args"] else node
        assert node[last] == value


UNKNOWN_KEYS = [
    "bogus",
    "model.init_args.bogus",
    "model.init_args.optimization.bogus",
    "data.init_args.bogus",
    "data.init_args.preprocessing.bogus",
    "data.init_args.augmentation.bogus",
    "trainer.bogus",
    "trainer.callbacks.0.init_args.bogus",
]


@pytest.mark.parametrize("key", UNKNOWN_KEYS)
def test_an_unknown_key_is_refused(key, parse, tmp_path):
    recipe = yaml.safe_load((RECIPES / "classification" / "ffnet_4_384.yaml").read_text())
    *parents, last = key.split(".")
    node = recipe
    for part in parents:
        node = node[int(part)] if part.isdigit() else node.setdefault(part, {})
    node[last] = 1
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    with pytest.raises(InputError, match="bogus"):
        parse(path)


def test_an_unknown_model_argument_is_refused():
    with torch.device("meta"), pytest.raises(TypeError, match="bogus"):
        create_model("ffnet_nano", bogus=1)


@pytest.mark.parametrize(
    ("given", "mode"),
    [
        ({"monitor": "val/top5", "mode": "min"}, "min"),
        ({"monitor": "val/top5"}, "max"),
        ({"monitor": "val/loss"}, "min"),
    ],
)
def test_a_recipe_may_choose_its_best_checkpoint_itself(given, mode, parse, tmp_path):
    recipe = yaml.safe_load((RECIPES / "classification" / "digits.yaml").read_text())
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({**recipe, "checkpoint": given}))
    checkpoint = parse(tmp_path / "recipe.yaml").checkpoint
    assert (checkpoint.monitor, checkpoint.mode) == (given["monitor"], mode)


def test_a_horizon_takes_the_settings_of_all_recipes_in_their_order(tmp_path):
    common = {"out": "runs/mine", "at_horizon": {96: {"model.loss": "mae", "data.batch_size": 8}}}
    recipes = (common, {"at_horizon": {96: {"data.batch_size": 16}}}, {"seed_everything": 1})
    words = ["fit"]
    for number, content in enumerate(recipes):
        path = tmp_path / f"{number}.yaml"
        path.write_text(yaml.safe_dump(content))
        words += ["--config", str(path)]
    expanded = expand_horizon([*words, "--horizon", "96"])
    assert {"--out=runs/mine_96", "--model.loss=mae", "--data.batch_size=16"} < set(expanded)
    (tmp_path / "0.yaml").write_text("at_horizon: 7")
    with pytest.raises(InputError, match=r"0\.yaml: at_horizon 7, expected settings by horizon"):
        expand_horizon([*words, "--horizon", "96"])


def test_a_horizon_is_for_forecasting_alone(parse, tmp_path):
    digits = RECIPES / "classification" / "digits.yaml"
    with pytest.raises(InputError, match="--horizon 96 for Classification, expected a recipe for Forecasting"):
        parse(digits, horizon=96)
    recipe = yaml.safe_load(digits.read_text())
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({**recipe, "at_horizon": {96: {"trainer.max_epochs": 1}}}))
    with pytest.raises(InputError, match=r"at_horizon .* for Classification, expected a recipe for Forecasting"):
        parse(tmp_path / "recipe.yaml")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({**recipe, "horizon": None, "at_horizon": {}}))
    assert parse(tmp_path / "config.yaml").checkpoint.monitor == "val/top1"
