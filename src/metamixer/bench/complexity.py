"""Parameters and multiply-accumulates of a network, counted without allocating it."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Complexity:
    """params: number of parameters; macs: multiply-accumulates for one image, which the paper calls FLOPs."""

    params: int
    macs: int


def measure(network: nn.Module, example: torch.Tensor) -> Complexity:
    """Count a network's operations on `example`; both may be on the meta device."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(example)
    return Complexity(sum(parameter.numel() for parameter in network.parameters()), counter.get_total_flops() // 2)
