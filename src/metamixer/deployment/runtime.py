"""The interface of all runtimes."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..errors import InputError, expect_room
from .description import Description, Shape, show_shape


class Runtime(ABC):
    """A network ready for inference: `runtime(x)` from any thread; subclasses implement `run`.

    shape: of the input, None for free sizes; description: of the file, None if it isn't from a file.
    """

    def __init__(self, shape: Shape, description: Description | None = None):
        self.shape = shape
        self.description = description

    def __call__(self, x: Tensor) -> Tensor:
        """x: float32 of `self.shape` -> float32; raises InputError for another shape or type."""
        if not isinstance(x, Tensor):
            raise InputError(f"input is a {type(x).__name__}, expected a float32 tensor {show_shape(self.shape)}")
        if x.dtype != torch.float32:
            raise InputError(f"input of type {x.dtype}, expected torch.float32")
        if x.ndim != len(self.shape) or any(
            own not in (None, size) for own, size in zip(self.shape, x.shape, strict=True)
        ):
            raise InputError(f"input of shape {list(x.shape)}, expected {show_shape(self.shape)}")
        return self.run(x)

    def any_batch(self, x: Tensor) -> Tensor:
        """Run any batch size, even if the runtime's is fixed; raises InputError if that has no room in memory."""
        if self.shape[0] is None:
            return self(x)
        expect_room("fixed batch", (self.shape[0], *x.shape[1:]))
        return in_batches(self, x, (self.shape[0],))

    @abstractmethod
    def run(self, x: Tensor) -> Tensor:
        """Run without checks."""


def in_batches(function: Callable[[Tensor], Tensor], x: Tensor, sizes: Sequence[int]) -> Tensor:
    """Run any batch through a function of fixed batch sizes (ascending): parts of the largest, the last one padded."""
    answers = []
    for part in x.split(sizes[-1]):
        missing = next(size for size in sizes if size >= len(part)) - len(part)
        filler = part[-1:].expand(missing, *part.shape[1:])
        answers.append(function(torch.cat([part, filler]))[: len(part)])
    return torch.cat(answers)
