"""ExecuTorch programs (.pte) for mobile and embedded devices, with XNNPACK; run by its Python runtime."""
# A separate extra that the development environment doesn't have:
# pyright: reportMissingImports=false

import threading
from pathlib import Path

import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower
from executorch.runtime import Runtime as Engine
from executorch.runtime import Verification
from torch import Tensor

from ...errors import InputError, first_line
from ..description import KEY, Description
from ..program import Program, capture
from ..runtime import Runtime, in_batches

BATCHES = range(1, 17)
"""Batch sizes of a program; memory is planned for the largest."""


class ExecuTorch(Runtime):
    """A program in ExecuTorch's runtime, which runs one call at a time."""

    def __init__(self, content: bytes, path: Path):
        program = Engine.get().load_program(content, verification=Verification.InternalConsistency)
        text = program.load_method(KEY).execute([])[0] if KEY in program.method_names else None
        description = Description.from_json(text, path)
        super().__init__(description.shape, description)
        self.program = program
        self.method = program.load_method("forward")
        self.lock = threading.Lock()

    def run(self, x: Tensor) -> Tensor:
        """x: float32 -> float32; a batch larger than memory was planned for in parts."""
        return in_batches(self._execute, x, BATCHES) if self.shape[0] is None else self._execute(x)

    def _execute(self, x: Tensor) -> Tensor:
        with self.lock:
            return self.method.execute([x.contiguous()])[0].clone()


def write(program: Program, path: Path) -> None:
    """Write a program in the batch sizes of `BATCHES`, on XNNPACK with a fallback to portable kernels."""
    free = {0: torch.export.Dim("batch", min=BATCHES[0], max=BATCHES[-1])} if program.dynamic else {}
    exported, shape = capture(program.computing(), program.example, free)
    lowered = to_edge_transform_and_lower(
        exported, partitioner=[XnnpackPartitioner()], constant_methods={KEY: program.text(shape)}
    )
    path.write_bytes(lowered.to_executorch().buffer)


def read(path: Path) -> ExecuTorch:
    """Load a program into ExecuTorch."""
    try:
        return ExecuTorch(path.read_bytes(), path)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{path}: not a readable ExecuTorch program ({first_line(error)}): truncated, or of another version"
        ) from error  # which `export` names
