"""From any source to a network: the only place that distinguishes files, packaged weights and names."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import timm
import torch
from torch import nn

from ..deployment.formats import is_exported, load_exported
from ..deployment.runtime import Runtime
from ..errors import InputError
from ..models import create_model, list_models
from ..models.tasks import SEGMENTATION
from ..system.metadata import read_info
from ..system.weight_files import read_published
from ..zoo.files import source_of
from ..zoo.weights import Weights, default_weights, find_weights, weights_for
from .hub import HUB, hub_weights, is_hub_folder
from .ours import build_network, expect_task, network_info, read_checkpoint
from .published import load_published
from .published_info import A_SEGMENTER, expect_model, published_arguments, published_info, published_task

OURS = (".ckpt", ".safetensors")
FILES = (*OURS, ".pth", ".pt", ".tar", ".bin", ".zip")
"""Suffixes of checkpoint files; exported files have others."""

BEST = ("best.ckpt", "best.safetensors")
"""The file of the best weights in the folder of a run."""

Network = nn.Module | Runtime
Info = dict[str, Any]


def load_network(
    source: str | Path,
    model: str | None = None,
    task: str | None = None,
    *,
    pretrained: bool = True,
) -> tuple[Network, Info]:
    """Load a network in evaluation mode and its info (`network_info`).

    Args:
        source: a checkpoint, ours or a published one, by path or URL; a file of `metamixer export`, loaded as a
            `Runtime`; the folder of a training run; a folder of `export --format hub`, or hf-hub:OWNER/NAME; or a name
            of a network or of weights, packaged or downloaded.
        model: the network's name, needed for published files; other files must be of that network.
        task: the required task.
        pretrained: False: initialize a network given by name randomly, with seed 0.

    Raises InputError that names the source if it is unreadable or contains another network.
    """
    source = found_weights(source)
    weights = find_weights(source) if model is None and pretrained and is_name(source) else None
    if weights is not None:
        return _of_zoo(source, weights, task)
    if model is None and is_name(source):
        return _of_name(source, task, pretrained=pretrained)
    return (_of_exported if is_exported(source) else _of_checkpoint)(source, model, task)


def task_of_source(source: str | Path, model: str | None = None) -> str:
    """The task of the network that `load_network` would load; raises InputError as it does."""
    if model is not None:
        return published_task(model)
    source = found_weights(source)
    if is_name(source):
        weights = find_weights(source)
        if weights:
            return weights.task
        name = str(source).partition(".")[0]
        if not _known(name):
            create_model(name)  # raises InputError with the nearest names
        return published_task(name)
    if is_exported(source):
        return _of_exported(source, None, None)[1]["task"]
    _, info = read_checkpoint(source)
    return info["task"] if info else _unknown_network(source)


def found_weights(source: str | Path) -> str | Path:
    """The weights of a run folder, of a folder in the Hub's layout or on the Hub; any other source unchanged."""
    if str(source).startswith(HUB) or is_hub_folder(source):
        return hub_weights(source)
    return next((path for name in BEST if (path := Path(source, name)).is_file()), source)


def is_name(source: str | Path) -> bool:
    """Whether a source is the name of a network, not of a file."""
    path = Path(source)
    if not isinstance(source, str) or path.name != source or path.suffix in OURS or is_exported(path):
        return False
    if _known(source):
        return not path.is_file()
    return path.suffix not in FILES and not path.exists()


def expect_source(source: str | Path) -> None:
    """Raise InputError for a text that is neither a file nor a name, in terms of the option that takes both."""
    if is_name(source) and find_weights(source) is None and not _known(source):
        raise InputError(f"checkpoint {source!r}, expected a file, or a name that `metamixer models` lists")


def info_of(name: str) -> Info:
    """The info of a network by name, without its weights."""
    if timm.is_model(name):
        return published_info(name, create_model(name, device="meta"), {})
    with torch.device("meta"):
        return published_info(name, create_model(name), {})


