"""The features of one of timm's image networks or ours, by name: the backbones of detectors and segmenters."""

from collections.abc import Sequence

import timm
import torch
from torch import nn

from ...errors import InputError
from ...mixer import Mixers
from .ffnet import VARIANTS as FFNETS


def build_backbone(
    name: str,
    *,
    strides: Sequence[int] = (4, 8, 16, 32),
    feature_norms: bool = False,
    mixers: Mixers | None = None,
    **backbone_args,
) -> nn.Module:
    """The features at `strides`; other keywords go to `timm.create_model`.

    Args:
        feature_norms: add a LayerNorm to each feature of our networks, as published for detection and UPerNet.
        mixers: token mixers of our networks; None: the variant's own.

    Raises InputError for a network that timm doesn't know, that has no such features, or that takes no mixers.
    """
    if not timm.is_model(name):
        raise InputError(f"backbone {name!r}: no such model, expected a timm name such as ffnet_2 or convnext_tiny")
    shape = {key: value for key, value in backbone_args.items() if not key.startswith(("pretrained", "checkpoint"))}
    try:
        with torch.device("meta"):
            known = timm.create_model(name, features_only=True, **shape).feature_info.reduction()
        indices = tuple(known.index(stride) for stride in strides)
    except (RuntimeError, AttributeError, ValueError) as error:
        raise InputError(f"backbone {name!r}: no features at strides {tuple(strides)} ({error})") from None
    is_ours = name.split(".")[0] in FFNETS
    if mixers is not None:
        if not is_ours:
            raise InputError(f"mixers {mixers!r}, expected none for backbone {name!r}: only FFNet takes them")
        backbone_args["mixers"] = mixers
    if feature_norms and is_ours:
        backbone_args["feature_norms"] = True
    return timm.create_model(name, features_only=True, out_indices=indices, **backbone_args)
