"""The input of every format: the network with its normalization, captured as a graph."""

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
    """network((x - mean) / std), so that a file takes images (B, C, H, W) in [0, 1]."""

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]):
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, H, W) in [0, 1] -> the network's output; raises InputError for other channels (no broadcasting)."""
        if x.shape[1] != self.mean.shape[1]:
            raise InputError(f"input of shape {list(x.shape)}, expected {self.mean.shape[1]} channels")
        return self.network((x - self.mean) / self.std)


class InPrecision(nn.Module):
    """A network that computes in another dtype, with float32 input and output."""

    def __init__(self, network: nn.Module, dtype: torch.dtype):
        super().__init__()
        self.network = network.to(dtype)
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        """x: float32 -> float32."""
        return self.network(x.to(self.dtype)).float()


@dataclass(frozen=True)
class Program:
    """A module with one input and one output tensor, and the description for its file.

    example: an input, with a batch of two if the batch size is to be free; dynamic: free batch and image sizes if the
    format supports it; calibration: inputs for the ranges of int8; floating: weights of layers kept in floating point.
    """

    module: nn.Module
    example: Tensor
    description: Description
    dynamic: bool = True
    calibration: Tensor | None = None
    floating: Sequence[Tensor] = field(default=())

    @property
    def precision(self) -> str:
        """The precision of the file."""
        return self.description.precision

    def computing(self) -> nn.Module:
        """The module in the file's precision, for bf16 and fp16; otherwise unchanged."""
        return InPrecision(copy.deepcopy(self.module), HALF[self.precision]) if self.precision in HALF else self.module

    def calibration_batches(self) -> Sequence[Tensor]:
        """The calibration inputs one by one, or in batches of a fixed size, the last one filled by repetition."""
        batch = 1 if self.dynamic else len(self.example)
        rows = math.ceil(len(self.calibration) / batch) * batch
        return self.calibration[torch.arange(rows) % len(self.calibration)].split(batch)

    def text(self, shape: Shape) -> str:
        """The description as JSON, with the captured shape."""
        return replace(self.description, shape=shape).to_json()


def capture(
    module: nn.Module, example: Tensor, free: Mapping[int, object]
) -> tuple[torch.export.ExportedProgram, Shape]:
    """Capture the graph of a module and its input shape, with None for free sizes.

    free: `torch.export`'s constraint for each dimension; with `Dim.AUTO`, a size that the network fixes stays fixed.
    Raises InputError unless the module returns one tensor.
    """
    with torch.no_grad():
        answer = module(example)
    if not isinstance(answer, Tensor):
        raise InputError(
            f"{type(module).__name__} returns a {type(answer).__name__}, expected a network with one output tensor"
        )
    program = torch.export.export(module, (example,), dynamic_shapes=(dict(free),))
    name = program.graph_signature.user_inputs[0]
    value = next(node.meta["val"] for node in program.graph.nodes if node.op == "placeholder" and node.name == name)
    return program, tuple(int(str(size)) if str(size).isdigit() else None for size in value.shape)


def all_free(example: Tensor, *, dynamic: bool) -> dict[int, object]:
    """Every size free, as far as the network allows, if `dynamic`; else none."""
    return dict.fromkeys(range(example.ndim), torch.export.Dim.AUTO) if dynamic else {}


def twice(example: Tensor) -> Tensor:
    """A batch of two from an example, because `torch.export` treats a size of one as fixed."""
    return example[:1].repeat(2, *[1] * (example.ndim - 1))
