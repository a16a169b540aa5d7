"""The features of an image network of timm's or ours, by name: what detectors and segmenters are built on."""

from collections.abc import Sequence

import timm
import torch
from torch import nn

from ...errors import InputError
from .network import VARIANTS as FFNETS


def build_backbone(name: str, *, strides: Sequence[int] = (4, 8, 16, 32), feature_norms: bool = False, **backbone_args) -> nn.Module:
    """The features at `strides`; feature_norms: a LayerNorm on each where the network is ours, as published for detection and UPerNet.

    Raises InputError for a network that timm doesn't know or that has no such features.
    """
    if not timm.is_model(name):
        raise InputError(f"backbone {name!r}: no such model, expected a timm name such as ffnet_2 or convnext_tiny")
    try:
        with torch.device("meta"):
            known = timm.create_model(name, features_only=True).feature_info.reduction()
        indices = tuple(known.index(stride) for stride in strides)
    except (RuntimeError, AttributeError, ValueError) as error:
        raise InputError(f"backbone {name!r}: no features at strides {tuple(strides)} ({error})") from None
    norms = {"feature_norms": True} if feature_norms and name.split(".")[0] in FFNETS else {}
    return timm.create_model(name, features_only=True, out_indices=indices, **norms, **backbone_args)
