"""Folders in the layout of the Hugging Face Hub: config.json, model.safetensors and a model card."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
from safetensors.torch import save
from timm.models._hub import save_config_for_hf
from torch import nn

from ..errors import InputError, first_line
from ..models.tasks import CLASSIFICATION, TASKS
from ..system.files import move_into, part_folder, write_text, written_whole
from ..zoo.networks import METRICS
from ..zoo.weights import DATA, Weights
from .ours import save_network

HUB = "hf-hub:"
"""Prefix of the name of a repository on the Hub, as in timm."""

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
BACKBONE = "backbone.safetensors"
"""A classifier's backbone: `checkpoint_path` of `timm.create_model(..., features_only=True)` and of smp's encoders."""


def is_hub_folder(source: str | Path) -> bool:
    """Whether a folder contains a network in the Hub's layout."""
    return Path(source, WEIGHTS).is_file()


def hub_weights(source: str | Path) -> Path:
    """The weights in a folder, or in a repository `hf-hub:OWNER/NAME`, downloaded once and cached.

    Raises InputError if the download fails.
    """
    if not str(source).startswith(HUB):
        return Path(source, WEIGHTS)
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(str(source).removeprefix(HUB), WEIGHTS))
    except Exception as error:  # the Hub's library raises many types of errors
        raise InputError(
            f"{source}: can't be downloaded ({first_line(error)}); download it yourself and give its folder"
        ) from None


def write_hub_folder(
    network: nn.Module,
    info: Mapping[str, Any],
    folder: str | Path,
    *,
    weights: Weights | None = None,
    reached: str | None = None,
) -> list[Path]:
    """Write a network as a folder that can be uploaded unchanged; nothing is written if an error occurs.

    weights: what the card says of data, license and figures, of packaged or published weights; reached: the metric of
    a run and its data.
    Raises InputError for a deploy form, which other libraries can't build.
    """
    if info.get("fused"):
        raise InputError(f"{folder}: a deploy form, expected the checkpoint it was fused from")
    folder = Path(folder)
    place = folder if folder.is_dir() else folder.absolute().parent
    place.mkdir(parents=True, exist_ok=True)
    with part_folder(place) as part:
        save_network(network, dict(info), part / WEIGHTS)
        write_text(part / CONFIG, json.dumps(config_of(network, info, part / CONFIG), indent=2))
        write_text(part / CARD, card_of(network, info, weights, reached))
        if info["task"] == CLASSIFICATION.name:
            write_backbone(network, info, part / BACKBONE)
        folder.mkdir(parents=True, exist_ok=True)
        return move_into(folder, sorted(part.iterdir()))


def write_backbone(network: nn.Module, info: Mapping[str, Any], path: Path) -> None:
    """Write the weights with the names of timm's feature extractor, which segmentation_models_pytorch uses."""
    arguments = {key: value for key, value in info["model_args"].items() if key != "num_classes"}
    wanted = timm.create_model(info["model"], features_only=True, **arguments).state_dict()
    state = network.state_dict()
    with written_whole(path) as part:
        part.write_bytes(save({key: state[key.removeprefix("model.")].contiguous() for key in wanted}))


def config_of(network: nn.Module, info: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
    """The content of config.json: timm's keys for a classifier, and the network's info under `metamixer`."""
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


def card_of(
    network: nn.Module, info: Mapping[str, Any], weights: Weights | None = None, reached: str | None = None
) -> str:
    """The model card: the network, its classes, its origin, and how to load it."""
    classes = info.get("classes")
    millions = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    is_classifier = info["task"] == CLASSIFICATION.name
    lines = [
        "---",
        "library_name: " + ("timm" if is_classifier else "metamixer"),
        f"tags: [metamixer, {info['task'].replace('_', '-')}]",
        *([f"license: {weights.licence.lower().replace(' ', '-')}"] if weights else []),
        "---",
        f"# {info['model']} for {info['task'].replace('_', ' ')}",
        "",
        f"{millions:.1f} M parameters, written by metamixer {info['version']}.",
        *([f"Classes: {', '.join(map(str, classes))}."] if classes else []),
        "",
        *origin_of(weights, reached),
        "",
        "```python",
        "import metamixer",
        "",
        'predictor = metamixer.load("FOLDER")  # or "hf-hub:OWNER/NAME"',
        *(
            ["", "import timm", "", 'network = timm.create_model("local-dir:FOLDER", pretrained=True)']
            if is_classifier
            else []
        ),
        "```",
        "",
        f"On the command line: `metamixer {TASKS[info['task']].command} INPUT --checkpoint FOLDER`.",
    ]
    return "\n".join(lines)


def origin_of(weights: Weights | None, reached: str | None) -> list[str]:
    """The training data, license and figures of the zoo's weights; of others, the figure and what is to be added."""
    if weights is None and reached:
        return [f"Reached {reached}.", "", "Terms of the data, recipe and license: to be added before uploading."]
    if weights is None:
        return ["Training data, recipe, metrics and license: to be added before uploading."]
    tests = f" of {'; '.join(weights.tests)}" if weights.tests else ""
    figures = f"{METRICS[weights.task].name}{tests}: {', '.join(map(str, weights.figures))} ({weights.measured})."
    data = f"Weights: {weights.name}. Training data: {weights.data} ({DATA[weights.data]}). License: {weights.licence}."
    return [data, figures] if weights.figures else [data]
