"""`pretrained=True`: our reader loads the checkpoint, then timm adapts it to the caller's channels and classes."""

from collections.abc import Mapping

import torch
from timm.models import resolve_pretrained_cfg
from torch import Tensor, nn

from ...errors import InputError
from ...system.weight_files import read_published
from ..published_names import convert_published

OPTIONAL_PARTS = ("head.norm.", "head.expand.", "head.hidden.", "head.fc.", "feature_norms.")
"""A classifier's checkpoint has no feature norms, a backbone's no head; what is missing keeps its initialization."""


def overlay_with_weights(variant: str, pretrained_cfg: str | dict | None, overlay: dict | None) -> dict:
    """The caller's overlay of timm's configuration, with the weights themselves if it names a file or a URL.

    timm's own loader supports neither our checksums nor the published files' Namespace. Other sources, such as the
    Hugging Face hub, are left to timm. Raises InputError for a variant without published weights.
    """
    overlay = dict(overlay or {})
    config = resolve_pretrained_cfg(variant, pretrained_cfg, overlay)
    if config.source or config.state_dict or (config.hf_hub_id and not config.file):
        return overlay
    if not config.has_weights:
        raise InputError(
            f"model {variant!r}: no weights are published, "
            "expected one of `metamixer models` that has some, or pretrained false "
            "(in a recipe: pretrained_backbone: false)"
        )
    return {**overlay, "state_dict": dict(read_published(config.file or config.url))}


def checkpoint_filter_fn(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """A checkpoint with published names or ours -> ours, all keys checked, before timm adapts it to `model`."""
    config = model.pretrained_cfg
    first_conv, classifier = (config[key] + ".weight" for key in ("first_conv", "classifier"))
    expected = {name: tensor.to("meta") for name, tensor in model.state_dict().items()}
    out_channels, _, *kernel_size = expected[first_conv].shape
    expected[first_conv] = torch.empty(out_channels, config["input_size"][0], *kernel_size, device="meta")
    expected[classifier] = torch.empty(config["num_classes"], model.head_hidden_size, device="meta")
    expected[config["classifier"] + ".bias"] = torch.empty(config["num_classes"], device="meta")
    return convert_published(state, expected, names=model.published_names, optional=OPTIONAL_PARTS)


def forget_weights(network: nn.Module) -> nn.Module:
    """Remove the weights from the configuration, so that copies and pickles don't store them twice."""
    for module in network.modules():
        if isinstance(getattr(module, "pretrained_cfg", None), dict):
            module.pretrained_cfg.pop("state_dict", None)
    return network
