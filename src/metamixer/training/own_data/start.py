"""The network that one's own data is trained on, and the weights it starts from."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ... import data as data_modules
from ...checkpoints.ours import is_trainable, read_checkpoint
from ...checkpoints.packaged import packaged_names, packaged_weights
from ...checkpoints.source import found_weights, is_name
from ...errors import InputError, InputWarning
from ...zoo.files import source_of
from ...zoo.weights import OURS, WEIGHTS, find_weights
from .understood import OwnData

SCRATCH = "scratch"
"""Value of `initial` for a random initialization."""

FIXED = ("variables", "lookback", "horizon", "scale")
"""Keywords of networks that must be the data's."""

DATAS_OWN = ("num_classes", "in_chans", *FIXED)
"""Keywords of networks that follow from the data."""


@dataclass(frozen=True)
class Start:
    """A network and its initial weights.

    file: None for a random initialization, except of a pretrained backbone; classes: names of the classes that the
    weights in the file know; inputs: keywords of the data module by which the network gets the inputs it knows.
    """

    model: str
    model_args: Mapping[str, Any]
    file: Path | None = None
    classes: Sequence[str] | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    pretrained_backbone: bool = False

    def __str__(self) -> str:
        if self.pretrained_backbone:
            return f"{self.model} on a pretrained backbone"
        if self.file is None:
            return f"{self.model} from scratch"
        terms = [each.licence for each in WEIGHTS if each.packaged and each.file == self.file.name]
        limits = f" (license {terms[0]})" if terms and terms[0] != OURS else ""  # it holds for the trained network, too
        return f"{self.model} from {self.file.name}{limits}"


def find_start(data: OwnData, initial: str | None) -> Start:
    """The requested weights, else the packaged weights for the task or its backbone, else an initialization."""
    if initial == SCRATCH:
        return Start(data.network, data.network_args)
    if initial is not None:
        start = start_of(checkpoint_at(initial), data, requested=True)
        if start is None:
            raise InputError(
                f"initial {initial}, expected {SCRATCH} or an unfused checkpoint for {data.task.name} with the inputs "
                "of this data"
            )
        return start
    files = [packaged_weights(name) for name in packaged_names()]
    fitting = (start_of(file, data, requested=False) for file in files)
    scratch = Start(data.network, data.network_args, pretrained_backbone=data.on_backbone)
    return next((start for start in fitting if start), scratch)


def checkpoint_at(initial: str | Path) -> Path:
    """The file of `initial`: a checkpoint, the best one of a run folder, or packaged weights by name."""
    source = found_weights(initial)
    if not is_name(source):
        return Path(source)
    weights = find_weights(str(source))
    if weights is None or not weights.packaged:
        raise InputError(
            f"initial {initial}, expected {SCRATCH}, a checkpoint, the folder of a run, or the name of packaged "
            "weights, which metamixer models lists"
        )
    return Path(source_of(weights))


def start_of(file: Path, data: OwnData, *, requested: bool) -> Start | None:
    """One of our checkpoints as the start of a training; None if fused, or for another task or other inputs."""
    state, info = read_checkpoint(file)
    if info.get("task") != data.task.name or not is_trainable(state, info):
        return None
    own = {**data.model, **data.model.get("model_args", {})}
    if any(own[key] != info["model_args"][key] for key in FIXED if key in own and key in info["model_args"]):
        return None
    inputs = data.inputs_for(info, requested)
    if inputs is None:
        return None
    dropped = {*DATAS_OWN} - {*data.network_args}
    model_args = {key: value for key, value in info["model_args"].items() if key not in dropped}
    return Start(info["model"], model_args, file, info["classes"], inputs)


def class_names(data: OwnData, arguments: Mapping[str, Any]) -> list[str] | None:
    """The classes of the data module with these keywords, in the order of the network's."""
    plain = {key: value for key, value in arguments.items() if not isinstance(value, Mapping)}  # not its dataclasses
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)  # of what is left out: training warns of it
        return getattr(data_modules, data.data_class)(**plain).classes
