"""Int8 quantization: its loss of accuracy, the costliest layers, and the settings of mixed precision."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from ..data.images.class_names import keep_classes, match_classes
from ..data.loading import Loading, evaluation_loader

Function = Callable[[Tensor], Tensor]

COSTLIEST = 5
"""Number of layers that a message names."""

IMAGES_FOR_COSTS = 8


@dataclass(frozen=True)
class Quantization:
    """How to quantize a network to int8.

    calibration: inputs (N, ...) of the file that determine the ranges; validation: labeled images, None for other tasks
    than classification; classes: names of their labels; max_drop: allowed loss of top-1 in percentage points; mixed:
    keep the costliest layers in floating point if the loss is larger.
    """

    calibration: Tensor
    validation: Dataset | None = None
    classes: Sequence[str] = ()
    max_drop: float = 1.0
    mixed: bool = False


@dataclass(frozen=True)
class Accuracy:
    """Top-1 in percent of the float32 network and its int8 form, on the same images."""

    floating: float
    int8: float
    images: int

    @property
    def drop(self) -> float:
        """The loss of int8 in percentage points."""
        return self.floating - self.int8


@torch.inference_mode()
def top1(
    network: Function, quantization: Quantization, *, network_classes: Sequence[str] | None, num_classes: int
) -> float:
    """Top-1 in percent on the validation images."""
    indices = match_classes(quantization.classes, network_classes, num_classes)
    right = 0
    for images, labels in evaluation_loader(quantization.validation, Loading(batch_size=32)):
        logits = network(images)
        if indices is not None:
            logits, labels = keep_classes(logits, labels, indices)
        right += int((logits.argmax(1) == labels).sum())
    return 100 * right / len(quantization.validation)


@torch.inference_mode()
def layer_costs(network: nn.Module, inputs: Tensor) -> list[tuple[str, float]]:
    """Quantizable layers, costliest first, with the relative mean change of the output when only that one is int8."""
    inputs = inputs[:IMAGES_FOR_COSTS]
    expected = network(inputs)
    scale = expected.abs().max()
    costs = []
    for name, layer in quantizable_layers(network):
        with in_int8(layer):
            costs.append((name, ((network(inputs) - expected).abs().mean() / scale).item()))
    return sorted(costs, key=lambda cost: -cost[1])


def quantizable_layers(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Convolutions and linear layers by name."""
    for name, layer in network.named_modules():
        if isinstance(layer, nn.modules.conv._ConvNd | nn.Linear):
            yield name, layer


@contextmanager
def in_int8(layer: nn.Module) -> Iterator[None]:
    """Simulate int8 in one layer: 8-bit weights per channel and 8-bit inputs per tensor."""
    weight = layer.weight.data
    layer.weight.data = round_per_channel(weight)
    hook = layer.register_forward_pre_hook(lambda layer, inputs: round_per_tensor(inputs[0]))
    try:
        yield
    finally:
        hook.remove()
        layer.weight.data = weight


def round_per_channel(weight: Tensor) -> Tensor:
    """Round to 8 bits, symmetric, with one scale per output channel."""
    scale = weight.abs().flatten(1).amax(1).clamp(min=1e-12) / 127
    return torch.fake_quantize_per_channel_affine(
        weight, scale, torch.zeros_like(scale, dtype=torch.int32), 0, -127, 127
    )


def round_per_tensor(x: Tensor) -> Tensor:
    """Round to 8 bits over the range of the tensor, including zero."""
    low, high = x.amin().clamp(max=0), x.amax().clamp(min=0)
    scale = ((high - low) / 255).clamp(min=1e-12)
    zero = (-low / scale).round().clamp(0, 255).to(torch.int32)
    return torch.fake_quantize_per_tensor_affine(x, scale, zero, 0, 255)


def fingerprint(weight: np.ndarray) -> str:
    """A hash of a weight's values that is invariant to reshaping and transposition."""
    return hashlib.sha256(np.sort(np.asarray(weight, dtype=np.float32), axis=None).tobytes()).hexdigest()
