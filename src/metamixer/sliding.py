"""A segmentation network on images of any size: whole, through sliding windows, at several scales, mirrored."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from .data.segmentation_transforms import SegmentationPreprocessing
from .errors import InputError

Network = Callable[[Tensor], Tensor]
"""(B, 3, H, W) -> logits (B, classes, H, W)."""
CLASSES_AT_ONCE = 8


def starts(length: int, window: int, stride: int) -> list[int]:
    """Where the windows along a side begin; the last ends where the side does."""
    if length <= window:
        return [0]
    return [min(start, length - window) for start in range(0, length - window + stride, stride)]


def check_window(window: int | None, stride: int | None) -> None:
    """Raises InputError where windows would leave gaps."""
    if window is not None and not 1 <= (stride or window) <= window:
        raise InputError(f"stride {stride} for windows of {window} pixels, expected 1 to {window}")


def bands(network: Network, image: Tensor, *, window: int | None = None, stride: int | None = None) -> Iterator[tuple[int, Tensor]]:
    """Logits of an image (3, H, W) from top to bottom: (first row, (classes, rows, W)); where windows overlap, their mean.

    At no time more than one row of windows is held, so that memory doesn't grow with the height.
    """
    check_window(window, stride)
    height, width = image.shape[1:]
    side, step = window or max(height, width), stride or window or max(height, width)
    tops = starts(height, side, step)
    total = count = None
    for i, top in enumerate(tops):
        rows = min(side, height)
        row_total, row_count = window_row(network, image[:, top : top + rows], side, step)
        if total is not None:
            # What is left of the rows before this one overlaps it.
            row_total[:, : total.shape[1]] += total
            row_count[: count.shape[0]] += count
        done = (tops[i + 1] if i + 1 < len(tops) else height) - top
        yield top, row_total[:, :done] / row_count[:done]
        total, count = row_total[:, done:].clone(), row_count[done:].clone()


def window_row(network: Network, strip: Tensor, side: int, step: int) -> tuple[Tensor, Tensor]:
    """Sum of the logits (classes, rows, W) of the windows along a strip (3, rows, W), and how many there are at each place (rows, W)."""
    rows, width = strip.shape[1:]
    total, count = None, strip.new_zeros(rows, width)
    for left in starts(width, side, step):
        logits = network(strip[None, :, :, left : left + side].contiguous(memory_format=torch.channels_last))[0]
        if total is None:
            total = logits.new_zeros(logits.shape[0], rows, width)
        total[:, :, left : left + side] += logits
        count[:, left : left + side] += 1
    return total, count


def label_map(network: Network, image: Tensor, preprocessing: SegmentationPreprocessing) -> Tensor:
    """The likeliest class of each pixel of an image (3, H, W) uint8 -> (H, W) uint8, in bounded memory beside image and result."""
    seen = preprocessing(image)
    views = bands(network, seen, window=preprocessing.window, stride=preprocessing.stride)
    if seen.shape[1:] == image.shape[1:]:
        return torch.cat([logits.argmax(dim=0).to(torch.uint8) for _, logits in views])
    return resized_argmax(torch.cat([logits for _, logits in views], dim=1), image.shape[1:])


def resized_argmax(logits: Tensor, size: Sequence[int]) -> Tensor:
    """The likeliest class after resizing logits (classes, h, w) to `size`, a few classes at a time -> (H, W) uint8."""
    best = labels = None
    for first in range(0, logits.shape[0], CLASSES_AT_ONCE):
        part = F.interpolate(logits[None, first : first + CLASSES_AT_ONCE], tuple(size), mode="bilinear", align_corners=False)[0]
        value, index = part.max(dim=0)
        if best is None:
            best, labels = value, index.to(torch.uint8)
        else:
            labels = torch.where(value > best, (index + first).to(torch.uint8), labels)
            best = torch.maximum(value, best)
    return labels


def probabilities(
    network: Network, image: Tensor, preprocessing: SegmentationPreprocessing, *, scales: Sequence[float] = (1.0,), flip: bool = False
) -> Tensor:
    """The mean over scales, and the mirrored image with `flip`, of each class's probability -> (classes, H, W) for (3, H, W) uint8."""
    total = None
    for scale in scales:
        seen = preprocessing(image, scale=scale)
        for mirrored in (False, True)[: 1 + flip]:
            view = seen.flip(2) if mirrored else seen
            logits = torch.cat([band for _, band in bands(network, view, window=preprocessing.window, stride=preprocessing.stride)], dim=1)
            logits = logits.flip(2) if mirrored else logits
            share = F.interpolate(logits[None], image.shape[1:], mode="bilinear", align_corners=False)[0].softmax(dim=0)
            total = share if total is None else total + share
    return total / (len(scales) * (1 + flip))
