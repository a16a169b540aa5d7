"""Our own checkpoints, which describe their network, so that prediction needs only the file."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from ..errors import InputError, first_line, shown
from ..mixer import TOKEN_MIXERS
from ..models import create_model
from ..models.published_names import key_problems
from ..models.registry import expect_classifier_named, with_own_classifier
from ..models.tasks import CLASSIFICATION, same_predictor, task_row
from ..ops.fusion import fuse
from ..system.files import expect_file, written_whole
from ..system.metadata import blocks, read_info, read_json
from ..system.version import package_version
from ..system.weight_files import expect_finite, read_torch_file
from ..zoo.files import source_of
from ..zoo.weights import find_weights
from .published import load_published

PREFIX = "network."
"""Prefix of the network's keys in a training checkpoint."""
START = ("pretrained", "pretrained_strict", "checkpoint_path", "cache_dir")
"""timm's keywords that only select initial weights; not `pretrained_cfg`, which may define the image size."""
LARGER, SMALL = 8, 1_000_000
"""A network has more weights than its deploy form, and tables of its own, but no more than so many times and so many.
"""
NOTHING: Mapping[str, Any] = MappingProxyType({})
CHECKPOINT_PATHS = ("best_model_path", "kth_best_model_path", "last_model_path")
"""Keys of the state of Lightning's `ModelCheckpoint`."""
LOOKS_AT_VALUES = re.compile(r"Tensor\.item\(\) cannot be called on meta|can't convert meta device type tensor")
"""How PyTorch's errors begin if a network looks at the values of its weights on the meta device."""


def network_info(
    model: str,
    model_args: Mapping[str, Any],
    *,
    task: str,
    classes: list[str] | None = None,
    preprocessing: dict | None = None,
) -> dict[str, Any]:
    """The description of a network that a checkpoint stores besides the weights; plain values only."""
    return {
        "model": model,
        "model_args": without_code("model_args", without_start(model_args)),
        "task": task,
        "classes": classes,
        "preprocessing": preprocessing,
        "fused": False,
        "version": package_version(),
    }


