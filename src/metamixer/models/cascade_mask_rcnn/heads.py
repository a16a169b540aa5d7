"""Features of regions from the pyramid, and the heads for class, box and mask."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import roi_align

from ...ops import IMAGE
from .pyramid import STRIDES

REGION_STRIDES = STRIDES[:-1]
FINEST_SCALE = 56
"""Regions of up to twice this side (square root of the area, in pixels) are read from the finest level."""
BOX_GRID, MASK_GRID = 7, 14
MASK_SIZE = 2 * MASK_GRID


def region_features(levels: Sequence[Tensor], rois: Tensor, grid: int) -> Tensor:
    """levels (B, C, H, W) each; rois (N, 5): image index, box -> (N, C, grid, grid), from the level of its size."""
    extent = rois[:, 3:] - rois[:, 1:3]
    level = torch.log2(extent.prod(dim=1).sqrt() / FINEST_SCALE + 1e-6).floor().clamp(0, len(REGION_STRIDES) - 1)
    features = rois.new_zeros(len(rois), levels[0].shape[1], grid, grid)
    for i, stride in enumerate(REGION_STRIDES):
        chosen = (level == i).nonzero().squeeze(1)
        # In the precision of the regions: bfloat16 coordinates would be off by pixels.
        pooled = roi_align(levels[i].to(rois.dtype), rois[chosen], grid, spatial_scale=1 / stride, aligned=True)
        features = features.index_copy(0, chosen, pooled)
    return features.to(levels[0].dtype)


class BoxHead(nn.Module):
    """Four 3x3 convolutions with norms, one hidden layer; logits with the background last, and a box for each class."""

    def __init__(self, channels: int, hidden_dim: int, num_classes: int, *, depth: int = 4):
        super().__init__()
        self.convs = nn.ModuleList(IMAGE.conv_norm(channels, channels, 3) for _ in range(depth))
        self.hidden = nn.Linear(channels * BOX_GRID**2, hidden_dim)
        self.classes = nn.Linear(hidden_dim, num_classes + 1)
        self.deltas = nn.Linear(hidden_dim, 4 * num_classes)
        for conv in self.convs:
            nn.init.kaiming_normal_(conv.conv.weight, mode="fan_out", nonlinearity="relu")
        nn.init.xavier_uniform_(self.hidden.weight)
        nn.init.normal_(self.classes.weight, std=0.01)
        nn.init.normal_(self.deltas.weight, std=0.001)
        for linear in (self.hidden, self.classes, self.deltas):
            nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x: (N, C, 7, 7) -> logits (N, classes + 1), deltas (N, classes, 4)."""
        for conv in self.convs:
            x = F.relu(conv(x), inplace=True)
        x = F.relu(self.hidden(x.flatten(1)))
        return self.classes(x).float(), self.deltas(x).unflatten(1, (-1, 4)).float()


class MaskHead(nn.Module):
    """Four 3x3 convolutions, upsampling by 2, a mask for each class."""

    def __init__(self, channels: int, num_classes: int, *, depth: int = 4):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(depth))
        self.upsample = nn.ConvTranspose2d(channels, channels, 2, stride=2)
        self.logits = nn.Conv2d(channels, num_classes, 1)
        for conv in (*self.convs, self.upsample, self.logits):
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, C, 14, 14) -> logits (N, classes, 28, 28)."""
        for conv in self.convs:
            x = F.relu(conv(x), inplace=True)
        return self.logits(F.relu(self.upsample(x), inplace=True)).float()
