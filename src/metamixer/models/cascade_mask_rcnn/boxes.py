"""Boxes (x1, y1, x2, y2) in pixels: encoding relative to other boxes, anchors, checks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.models.detection._utils import encode_boxes

from ...errors import InputError

RATIOS = (0.5, 1.0, 2.0)
"""Height / width of the anchors at each position."""
ANCHOR_SCALE = 8
"""Side of the square anchor in strides of its level, as published."""
MAX_LOG_RATIO = math.log(1000 / 16)
"""Largest change of a side in one refinement, as a logarithm."""

DIVISOR = 32
"""Images are padded with zeros to a multiple of this many pixels."""

Size = tuple[int, int]
"""Height and width in pixels."""


@dataclass(frozen=True)
class BoxCoder:
    """A box as shift and scale of a reference box, in units of `stds` (Girshick et al., R-CNN, appendix C)."""

    stds: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)

    def encode(self, boxes: Tensor, references: Tensor) -> Tensor:
        """boxes, references: (N, 4) -> deltas (N, 4)."""
        return encode_boxes(boxes, references, 1 / boxes.new_tensor(self.stds))

    def decode(self, deltas: Tensor, references: Tensor) -> Tensor:
        """deltas: (..., 4) of references that broadcast with them -> boxes (..., 4)."""
        shift, log_ratio = (deltas * deltas.new_tensor(self.stds)).split(2, dim=-1)
        first, second = references.split(2, dim=-1)
        extent = second - first
        centre = (first + second) * 0.5 + extent * shift
        half = extent * log_ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp() * 0.5
        return torch.cat([centre - half, centre + half], dim=-1)


def make_anchors(size: Size, stride: int, *, scale: float = ANCHOR_SCALE, device: torch.device) -> Tensor:
    """The anchors of a level of `size` cells: (height * width * ratios, 4); scale: the square one's side in strides."""
    ratios = torch.tensor(RATIOS, device=device).sqrt()
    half_extent = torch.stack([1 / ratios, ratios], dim=1) * (scale * stride / 2)
    rows, columns = (torch.arange(count, device=device) * stride for count in size)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    centres = torch.stack([x, y], dim=-1).reshape(-1, 1, 2)
    return torch.cat([centres - half_extent, centres + half_extent], dim=-1).reshape(-1, 4)


def boxes_inside(boxes: Tensor, size: Size) -> Tensor:
    """Which boxes (N, 4) lie inside the image: (N,) bool."""
    height, width = size
    return (boxes[:, 0] >= 0) & (boxes[:, 1] >= 0) & (boxes[:, 2] < width) & (boxes[:, 3] < height)


def with_image_index(boxes: Sequence[Tensor]) -> Tensor:
    """Boxes (N_i, 4) of each image -> (sum of N_i, 5), image index first."""
    return torch.cat([torch.cat([each.new_full((len(each), 1), i), each], dim=1) for i, each in enumerate(boxes)])


def check_targets(targets: Sequence[Mapping[str, Tensor]], sizes: Sequence[Size], num_classes: int) -> None:
    """Raise InputError for invalid objects, naming the image, the object and the value."""
    if len(targets) != len(sizes):
        raise InputError(f"{len(targets)} targets, expected {len(sizes)}, one for each image")
    for i, (target, size) in enumerate(zip(targets, sizes, strict=True)):
        boxes, labels, masks = target["boxes"], target["labels"], target["masks"]
        if boxes.shape != (len(labels), 4) or masks.shape != (len(labels), *size):
            raise InputError(
                f"image {i}: boxes {list(boxes.shape)}, masks {list(masks.shape)}, "
                f"expected [{len(labels)}, 4] and {[len(labels), *size]} for {len(labels)} labels"
            )
        good = boxes.isfinite().all(dim=1) & (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
        if not good.all():
            worst = int((~good).nonzero()[0])
            raise InputError(f"image {i}: box {worst} is {boxes[worst].tolist()}, expected finite x1 < x2, y1 < y2")
        known = (labels >= 0) & (labels < num_classes)
        if not known.all():
            worst = int((~known).nonzero()[0])
            raise InputError(f"image {i}: label {worst} is {int(labels[worst])}, expected 0 to {num_classes - 1}")
