"""Networks run by torch.compile, which fuses operators into generated code."""

import threading

import torch
from torch import Tensor

from ..program import Program
from .eager import Eager


class Compiled(Eager):
    """A compiled network; each new size is compiled by one thread while the others wait."""

    def __init__(self, program: Program):
        super().__init__(program.computing(), program.example)
        self.compiled = torch.compile(
            self.network, dynamic=False, options={"freezing": True} if self.device.type == "cpu" else None
        )
        self.lock = threading.Lock()

    @torch.no_grad()
    def run(self, x: Tensor) -> Tensor:
        """x: float32 -> float32."""
        with self.lock:
            return self.compiled(x.to(self.device, memory_format=self.layout))


def build(program: Program) -> Compiled:
    """Build the network with torch.compile."""
    return Compiled(program)