def weights_name(name: str | None, task: str, **arguments) -> str:
    """The name of the weights to load; name: the requested one, or None for the task's default.

    arguments: keywords of the network that the weights must have, such as its scale. Raises InputError if there are no
    such weights.
    """
    arguments = {key: value for key, value in arguments.items() if value is not None}
    if name is None:
        weights = default_weights(task, **arguments)
        if weights is None:
            raise InputError(
                f"no weights for {task} are published or packaged, expected --checkpoint FILE, such as one that "
                "metamixer train writes"
            )
        return weights.name
    weights = find_weights(name, **arguments)
    return weights.name if weights and arguments else name


def expect_name(model: str, task: str) -> None:
    """Raise InputError unless a name is that of weights, or of a network, for the task."""
    if model not in {weights.name for weights in weights_for(task)}:
        expect_model(model, task)


def _known(name: str) -> bool:
    base = name.partition(".")[0]
    return base in list_models() or timm.is_model(base)


def _of_zoo(name: str, weights: Weights, task: str | None) -> tuple[nn.Module, Info]:
    if task not in (None, weights.task):
        expect_model(weights.network, task)
    published_in_timm = timm.is_model(weights.network) and not weights.packaged  # our file tells its network itself
    model = name if published_in_timm else weights.network
    return _of_checkpoint(source_of(weights), model, task)


def _of_name(name: str, task: str | None, *, pretrained: bool) -> tuple[nn.Module, Info]:
    weights = find_weights(name)
    model, arguments = (weights.network, dict(weights.arguments)) if weights and weights.packaged else (name, {})
    if task is not None and _known(model):
        expect_model(model, task)
    torch.manual_seed(0)
    network = create_model(model, pretrained=pretrained, **arguments)
    return network.eval(), published_info(model, network, arguments)


def _of_checkpoint(path: str | Path, model: str | None, task: str | None) -> tuple[nn.Module, Info]:
    state, info = read_checkpoint(path)
    if info:
        _expect(info, model, task, path)
        return build_network(state, info, path), info
    if model is None:
        _unknown_network(path)
    if task is not None:
        expect_model(model, task)
    try:
        return _of_published(state or read_published(path), model)
    except InputError as error:
        raise error if str(error).startswith(str(path)) else InputError(f"{path}: {error}") from None


def _unknown_network(path: str | Path) -> NoReturn:
    raise InputError(
        f"{path}: doesn't name its network, expected a checkpoint written by metamixer, or the network's name in "
        "--model (model= in Python), such as ffnet_1"
    )


def _of_published(state: Mapping[str, torch.Tensor], model: str) -> tuple[nn.Module, Info]:
    state = read_published(state)
    arguments = published_arguments(model, state)
    network = load_published(create_model(model, **arguments).eval(), state)
    info = published_info(model, network, arguments)
    if info["task"] == SEGMENTATION.name and not info["classes"]:
        raise InputError(f"model {model!r}, expected {A_SEGMENTER}")
    return network, info


def _of_exported(path: str | Path, model: str | None, task: str | None) -> tuple[Runtime, Info]:
    """The runtime and info of an exported file; normalization is part of the file, not of the preprocessing."""
    runtime = load_exported(path)
    info = read_info({**network_info("", {}, task=task), **runtime.description.network}, path)
    _expect(info, model, task, path, kind="file")
    preprocessing = info["preprocessing"]
    if isinstance(preprocessing, Mapping) and isinstance(preprocessing.get("mean"), list):
        channels = len(preprocessing["mean"])
        info["preprocessing"] = {**preprocessing, "mean": [0.0] * channels, "std": [1.0] * channels}
    return runtime, info


def _expect(info: Info, model: str | None, task: str | None, path: str | Path, *, kind: str = "checkpoint") -> None:
    if task is not None:
        expect_task(info, task, path)
    if model not in (None, info["model"]):
        raise InputError(f"{path}: a {kind} of {info['model']}, expected {model}")
