"""Parameters and multiply-accumulates of a network, counted without allocating it."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ..ops.series import Conv1d
from ..ops.voxels import SubmanifoldConv3d


@dataclass(frozen=True)
class Complexity:
    """params: number of parameters; macs: multiply-accumulates for one image, which the paper calls FLOPs."""

    params: int
    macs: int


def measure(network: nn.Module, example: Any) -> Complexity:
    """Count a network's operations on `example` in evaluation mode; both may be on the meta device.

    A convolution counts its weights at each position, or for voxels the weights of each neighbor that there is, however
    it is computed; other layers count their matrix products.
    """
    modes = {module: module.training for module in network.modules()}
    layers = [module for module in network.modules() if isinstance(module, Conv1d | SubmanifoldConv3d)]
    before, macs = {}, 0

    def start(layer: nn.Module, inputs: tuple) -> None:
        before[layer] = counter.get_total_flops() // 2

    def end(layer: nn.Module, inputs: tuple, output: Any) -> None:
        nonlocal macs
        macs += _macs(layer, output) - (counter.get_total_flops() // 2 - before[layer])

    hooks = [layer.register_forward_pre_hook(start) for layer in layers]
    hooks += [layer.register_forward_hook(end) for layer in layers]
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network.eval()(example)
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes.items():
            module.training = training
    macs += counter.get_total_flops() // 2
    return Complexity(sum(parameter.numel() for parameter in network.parameters()), macs)


def _macs(layer: nn.Module, output: Any) -> int:
    """The multiply-accumulates of a convolution of series or voxels."""
    weights = layer.weight.numel()
    if isinstance(layer, Conv1d):
        return weights * output.numel() // layer.out_channels
    return weights * int(output.grid.counts(layer.kernel_size).sum()) // layer.kernel_size**3
