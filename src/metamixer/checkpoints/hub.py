"""Folders in the layout of the Hugging Face Hub: config.json, model.safetensors and a card; timm opens classifiers."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
from safetensors.torch import save
from timm.models._hub import save_config_for_hf
from torch import nn

from ..errors import InputError, first_line
from ..models.tasks import CLASSIFICATION, TASKS
from ..system.files import write_text, written_whole
from .ours import save_network

HUB = "hf-hub:"
"""What stands before the name of a repository on the Hub, as timm has it."""

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
BACKBONE = "backbone.safetensors"
"""Of a classifier: `checkpoint_path` of `timm.create_model(..., features_only=True)`, and of smp's `tu-` encoders."""


def is_hub_folder(source: str | Path) -> bool:
    """Whether a folder holds a network in the Hub's layout."""
    return Path(source, WEIGHTS).is_file()


def hub_weights(source: str | Path) -> Path:
    """The weights in a folder, or of a repository `hf-hub:OWNER/NAME`, which are fetched once and kept.

    Raises InputError where they can't be fetched.
    """
    if not str(source).startswith(HUB):
        return Path(source, WEIGHTS)
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(str(source).removeprefix(HUB), WEIGHTS))
    except Exception as error:  # the Hub's library has many errors of its own
        raise InputError(
            f"{source}: can't be fetched ({first_line(error)}); fetch it elsewhere, give its folder"
        ) from None


def write_hub_folder(network: nn.Module, info: Mapping[str, Any], folder: str | Path) -> list[Path]:
    """Write a network as a folder that one can upload as it is; the folder appears whole or not at all.

    Raises InputError for a deploy form, which no other library can build.
    """
    if info.get("fused"):
        raise InputError(f"{folder}: of a deploy form, expected the checkpoint that it was made of")
    folder = Path(folder)
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        save_network(network, dict(info), part / WEIGHTS)
        write_text(part / CONFIG, json.dumps(config_of(network, info, part / CONFIG), indent=2))
        write_text(part / CARD, card_of(network, info))
        if info["task"] == CLASSIFICATION.name:
            write_backbone(network, info, part / BACKBONE)
        folder.mkdir(parents=True, exist_ok=True)
        files = sorted(part.iterdir())
        for file in files:
            file.replace(folder / file.name)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return [folder / file.name for file in files]


def write_backbone(network: nn.Module, info: Mapping[str, Any], path: Path) -> None:
    """The weights under the names of timm's feature extractor, which segmentation_models_pytorch builds on."""
    arguments = {key: value for key, value in info["model_args"].items() if key != "num_classes"}
    wanted = timm.create_model(info["model"], features_only=True, **arguments).state_dict()
    state = network.state_dict()
    with written_whole(path) as part:
        part.write_bytes(save({key: state[key.removeprefix("model.")].contiguous() for key in wanted}))


def config_of(network: nn.Module, info: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
    """What config.json holds: of a classifier what timm reads, and `metamixer` with all that we know."""
    if info["task"] != CLASSIFICATION.name:
        return {"architecture": info["model"], "library_name": "metamixer", "metamixer": dict(info)}
    preprocessing = info.get("preprocessing") or {}
    size = preprocessing.get("size")
    known = {key: preprocessing[key] for key in ("mean", "std", "crop_pct", "interpolation") if key in preprocessing}
    if size:
        known["input_size"] = (len(known.get("mean", (0, 0, 0))), size, size)
    arguments = {key: value for key, value in info["model_args"].items() if key != "num_classes"}
    labels = {"label_names": list(info["classes"])} if info.get("classes") else {}
    save_config_for_hf(network, scratch, model_config=labels, model_args=arguments or None, data_config=known)
    return {**json.loads(scratch.read_text()), "metamixer": dict(info)}


def card_of(network: nn.Module, info: Mapping[str, Any]) -> str:
    """The folder's README: what the network is, what it knows, and how one opens it."""
    classes = info.get("classes")
    millions = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    is_classifier = info["task"] == CLASSIFICATION.name
    lines = [
        "---",
        "library_name: " + ("timm" if is_classifier else "metamixer"),
        f"tags: [metamixer, {info['task'].replace('_', '-')}]",
        "---",
        f"# {info['model']} for {info['task'].replace('_', ' ')}",
        "",
        f"{millions:.1f} M parameters, written by metamixer {info['version']}.",
        *([f"Classes: {', '.join(map(str, classes))}."] if classes else []),
        "",
        "Data, recipe, figures and license: to be written by who uploads it.",
        "",
        "```python",
        "import metamixer",
        "",
        f'predictor = metamixer.load("FOLDER")  # or hf-hub:OWNER/NAME; metamixer {TASKS[info["task"]].command}',
        *(
            ["", "import timm", "", 'network = timm.create_model("local-dir:FOLDER", pretrained=True)']
            if is_classifier
            else []
        ),
        "```",
    ]
    return "\n".join(lines)
