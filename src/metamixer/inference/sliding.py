"""Segmentation of images of any size: sliding windows, multiple scales, mirror images."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from ..data.segmentation.transforms import SegmentationPreprocessing
from ..errors import InputError

Network = Callable[[Tensor], Tensor]
"""(B, 3, H, W) -> logits (B, classes, H, W)."""
COLUMNS = 8
"""Columns of windows processed together; at each boundary one or two columns are computed twice."""
PIXELS_AT_ONCE = 2**18
"""Pixels of the image for which logits are resized at once."""


def starts(length: int, window: int, stride: int) -> list[int]:
    """The starts of the windows along a side; the last window ends with the side."""
    if length <= window:
        return [0]
    return [min(start, length - window) for start in range(0, length - window + stride, stride)]


def check_window(window: int | None, stride: int | None) -> None:
    """Raise InputError if windows would leave gaps."""
    if window is not None and not 1 <= (stride or window) <= window:
        raise InputError(f"stride {stride} for windows of {window} pixels, expected 1 to {window}")


def tiles(
    network: Network, image: Tensor, *, window: int | None = None, stride: int | None = None
) -> Iterator[tuple[int, int, Tensor]]:
    """Logits of an image (3, H, W) in pieces (first row, first column, (classes, rows, columns)), mean over overlaps.

    Only one window and the overlaps of COLUMNS windows are kept, so memory grows with neither height nor width.
    """
    check_window(window, stride)
    height, width = image.shape[1:]
    side, step = window or max(height, width), stride or window or max(height, width)
    tops, lefts = starts(height, side, step), starts(width, side, step)
    rows, columns = (
        coverage(begins, side, length, image.device) for begins, length in ((tops, height), (lefts, width))
    )
    for first in range(0, len(lefts), COLUMNS):
        for top, left, total in column_sums(network, image, side, tops, lefts, first=first):
            yield top, left, total / (rows[top : top + total.shape[1], None] * columns[left : left + total.shape[2]])


def coverage(begins: Sequence[int], side: int, length: int, device: torch.device) -> Tensor:
    """The number of windows, given their starts, that cover each position along a side."""
    count = torch.zeros(length, device=device)
    for begin in begins:
        count[begin : begin + side] += 1
    return count


def column_sums(
    network: Network, image: Tensor, side: int, tops: Sequence[int], lefts: Sequence[int], *, first: int
) -> Iterator[tuple[int, int, Tensor]]:
    """Sums of overlapping logits, in pieces from the start of one window to that of the next, row by row.

    Covers COLUMNS columns of windows from number `first` on; earlier windows that overlap them are computed again.
    """
    seen_from = next(i for i in range(first + 1) if lefts[i] + side > lefts[first])
    columns = list(pairwise((*lefts, image.shape[2])))[seen_from : first + COLUMNS]
    below: dict[int, Tensor] = {}
    for top, bottom in pairwise((*tops, image.shape[1])):
        right = None
        for left, end in columns:
            view = image[None, :, top : top + side, left : left + side].contiguous(memory_format=torch.channels_last)
            total = network(view)[0].float()
            if right is not None:
                total[:, :, : right.shape[2]] += right
            # A copy, because a view would keep the whole window in memory.
            right = total[:, :, end - left :].clone()
            if left < lefts[first]:
                continue
            total = total[:, :, : end - left]
            if left in below:
                total[:, : below[left].shape[1]] += below[left]
            below[left] = total[:, bottom - top :].clone()
            yield top, left, total[:, : bottom - top]


def whole(pieces: Iterable[tuple[int, int, Tensor]], size: Sequence[int]) -> Tensor:
    """Assemble the pieces of an image of `size`: (classes, H, W)."""
    logits = None
    for top, left, piece in pieces:
        if logits is None:
            logits = piece.new_empty(piece.shape[0], *size)
        logits[:, top : top + piece.shape[1], left : left + piece.shape[2]] = piece
    return logits


def label_map(network: Network, image: Tensor, preprocessing: SegmentationPreprocessing) -> Tensor:
    """The predicted class of each pixel: image (3, H, W) uint8 -> (H, W) uint8, in bounded memory."""
    seen = preprocessing.resize(image)
    # Normalized window by window, because a float image is four times as large.
    pieces = tiles(
        lambda view: network(preprocessing.normalise(view)),
        seen,
        window=preprocessing.window,
        stride=preprocessing.stride,
    )
    if seen.shape != image.shape:
        return resized_argmax(whole(pieces, seen.shape[1:]), image.shape[1:])
    return whole(
        ((top, left, logits.argmax(dim=0, keepdim=True).to(torch.uint8)) for top, left, logits in pieces),
        image.shape[1:],
    )[0]


def resized_argmax(logits: Tensor, size: Sequence[int]) -> Tensor:
    """The argmax of logits (classes, h, w) resized to `size`, a few rows at a time -> (H, W) uint8."""
    height, width = size
    labels = torch.empty(height, width, dtype=torch.uint8, device=logits.device)
    places = ((torch.arange(height, device=logits.device) + 0.5) * (logits.shape[1] / height) - 0.5).clamp(min=0)
    for rows, place in zip(
        labels.split(max(PIXELS_AT_ONCE // width, 1)), places.split(max(PIXELS_AT_ONCE // width, 1)), strict=True
    ):
        above = place.long()
        under = (above + 1).clamp(max=logits.shape[1] - 1)
        strip = torch.lerp(logits[:, above], logits[:, under], (place - above)[:, None])
        rows.copy_(F.interpolate(strip[None], tuple(rows.shape), mode="bilinear", align_corners=False)[0].argmax(dim=0))
    return labels


def probabilities(
    network: Network,
    image: Tensor,
    preprocessing: SegmentationPreprocessing,
    *,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
) -> Tensor:
    """Class probabilities (classes, H, W) of an image (3, H, W) uint8, mean over scales and flips."""
    total = None
    for scale in scales:
        seen = preprocessing(image, scale=scale)
        for mirrored in (False, True)[: 1 + flip]:
            view = seen.flip(2) if mirrored else seen
            logits = whole(
                tiles(network, view, window=preprocessing.window, stride=preprocessing.stride), view.shape[1:]
            )
            logits = logits.flip(2) if mirrored else logits
            share = F.interpolate(logits[None], image.shape[1:], mode="bilinear", align_corners=False)[0].softmax(dim=0)
            total = share if total is None else total + share
    return total / (len(scales) * (1 + flip))
