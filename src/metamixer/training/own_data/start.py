"""The network that one's own data is trained on, and the weights it starts from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...checkpoints.ours import is_trainable, read_checkpoint
from ...checkpoints.packaged import packaged_names, packaged_weights
from ...errors import InputError
from .understood import OwnData

SCRATCH = "scratch"
"""Value of `initial` for a random initialization."""

DATAS_OWN = ("num_classes", "in_chans", "variables", "lookback", "horizon", "scale")
"""Keywords of networks that follow from the data."""


@dataclass(frozen=True)
class Start:
    """A network and its initial weights; file: None for a random initialization, except of a pretrained backbone."""

    model: str
    model_args: Mapping[str, Any]
    file: Path | None = None
    pretrained_backbone: bool = False

    def __str__(self) -> str:
        if self.pretrained_backbone:
            return f"{self.model} on a pretrained backbone"
        return f"{self.model} from {self.file.name}" if self.file else f"{self.model} from scratch"


def find_start(data: OwnData, initial: str | None) -> Start:
    """The requested weights, else the packaged weights for the task or its backbone, else an initialization."""
    if initial == SCRATCH:
        return Start(data.network, data.network_args)
    if initial is not None:
        start = start_of(Path(initial), data)
        if start is None:
            raise InputError(
                f"initial {initial}, expected {SCRATCH} or an unfused checkpoint for {data.task.name} with the inputs "
                "of this data"
            )
        return start
    files = [packaged_weights(name) for name in packaged_names()]
    fitting = (start_of(file, data) for file in files)
    scratch = Start(data.network, data.network_args, pretrained_backbone=data.on_backbone)
    return next((start for start in fitting if start), scratch)


def start_of(file: Path, data: OwnData) -> Start | None:
    """One of our checkpoints as the start of a training; None if fused, or for another task or other inputs."""
    state, info = read_checkpoint(file)
    if info.get("task") != data.task.name or not is_trainable(state, info):
        return None
    own = {**data.model, **data.model.get("model_args", {})}
    fixed = ("in_chans", "variables", "lookback", "horizon", "scale")
    if any(own[key] != info["model_args"][key] for key in fixed if key in own and key in info["model_args"]):
        return None
    return Start(info["model"], {k: v for k, v in info["model_args"].items() if k not in DATAS_OWN}, file)
