"""From a batch of images to features at five strides: the one part of the detector that is tensor in, tensors out."""

import timm
import torch
from torch import Tensor, nn
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool

from ...errors import InputError
from ..ffnet import VARIANTS as FFNETS

STRIDES = (4, 8, 16, 32, 64)
"""Of the levels in pixels; the last is every second cell of the one before it."""


class Pyramid(nn.Module):
    """A backbone and a feature pyramid network (Lin et al., 2017); export and compilation take it as it is."""

    def __init__(self, backbone: nn.Module, channels: int = 256):
        super().__init__()
        self.backbone = backbone
        self.fpn = FeaturePyramidNetwork(backbone.feature_info.channels(), channels, extra_blocks=LastLevelMaxPool())
        for module in self.fpn.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)

    def forward(self, x: Tensor) -> list[Tensor]:
        """x: (B, 3, H, W), H and W multiples of 32 -> (B, channels, H / stride, W / stride) for each of STRIDES, rounded up."""
        features = self.backbone(x)
        return list(self.fpn({str(i): feature for i, feature in enumerate(features)}).values())


def build_backbone(name: str, **backbone_args) -> nn.Module:
    """The features at strides 4, 8, 16, 32 of a network of timm's or ours; ours with a LayerNorm on each, as published."""
    if not timm.is_model(name):
        raise InputError(f"backbone {name!r}: no such model, expected a timm name such as ffnet_2 or convnext_tiny")
    if name.split(".")[0] in FFNETS:
        return timm.create_model(name, features_only=True, **{"feature_norms": True, **backbone_args})
    try:
        with torch.device("meta"):
            strides = timm.create_model(name, features_only=True).feature_info.reduction()
        indices = tuple(strides.index(stride) for stride in STRIDES[:-1])
    except (RuntimeError, AttributeError, ValueError) as error:
        raise InputError(f"backbone {name!r}: no features at strides {STRIDES[:-1]} ({error})") from None
    return timm.create_model(name, features_only=True, out_indices=indices, **backbone_args)
