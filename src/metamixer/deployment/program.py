"""What every format is made from: the network behind its own preprocessing, captured as a graph."""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from ..errors import InputError
from .description import Description, Shape

HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Normalize(nn.Module):
    """network((x - mean) / std): images (B, C, H, W) in [0, 1] are all that a file asks for."""

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]):
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, H, W) in [0, 1] -> the network's output; raises InputError for other channels, of which one would
        be spread.
        """
        if x.shape[1] != self.mean.shape[1]:
            raise InputError(f"input of shape {list(x.shape)}, expected {self.mean.shape[1]} channels")
        return self.network((x - self.mean) / self.std)


class InPrecision(nn.Module):
    """A network that computes in another type behind a float32 input and output."""

    def __init__(self, network: nn.Module, dtype: torch.dtype):
        super().__init__()
        self.network = network.to(dtype)
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        """x: float32 -> float32."""
        return self.network(x.to(self.dtype)).float()


@dataclass(frozen=True)
class Program:
    """A module with one tensor in and one out, and what a file of it is to say.

    example: as the module takes it, a batch of two where it may come out free; dynamic: leave batch and size free where
    the format can.
    calibration: what int8 chooses its ranges from, like `example`; floating: weights of the layers that int8 leaves
    alone.
    """

    module: nn.Module
    example: Tensor
    description: Description
    dynamic: bool = True
    calibration: Tensor | None = None
    floating: Sequence[Tensor] = field(default=())

    @property
    def precision(self) -> str:
        """The precision that the file computes in."""
        return self.description.precision

    def computing(self) -> nn.Module:
        """The module, made to compute in the file's precision where that is a floating-point type of less than 32
        bits.
        """
        return InPrecision(copy.deepcopy(self.module), HALF[self.precision]) if self.precision in HALF else self.module

    def calibration_batches(self) -> Sequence[Tensor]:
        """The inputs to calibrate on one by one, or as many as a fixed batch has, some twice where the last one isn't
        full.
        """
        batch = 1 if self.dynamic else len(self.example)
        rows = math.ceil(len(self.calibration) / batch) * batch
        return self.calibration[torch.arange(rows) % len(self.calibration)].split(batch)

    def text(self, shape: Shape) -> str:
        """The description as a file keeps it, with the sizes that were found free."""
        return replace(self.description, shape=shape).to_json()


def capture(
    module: nn.Module, example: Tensor, free: Mapping[int, object]
) -> tuple[torch.export.ExportedProgram, Shape]:
    """The graph of a module, and the shape that it takes: None where a size came out free.

    free: torch's wish for each dimension; with `Dim.AUTO` a size that the network's layers fix stays as it is in the
    example. Raises InputError where the module gives anything but one tensor.
    """
    with torch.no_grad():
        answer = module(example)
    if not isinstance(answer, Tensor):
        raise InputError(
            f"{type(module).__name__} gives a {type(answer).__name__}, expected a network with one tensor out"
        )
    program = torch.export.export(module, (example,), dynamic_shapes=(dict(free),))
    name = program.graph_signature.user_inputs[0]
    value = next(node.meta["val"] for node in program.graph.nodes if node.op == "placeholder" and node.name == name)
    return program, tuple(int(str(size)) if str(size).isdigit() else None for size in value.shape)


def all_free(example: Tensor, *, dynamic: bool) -> dict[int, object]:
    """Every size as free as the network allows, or none."""
    return dict.fromkeys(range(example.ndim), torch.export.Dim.AUTO) if dynamic else {}


def twice(example: Tensor) -> Tensor:
    """A batch of two from an example: torch takes a size of one for fixed."""
    return example[:1].repeat(2, *[1] * (example.ndim - 1))
