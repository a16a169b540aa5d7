"""Masks of objects: cropped to a box for training, pasted into the image for output."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import clip_boxes_to_image, roi_align

from .boxes import DIVISOR, Size

THRESHOLD = 0.5


@torch.no_grad()
def crop_masks(masks: Tensor, boxes: Tensor, objects: Tensor, size: int) -> Tensor:
    """masks (N, H, W); boxes (P, 4); objects (P,): whose mask is cropped to each box -> (P, size, size) of 0 and 1."""
    boxes = clip_boxes_to_image(boxes, masks.shape[1:])
    rois = torch.cat([objects[:, None].to(boxes.dtype), boxes], dim=1)
    # Zeros beyond the border, as in the padded image.
    masks = F.pad(masks, (0, -masks.shape[2] % DIVISOR, 0, -masks.shape[1] % DIVISOR))
    return (roi_align(masks[:, None].to(boxes.dtype), rois, size, aligned=True)[:, 0] >= THRESHOLD).to(boxes.dtype)


@torch.no_grad()
def paste_masks(probabilities: Tensor, boxes: Tensor, size: Size) -> Tensor:
    """probabilities: (N, h, w) within boxes (N, 4), not rounded -> (N, height, width) bool of an image of `size`."""
    height, width = size
    pasted = torch.zeros(len(boxes), height, width, dtype=torch.bool, device=boxes.device)
    for mask, probability, (x1, y1, x2, y2) in zip(pasted, probabilities, boxes.tolist(), strict=True):
        left, top = max(int(x1), 0), max(int(y1), 0)
        right, bottom = min(int(x2) + 2, width), min(int(y2) + 2, height)
        if not (left < right and top < bottom and x1 < x2 and y1 < y2):
            continue
        x = (torch.arange(left, right, device=boxes.device) + 0.5 - x1) / (x2 - x1) * 2 - 1
        y = (torch.arange(top, bottom, device=boxes.device) + 0.5 - y1) / (y2 - y1) * 2 - 1
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
        values = F.grid_sample(probability[None, None].float(), grid[None], align_corners=False)
        mask[top:bottom, left:right] = values[0, 0] >= THRESHOLD
    return pasted


def to_file(found: Mapping[str, Tensor], image: Tensor, size: Sequence[int]) -> dict[str, Tensor]:
    """Detections in the network's image (3, H, W) -> in the file's of `size`, with masks (N, height, width) bool."""
    height, width = size
    scale = found["boxes"].new_tensor([width / image.shape[2], height / image.shape[1]] * 2)
    boxes = found["boxes"] * scale
    return {**found, "boxes": boxes, "masks": paste_masks(found["masks"], boxes, (height, width))}
