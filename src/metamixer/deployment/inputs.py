"""Checks of a network's inputs, before anything is built for them."""

import torch
from torch import Tensor, nn

from ..errors import InputError, first_line
from .description import show_shape


def check_inputs(
    network: nn.Module, example: Tensor, *, calibration: Tensor | None = None, samples: Tensor | None = None
) -> None:
    """Raise InputError for an example that the network doesn't accept, and for other inputs of another shape."""
    for name, inputs in (("example", example), ("calibration", calibration), ("samples", samples)):
        if inputs is not None:
            _check_tensor(name, inputs)
            if inputs.shape[1:] != example.shape[1:]:
                expected = show_shape((None, *example.shape[1:]))
                raise InputError(f"{name} of shape {list(inputs.shape)}, expected {expected} like the example")
    try:
        with torch.no_grad():
            network(example)
    except InputError:
        raise
    except Exception as error:  # a network may raise anything for a wrong input
        raise InputError(
            f"example of shape {list(example.shape)}, expected one that the network accepts ({first_line(error)})"
        ) from None


def _check_tensor(name: str, inputs: object) -> None:
    if not isinstance(inputs, Tensor):
        raise InputError(
            f"{name} is a {type(inputs).__name__}, expected a float32 tensor with the batch as its first dimension"
        )
    if inputs.dtype != torch.float32:
        raise InputError(f"{name} of type {inputs.dtype}, expected torch.float32")
    if inputs.ndim < 2 or not inputs.numel():
        raise InputError(f"{name} of shape {list(inputs.shape)}, expected a batch of at least one input")
