"""Networks run by torch.compile: operators fused into generated code."""

import threading

import torch
from torch import Tensor

from ..program import Program
from .eager import Eager


class Compiled(Eager):
    """The compiled network; a new size costs a compilation, which one thread does while the others wait."""

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
    """The network in torch.compile, for sizes as the example's."""
    return Compiled(program)
