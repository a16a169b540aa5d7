"""Matching of boxes to objects, and sampling of the boxes that a loss is computed on."""

import torch
from torch import Tensor
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler
from torchvision.ops import box_iou

BACKGROUND = -1
BETWEEN = -2
"""Instead of an object's index: a box that matches none, and one that is left out of the loss."""


def match(boxes: Tensor, objects: Tensor, *, positive: float, negative: float, rescue: float | None = None) -> Tensor:
    """For each of boxes (N, 4) the index of its object in objects (M, 4), BACKGROUND or BETWEEN: (N,).

    positive, negative: IoU from which a box is an object's, and below which it is background. rescue: IoU from which an
    object also gets the boxes that overlap it most, even if they match another object better; None: no such rule.
    """
    if not len(objects):
        return boxes.new_full((len(boxes),), BACKGROUND, dtype=torch.long)
    overlaps = box_iou(objects, boxes)
    best, matches = overlaps.max(dim=0)
    matches = torch.where(best >= positive, matches, torch.where(best < negative, BACKGROUND, BETWEEN))
    if rescue is not None and len(boxes):
        for i, most in enumerate(overlaps.amax(dim=1)):
            if most >= rescue:
                matches[overlaps[i] == most] = i
    return matches


def sample(matches: Tensor, count: int, *, positive_fraction: float) -> tuple[Tensor, Tensor]:
    """At most `count` random boxes: the indices of positives, at most a fraction, and of background ones."""
    positive, negative = BalancedPositiveNegativeSampler(count, positive_fraction)([matches + 1])
    return positive[0].nonzero().squeeze(1), negative[0].nonzero().squeeze(1)
