"""Difference between a runtime and the network that it was made from."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

TOLERANCE = {"fp32": 1e-4, "fp16": 1e-2, "bf16": 5e-2}
"""Maximum difference of each precision, relative to the largest output."""

LEAST_SNR = 20.0
"""Minimum signal-to-noise ratio of int8 in dB on calibration-like inputs, if there is no accuracy to judge it by.

The largest difference means little there, because int8's ranges clip rare values.
"""


@dataclass(frozen=True)
class Parity:
    """Differences between a runtime and its network.

    largest, mean: relative to the network's largest output; snr: variance of the network's outputs over the mean
    squared difference, in dB; agreement: fraction of images with the same top class, None if outputs aren't classes;
    images: number of inputs compared.
    """

    largest: float
    mean: float
    snr: float
    agreement: float | None
    images: int

    def excess(self, precision: str) -> str | None:
        """Describe a difference beyond the precision's tolerance; None if there is none."""
        if precision == "int8":
            within, found, bound = (
                self.snr >= LEAST_SNR,
                f"{self.snr:.1f} dB of signal to noise",
                f"at least {LEAST_SNR:g} dB",
            )
        else:
            within, found = self.largest <= TOLERANCE[precision], f"{self.largest:.1e} of its largest output"
            bound = f"at most {TOLERANCE[precision]:.0e}"
        return None if within else f"differs from the network by {found}, expected {bound} in {precision}"


@torch.inference_mode()
def compare(
    runtime: Callable[[Tensor], Tensor], network: Callable[[Tensor], Tensor], batches: Iterable[Tensor]
) -> Parity:
    """Run both on the same inputs; two-dimensional outputs count as class scores."""
    expected, actual = zip(
        *((network(batch).float().cpu(), runtime(batch).float().cpu()) for batch in batches), strict=True
    )
    outputs = torch.cat([answer.flatten() for answer in expected])
    differences = torch.cat([answer.flatten() for answer in actual]) - outputs
    shares = differences.abs() / (outputs.abs().max() or 1)
    agreement = None
    if expected[0].ndim == 2:
        same = [ours.argmax(1) == theirs.argmax(1) for ours, theirs in zip(actual, expected, strict=True)]
        agreement = torch.cat(same).float().mean().item()
    largest = shares.max().item() if shares.isfinite().all() else math.inf
    images = sum(len(batch) for batch in expected)
    return Parity(largest, shares.mean().item(), _decibels(outputs, differences), agreement, images)


def _decibels(signal: Tensor, noise: Tensor) -> float:
    """Signal-to-noise ratio: variance over mean square."""
    power, variance = noise.double().square().mean().item(), signal.double().var(correction=0).item()
    if not math.isfinite(power) or (power and not variance):
        return -math.inf
    return 10 * math.log10(variance / power) if power else math.inf
