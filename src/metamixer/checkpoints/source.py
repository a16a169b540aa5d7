"""Where a network comes from: a checkpoint, ours or a published one, or a name."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..data.images.class_names import imagenet_names
from ..data.preprocessing import Preprocessing
from ..data.segmentation.label_maps import read_classes
from ..data.segmentation.transforms import SegmentationPreprocessing
from ..errors import InputError
from ..models import create_model
from ..models.registry import task_of
from ..models.tasks import CLASSIFICATION, SEGMENTATION
from .ours import load_ours, network_info
from .packaged import packaged_names, packaged_weights
from .published import load_published

OURS = (".ckpt", ".safetensors")

PUBLISHED_DATA = {
    150: ("ade20k", SegmentationPreprocessing(short_side=512)),
    19: ("cityscapes", SegmentationPreprocessing(window=1024, stride=768)),
}
"""Classes and preprocessing of the authors' files, which tell neither, by the network's number of classes."""


def load_network(source: str, *, model: str | None = None, pretrained: bool = True) -> tuple[nn.Module, dict[str, Any]]:
    """A network in evaluation mode and what is known of it (`network_info`).

    source: a checkpoint, a network's name or one of `packaged_names()`; model: the name that a published checkpoint needs;
    pretrained: the published weights of a name, else first values from seed 0.
    """
    file = str(packaged_weights(source)) if source in packaged_names() else source
    if model is not None or Path(file).suffix in OURS or Path(file).is_file():
        ours = load_ours(file, model=model)
        return ours or (load_published(create_model(model).eval(), file), info_of(model))
    torch.manual_seed(0)
    try:
        network = create_model(source, pretrained=True) if pretrained else create_model(source)
    except TypeError:  # no such keyword
        raise InputError(
            f"{source}: no weights are published under this name, expected a checkpoint, --pretrained false for first values, "
            f"or one of {', '.join(packaged_names())}"
        ) from None
    return network.eval(), info_of(source)


def info_of(name: str) -> dict[str, Any]:
    """What a network by name tells of itself; a classifier of 1000 classes has ImageNet's, a segmenter the authors'."""
    if not is_timm(name):
        task = task_of(name)
        known = _published_segmenter(name) if task is SEGMENTATION else {}
        return network_info(name, {}, task=task.name, **known)
    network = create_model(name, device="meta")
    config = network.pretrained_cfg
    preprocessing = Preprocessing(
        size=config["input_size"][-1], **{key: config[key] for key in ("crop_pct", "interpolation", "mean", "std")}
    )
    return network_info(
        name,
        {"num_classes": network.num_classes},
        task=CLASSIFICATION.name,
        classes=imagenet_names(network.num_classes),
        preprocessing=preprocessing.as_dict(),
    )


def _published_segmenter(name: str) -> dict[str, Any]:
    """Classes and preprocessing of the authors' segmenters, which their number of classes tells."""
    with torch.device("meta"):
        num_classes = create_model(name).num_classes
    if num_classes not in PUBLISHED_DATA:
        return {}
    classes, preprocessing = PUBLISHED_DATA[num_classes]
    return {"classes": list(read_classes(classes).names), "preprocessing": preprocessing.as_dict()}


def is_timm(name: str) -> bool:
    """Whether timm builds the network, so that it tells its preprocessing."""
    import timm

    return timm.is_model(name)