def without_start(model_args: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords of a network and its backbone, except those that select initial weights."""
    kept = {key: value for key, value in model_args.items() if key not in START}
    return {key: without_start(value) if isinstance(value, Mapping) else value for key, value in kept.items()}


def without_code(name: str, value: Any) -> Any:
    """A network's keywords with the names of mixers for their functions; raises InputError for other functions."""
    if isinstance(value, Mapping):
        return {key: without_code(f"{name}.{key}", item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(without_code(name, item) for item in value)
    if not callable(value):
        return value
    known = [mixer for mixer, function in TOKEN_MIXERS.items() if function is value]
    if not known:
        raise InputError(
            f"{name} {value!r}, expected a name, such as one of metamixer.TOKEN_MIXERS: a checkpoint contains no code"
        )
    return known[0]


def load_checkpoint(path: str | Path) -> tuple[nn.Module, dict[str, Any]]:
    """The network of one of our files (.ckpt of a training run, .safetensors), in evaluation mode, and its info.

    Raises InputError that names the file if it is unreadable or something else.
    """
    state, info = read_checkpoint(path)
    if not info:
        raise InputError(f"{path}: has no description of its network, expected a checkpoint written by metamixer")
    return build_network(state, info, path), info


def build_network(state: Mapping[str, Tensor], info: Mapping[str, Any], path: str | Path) -> nn.Module:
    """Build the network of one of our files, as returned by `read_checkpoint`, in evaluation mode."""
    arguments = without_start(info["model_args"])
    expect_finite(state, path)
    try:
        _expect_size(info["model"], arguments, state)
        network = create_model(info["model"], **arguments)
        if info["fused"]:
            network = fuse(network)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except Exception as error:  # a network says in its own words what it can't be made of
        raise InputError(
            f"{path}: {info['model']} can't be built with {shown(arguments)} ({first_line(error)}), expected a "
            "checkpoint that metamixer wrote"
        ) from None
    _load_exactly(network, state, path)
    _expect_names(network, info, path)
    return network.eval()


def _expect_names(network: nn.Module, info: Mapping[str, Any], path: str | Path) -> None:
    number = getattr(network, "num_classes", None)
    if info["classes"] and number and len(info["classes"]) != number:
        raise InputError(f"{path}: {len(info['classes'])} names of classes, expected {number}, as the network has")


def _expect_size(model: str, arguments: Mapping[str, Any], state: Mapping[str, Tensor]) -> None:
    """Refuse keywords of a network that is much larger than the file, before time and memory are taken for it."""
    elements = sum(tensor.numel() for tensor in state.values())
    if blocks(arguments) > len(state):
        raise InputError(f"{model} of {blocks(arguments)} blocks, expected at most {len(state)}, the file's tensors")
    network = _without_values(model, arguments)
    if network is None:
        return
    needed = sum(tensor.numel() for tensor in (*network.parameters(), *network.buffers()))
    if needed > LARGER * elements + SMALL:
        raise InputError(f"{model} of {needed} weights by its keywords, expected about {elements}, as the file holds")


def _without_values(model: str, arguments: Mapping[str, Any]) -> nn.Module | None:
    """The network on the meta device; None if one of its mixers looks at its own values while it is built."""
    try:
        with torch.device("meta"):
            return create_model(model, **arguments)
    except (NotImplementedError, RuntimeError, TypeError) as error:
        if not isinstance(error, NotImplementedError) and not LOOKS_AT_VALUES.match(str(error)):
            raise
        return None


def expect_task(info: Mapping[str, Any], task: str, path: str | Path) -> None:
    """Raise InputError for a checkpoint of a task with another predictor."""
    if info["task"] != task and not same_predictor(info["task"], task):
        raise InputError(f"{path}: a checkpoint of {info['model']} for {info['task']}, expected one for {task}")


def save_network(network: nn.Module, info: dict[str, Any], path: str | Path) -> None:
    """Write weights and info as safetensors, atomically."""
    state = {key: value.contiguous() for key, value in network.state_dict().items()}
    with written_whole(path) as part:
        part.write_bytes(
            save(state, metadata={"metamixer": json.dumps(info)})
        )  # save_file would make it readable by its owner only


def save_checkpoint(
    network: nn.Module,
    path: str | Path,
    *,
    model: str,
    model_args: Mapping[str, Any] = NOTHING,
    task: str = CLASSIFICATION.name,
    classes: list[str] | None = None,
    preprocessing: dict | None = None,
) -> None:
    """Write a network, fused or not, to a .safetensors file, which `load_checkpoint` and the commands read.

    model, model_args: name and keywords for `create_model`; task: of `models.tasks.TASKS`; classes: their names;
    preprocessing: of images, as `Preprocessing.as_dict()` describes it. Raises InputError if the name and keywords
    don't build this network.
    """
    if Path(path).suffix != ".safetensors":
        raise InputError(f"path {str(path)!r}, expected a name that ends in .safetensors")
    task = task_row(task, path).name
    info = network_info(model, model_args, task=task, classes=classes, preprocessing=preprocessing)
    info["fused"] = getattr(network, "is_fused", False)
    _expect_rebuilt(network, info)
    _expect_names(network, info, path)
    save_network(network, info, path)


def _expect_rebuilt(network: nn.Module, info: Mapping[str, Any]) -> None:
    """Raise InputError if a network's info builds another one, so that nobody could load it."""
    built = _without_values(info["model"], info["model_args"])
    if built is None:
        return
    expected = (fuse(built) if info["fused"] else built).state_dict()
    for what, keys in key_problems(network.state_dict(), expected).items():
        raise InputError(
            f"model {info['model']!r}, model_args {shown(info['model_args'])}: expected those of the given network, "
            f"which has keys {what}: {_listed(keys)}"
        )


def load_initial(network: nn.Module, path: str | Path, *, new_classifier: bool = False) -> dict[str, Any]:
    """Load a file, ours or a published one, into a network; `new_classifier` keeps the network's own last layer.

    Returns the info of our files, without the classes if their layer isn't loaded.
    """
    weights = None if Path(path).is_file() else find_weights(str(path))
    path = source_of(weights) if weights else path
    state, info = read_checkpoint(path)
    if not is_trainable(state, info):
        raise InputError(f"{path}: a deploy form, expected the checkpoint it was fused from")
    if not info:
        reference = create_model(expect_classifier_named(network)["architecture"]) if new_classifier else network
        load_published(reference, path)
        state = reference.state_dict()
    if new_classifier:
        state = with_own_classifier(network, state)
    expect_finite(state, path)
    _load_exactly(network, state, path)
    return {**info, "classes": None} if new_classifier else info


def is_trainable(state: Mapping[str, Tensor], info: Mapping[str, Any]) -> bool:
    """Whether the weights are those of the training form: fused ones are if there was nothing to fold."""
    if not info.get("fused"):
        return True
    network = _without_values(info["model"], without_start(info["model_args"]))
    return network is not None and _shapes(network.state_dict()) == _shapes(state)


def _shapes(state: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {key: tensor.shape for key, tensor in state.items()}


def expect_training_checkpoint(path: str | Path, network: nn.Module | None = None) -> None:
    """Raise InputError unless a file is a checkpoint of a training run and, if given, of `network`."""
    path = Path(path)
    if path.suffix == ".safetensors" or "pytorch-lightning_version" not in read_torch_file(path):
        raise InputError(
            f"{path}: not a checkpoint of a training run, expected its best.ckpt or last.ckpt; --model.initial "
            "takes other files"
        )
    if network is not None:
        state, _ = read_checkpoint(path)
        _compare_keys(network, state, path)
        expect_finite(state, path)


def keep_paths_within(checkpoint: Mapping[str, Any], folder: str | Path) -> None:
    """Forget the paths of earlier checkpoints in a training's state but those of NAME.ckpt in the run's folder, because
    Lightning removes the files at these paths.
    """
    home = os.path.realpath(folder)

    def kept(path: object) -> bool:
        return isinstance(path, str) and path.endswith(".ckpt") and os.path.dirname(path) == home

    for state in checkpoint.get("callbacks", {}).values():
        if not isinstance(state, dict) or "best_model_path" not in state:
            continue
        state.update({key: "" for key in CHECKPOINT_PATHS if not kept(state.get(key))})
        best = state.get("best_k_models") or {}
        if not all(map(kept, best)) or (best and state["kth_best_model_path"] not in best):
            state.update(best_k_models={}, kth_best_model_path="")


def read_checkpoint(path: str | Path) -> tuple[Mapping[str, Tensor], dict[str, Any]]:
    """State dict and info of a file; no info if it isn't ours, and neither for a URL."""
    if str(path).startswith(("http:", "https:")):
        return {}, {}
    path = Path(path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    content = read_torch_file(path)
    info = content.get("metamixer", {})
    state = content.get("state_dict", content)
    if not isinstance(state, Mapping):
        raise InputError(f"{path}: state_dict {shown(state)}, expected tensors by name")
    if not info:
        return state, {}
    info = read_info(info, path)
    if not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()):
        raise InputError(f"{path}: a state_dict with other values than tensors, expected tensors by name")
    return {key[len(PREFIX) :]: value for key, value in state.items() if key.startswith(PREFIX)}, info


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    expect_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        values = read_json(metadata.get("metamixer", "{}"), path)
        return load_file(path), read_info(values, path) if values else {}
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({first_line(error)})") from None


def _load_exactly(network: nn.Module, state: Mapping[str, Tensor], path: str | Path) -> None:
    _compare_keys(network, state, path)
    network.load_state_dict(state)


def _compare_keys(network: nn.Module, state: Mapping[str, Tensor], path: str | Path) -> None:
    for what, keys in key_problems(state, network.state_dict()).items():
        raise InputError(f"{path}: a checkpoint of another network: {len(keys)} keys {what}: {_listed(keys)}")


def _listed(keys: list[str]) -> str:
    return ", ".join(keys[:4]) + (", ..." if len(keys) > 4 else "")
