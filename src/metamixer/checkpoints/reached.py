"""What a training run reached on its validation data, for the model card of its weights."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import InputError
from ..models.tasks import TASKS, TaskSpec
from ..system.files import write_text
from ..system.weight_files import read_torch_file
from ..system.yaml_files import read_yaml

DATA = "data.json"
"""File of a run folder that `metamixer train` writes: name and description of the data, and for a table the figure."""


def write_data(out: Path, data: str | Path, about: str, *, figure: str | None = None) -> None:
    """Write the name of the data, without its folder, and its description to the run folder."""
    content = {"data": Path(data).resolve().name, "about": about, **({"figure": figure} if figure else {})}
    write_text(out / DATA, json.dumps(content, indent=1))


def reached(checkpoint: Path, task: str) -> str | None:
    """The metric of a run's best weights and the data, such as `mIoU 61.2 % on the validation split of streets`.

    None for other files, and for weights that weren't validated.
    """
    known = data_of(checkpoint.parent)
    if checkpoint.suffix == ".safetensors":
        return f"{known['figure']} of {known['data']}: {known['about']}" if "figure" in known else None
    value = best_score(checkpoint, TASKS[task])
    if value is None:
        return None
    data = f"{known['data']}: {known['about']}" if known else recipe_data(checkpoint.with_name("config.yaml"))
    return f"{TASKS[task].metric} {TASKS[task].in_units(value)} on the validation split of {data}"


def best_score(checkpoint: Path, task: TaskSpec) -> float | None:
    """The monitored metric of a run's best.ckpt, which Lightning stores in it; None for other files."""
    callbacks = read_torch_file(checkpoint).get("callbacks") if checkpoint.suffix == ".ckpt" else None
    for state in callbacks.values() if isinstance(callbacks, Mapping) else ():
        if not isinstance(state, Mapping) or state.get("monitor") != task.monitor:
            continue
        score = state.get("best_model_score")
        if Path(str(state.get("best_model_path"))).name == checkpoint.name and isinstance(score, Tensor):
            return float(score)
    return None


def data_of(folder: Path) -> dict[str, str]:
    """What `metamixer train` wrote of the data of a run; empty if it didn't."""
    try:
        content = json.loads((folder / DATA).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    found = {name: " ".join(value.split()) for name, value in content.items() if isinstance(value, str)}
    return found if {"data", "about"} <= found.keys() else {}


def recipe_data(config: Path) -> str:
    """The class and folder of the data in a run's config.yaml."""
    try:
        data: Any = read_yaml(config, expected="the settings of a run")["data"]
        kind, root = str(data["class_path"]).rpartition(".")[2], (data.get("init_args") or {}).get("root")
    except (InputError, OSError, KeyError, TypeError, AttributeError):
        return "its data"
    return f"{Path(str(root)).name} ({kind})" if root else kind
