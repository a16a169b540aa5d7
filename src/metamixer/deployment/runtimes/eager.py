"""Networks run by PyTorch in eager mode: fused, channels last."""

import torch
from torch import Tensor, nn

from ..program import Program
from ..runtime import Runtime


class Eager(Runtime):
    """The fused network on its own device, for any input size."""

    def __init__(self, network: nn.Module, example: Tensor):
        super().__init__((None,) * example.ndim)
        self.device = example.device
        self.layout = torch.channels_last if example.ndim == 4 else torch.preserve_format
        self.network = network.to(self.device, memory_format=self.layout)

    @torch.inference_mode()
    def run(self, x: Tensor) -> Tensor:
        """x: float32 -> float32."""
        return self.network(x.to(self.device, memory_format=self.layout))


def build(program: Program) -> Eager:
    """Build the network in PyTorch."""
    return Eager(program.computing(), program.example)
