"""Where a network comes from: a checkpoint, ours or a published one, or a name."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..data.preprocessing import Preprocessing
from ..errors import InputError
from ..models import create_model
from ..models.registry import task_of
from .ours import load_ours, network_info
from .packaged import packaged_names, packaged_weights
from .published import load_published

OURS = (".ckpt", ".safetensors")

SIDES = {"super_resolution": 64, "segmentation": 256}
"""Pixels a side of the example, by task, for networks that take any size and tell none."""


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
    from ..predictors.classifier import imagenet_names  # which imports this package

    if not is_timm(name):
        known = _published_segmenter(name) if task_of(name) == "segmentation" else {}
        return network_info(name, {}, task=task_of(name), **known)
    network = create_model(name, device="meta")
    config = network.pretrained_cfg
    preprocessing = Preprocessing(
        size=config["input_size"][-1], **{key: config[key] for key in ("crop_pct", "interpolation", "mean", "std")}
    )
    return network_info(
        name,
        {"num_classes": network.num_classes},
        task="classification",
        classes=imagenet_names(network.num_classes),
        preprocessing=preprocessing.as_dict(),
    )


def _published_segmenter(name: str) -> dict[str, Any]:
    """Classes and preprocessing of the authors' segmenters, which their number of classes tells."""
    from ..data.segmentation.label_maps import read_classes
    from ..predictors.segmenter import PUBLISHED  # which imports this package

    with torch.device("meta"):
        num_classes = create_model(name).num_classes
    if num_classes not in PUBLISHED:
        return {}
    classes, preprocessing = PUBLISHED[num_classes]
    return {"classes": list(read_classes(classes).names), "preprocessing": preprocessing.as_dict()}


def is_timm(name: str) -> bool:
    """Whether timm builds the network, so that it tells its preprocessing."""
    import timm

    return timm.is_model(name)


def image_preprocessing(info: dict[str, Any]) -> Preprocessing | None:
    """What a classifier does to an image before it sees it; None for a network of another task."""
    return Preprocessing.from_dict(info["preprocessing"]) if info["task"] == "classification" and info["preprocessing"] else None


def example_of(info: dict[str, Any], *, size: int | None = None, shape: tuple[int, ...] | None = None) -> Tensor:
    """Seeded values in [0, 1] as the network takes them, a batch of one or the shape's; raises InputError where nothing says how large."""
    if shape is None:
        preprocessing, args, side = image_preprocessing(info), info["model_args"], size or SIDES.get(info["task"])
        if preprocessing:
            side = size or preprocessing.size
            shape = (1, preprocessing.in_chans, side, side)
        elif info["task"] == "forecasting" and {"lookback", "variables"} <= args.keys():
            if size:
                raise InputError(f"size {size} for {info['model']}, expected none: a forecaster's windows have the size of its checkpoint")
            shape = (1, args["lookback"], args["variables"])
        elif side:
            shape = (1, 3, side, side)
        else:
            raise InputError(f"{info['model']}: doesn't say what it takes, expected --size PIXELS or --shape, such as --shape 1 3 64 64")
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))
