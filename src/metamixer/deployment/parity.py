"""How far a runtime is from the network that it was made from."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

TOLERANCE = {"fp32": 1e-4, "fp16": 1e-2, "bf16": 5e-2, "int8": 0.5}
"""The largest difference that each precision may make, as a share of the largest output. What int8 costs is told by accuracy."""


@dataclass(frozen=True)
class Parity:
    """largest, mean: differences as shares of the network's largest output; agreement: share of images with the same best class,
    None where the outputs are no classes; images: how many were compared."""

    largest: float
    mean: float
    agreement: float | None
    images: int

    def within(self, precision: str) -> bool:
        """Whether the difference is what the precision explains."""
        return self.largest <= TOLERANCE[precision]


@torch.inference_mode()
def compare(runtime: Callable[[Tensor], Tensor], network: Callable[[Tensor], Tensor], batches: Iterable[Tensor]) -> Parity:
    """Both on the same inputs; outputs of two dimensions are taken for the scores of classes."""
    expected, actual = zip(*((network(batch).float().cpu(), runtime(batch).float().cpu()) for batch in batches), strict=True)
    scale = max(answer.abs().max().item() for answer in expected) or 1.0
    differences = torch.cat([(ours - theirs).abs().flatten() for ours, theirs in zip(actual, expected, strict=True)]) / scale
    agreement = None
    if expected[0].ndim == 2:
        same = [ours.argmax(1) == theirs.argmax(1) for ours, theirs in zip(actual, expected, strict=True)]
        agreement = torch.cat(same).float().mean().item()
    largest = differences.max().item() if differences.isfinite().all() else float("inf")
    return Parity(largest, differences.mean().item(), agreement, sum(len(batch) for batch in expected))
