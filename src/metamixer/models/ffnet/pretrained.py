"""`pretrained=True`: a checkpoint read by our own rules, then fitted by timm to the caller's channels and classes."""

from collections.abc import Mapping

import torch
from timm.models import resolve_pretrained_cfg
from torch import Tensor, nn

from ...checkpoints.published import convert_published, read_published
from ...errors import InputError

OPTIONAL_PARTS = ("head.norm.", "head.expand.", "head.hidden.", "head.fc.", "feature_norms.")
"""A classifier's checkpoint has no feature norms and a dense network's no head; what it lacks stays as the model began."""


def overlay_with_weights(variant: str, pretrained_cfg: str | dict | None, overlay: dict | None) -> dict:
    """The caller's overlay of timm's configuration, with the weights themselves where it names a file or a URL.

    timm would read both with its own loader, which knows neither checksums nor the published files' Namespace. Other
    sources, such as a Hugging Face hub, stay timm's. Raises InputError for a variant without published weights.
    """
    overlay = dict(overlay or {})
    config = resolve_pretrained_cfg(variant, pretrained_cfg, overlay)
    if config.source or config.state_dict or (config.hf_hub_id and not config.file):
        return overlay
    if not config.has_weights:
        raise InputError(f"{variant}: no published weights, expected pretrained=False or a pretrained_cfg_overlay with 'file' or 'url'")
    return {**overlay, "state_dict": dict(read_published(config.file or config.url))}


def checkpoint_filter_fn(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """A checkpoint, by published names or ours -> ours, every key accounted for, before timm fits it to `model`."""
    config = model.pretrained_cfg
    first_conv, classifier = (config[key] + ".weight" for key in ("first_conv", "classifier"))
    expected = {name: tensor.to("meta") for name, tensor in model.state_dict().items()}
    out_channels, _, *kernel_size = expected[first_conv].shape
    expected[first_conv] = torch.empty(out_channels, config["input_size"][0], *kernel_size, device="meta")
    expected[classifier] = torch.empty(config["num_classes"], model.head_hidden_size, device="meta")
    expected[config["classifier"] + ".bias"] = torch.empty(config["num_classes"], device="meta")
    return convert_published(state, expected, names=model.published_names, optional=OPTIONAL_PARTS)


def forget_weights(network: nn.Module) -> nn.Module:
    """Take the weights out of the configuration again: a copy or a pickle of the network must not carry them twice."""
    for module in network.modules():
        if isinstance(getattr(module, "pretrained_cfg", None), dict):
            module.pretrained_cfg.pop("state_dict", None)
    return network
