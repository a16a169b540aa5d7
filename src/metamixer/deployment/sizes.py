"""How much memory a PyTorch program takes, found out without taking it."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    UnsupportedOperatorException,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

MEMORY, TIMES_INPUT = 2**30, 1_000
"""Bytes that running a file may take: so many, and so many times its input."""
UNKNOWN = (DataDependentOutputException, DynamicOutputShapeException, UnsupportedOperatorException)
"""What PyTorch raises where a size depends on values, so that nobody can tell it before."""


class TooLargeError(Exception):
    """A tensor beyond the limit."""


class _Limit(TorchDispatchMode):
    """Raise TooLargeError for an operator whose output has more bytes."""

    def __init__(self, most: int):
        super().__init__()
        self.most = most

    def __torch_dispatch__(self, function: Callable, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(output):
            if isinstance(tensor, Tensor) and math.prod(tensor.shape) * tensor.element_size() > self.most:
                raise TooLargeError(f"{function} makes a tensor of shape {list(tensor.shape)}")
        return output


def expect_usual_size(run: Callable[[Tensor], Any], shape: tuple[int, ...]) -> None:
    """Run a float32 program on an input of this shape with tensors that have no values.

    Raises TooLargeError for a tensor that is larger than programs make or whose size depends on values, and whatever
    PyTorch raises for operators that don't fit together.
    """
    most = MEMORY + TIMES_INPUT * torch.float32.itemsize * math.prod(shape)
    try:
        with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True), _Limit(most):
            run(torch.empty(shape))
    except UNKNOWN as error:
        raise TooLargeError(
            f"{error.func if hasattr(error, 'func') else error} makes a tensor of unknown size"
        ) from None
