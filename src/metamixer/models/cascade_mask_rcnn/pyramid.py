"""From a batch of images to features at five strides: the part of the detector that can be exported and compiled."""

from torch import Tensor, nn
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool

STRIDES = (4, 8, 16, 32, 64)
"""Strides of the levels in pixels; the last level is every second cell of the previous one."""


class Pyramid(nn.Module):
    """A backbone and a feature pyramid network (Lin et al., 2017)."""

    def __init__(self, backbone: nn.Module, channels: int = 256):
        super().__init__()
        self.backbone = backbone
        self.fpn = FeaturePyramidNetwork(backbone.feature_info.channels(), channels, extra_blocks=LastLevelMaxPool())
        for module in self.fpn.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)

    def forward(self, x: Tensor) -> list[Tensor]:
        """x: (B, 3, H, W), H and W multiples of 32 -> (B, channels, H / stride, W / stride) per stride, rounded up."""
        features = self.backbone(x)
        return list(self.fpn({str(i): feature for i, feature in enumerate(features)}).values())
