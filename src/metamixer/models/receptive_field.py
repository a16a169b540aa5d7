"""How far around a pixel FFNet-SR networks look, and how wide they are: what the tiles of an image need."""

import copy

import torch
from timm.layers import LayerNorm2d
from torch import nn

from ..errors import InputError
from ..mixer import MetaMixer, Residual, SelfAttention
from ..ops import ConvNorm, NormConv, ParallelConv, folds, is_known
from .ffnet_sr import FFNetSR

FARTHEST = 61
"""Pixels, on each side, that a mixer of somebody's own may depend on: as many as those of a 123x123 kernel."""


def receptive_field(network: nn.Module, dim: int | None = None) -> int:
    """Half the receptive field: how many pixels away, on each side, the small image still changes the result.

    It follows from the sizes of the layers, and is measured for a mixer of somebody's own; dim: its channels. Raises
    InputError for a network that attends to the whole image.
    """
    if isinstance(network, FFNetSR):
        parts = (receptive_field(part, network.stem.out_channels) for part in network.children())
        return network.patch * sum(parts) + network.patch - 1
    if isinstance(network, SelfAttention):
        raise InputError("mixer 'attention': every pixel depends on the whole image, expected convolutions")
    if isinstance(network, Residual) and dim is not None and not has_known_reach(network.mixer):
        return measured_reach(network.mixer, dim)
    if isinstance(network, nn.Conv2d | nn.AvgPool2d):
        size = network.kernel_size
        return (size if isinstance(size, int) else max(size)) // 2
    reach = max if isinstance(network, ParallelConv) else sum
    parts = network.branches if isinstance(network, ParallelConv) else network.children()
    return reach([receptive_field(part, dim) for part in parts])


KNOWN = (MetaMixer, nn.Sequential, ParallelConv, nn.ModuleList, ConvNorm, NormConv, nn.GELU, nn.Identity)
"""What the mixers of this package consist of, besides norms and layers with a kernel."""


def has_known_reach(mixer: nn.Module) -> bool:
    """Whether `receptive_field` follows from the layers' sizes, as for the mixers of this package: all are plain."""
    layers = [layer for _, layer in mixer.named_modules(remove_duplicate=False)]
    used_once = len(layers) == len(set(layers))
    return type(mixer) is SelfAttention or (used_once and all(map(is_plain, layers)))


def is_plain(layer: nn.Module) -> bool:
    """Whether a layer is a container of layers, looks at each pixel alone, or at a window of neighbors."""
    if isinstance(layer, nn.Conv2d | nn.AvgPool2d):
        steps = {layer.stride, getattr(layer, "dilation", 1)}
        return is_known(layer) and steps <= {1, (1, 1)} and getattr(layer, "padding_mode", "zeros") == "zeros"
    return folds(layer) or type(layer) is LayerNorm2d or (isinstance(layer, KNOWN) and is_known(layer))


@torch.no_grad()
def measured_reach(mixer: nn.Module, dim: int) -> int:
    """How many pixels away a pixel changes the result of a mixer: as far as a NaN spreads from a corner.

    In float64, which has no fast convolutions that spread it farther. Raises InputError if that is more than FARTHEST,
    or other for the next pixel, as on a coarser grid, which the tiles of an image don't share.
    """
    mixer, side = with_values(mixer).double().eval(), FARTHEST + 3
    spread = []
    for place in (0, 1, side - 2, side - 1):
        x = torch.zeros(1, dim, side, side, dtype=torch.float64)
        x[:, :, place, place] = torch.nan
        places = (mixer(x) + x).isnan().any(1).nonzero()[:, 1:]
        spread.append(int((places.max() if place < 2 else places.min()) - place))
    reach = max(map(abs, spread))
    if reach > FARTHEST or spread[0] != spread[1] or spread[2] != spread[3]:
        raise InputError(
            f"mixer {type(mixer).__name__}: a pixel depends on pixels more than {FARTHEST} away, or on its place in "
            "the image; expected convolutions of stride 1, so that an image can be cut into tiles"
        )
    return reach


def with_values(module: nn.Module) -> nn.Module:
    """A copy on the CPU, with ones for the weights that an exported network's layers on the meta device don't have."""
    module = copy.deepcopy(module)
    if not any(tensor.is_meta for tensor in (*module.parameters(), *module.buffers())):
        return module.cpu()
    module.to_empty(device="cpu")
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.fill_(1)
    return module


def channels_per_pixel(network: nn.Module) -> float:
    """Channels of the widest layer for each pixel of the small image."""
    parts = [module for module in network.modules() if isinstance(module, FFNetSR)]
    return max(_widest(part) / part.patch**2 for part in parts)


def _widest(network: nn.Module) -> int:
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    return max(max(layer.in_channels, layer.out_channels) for layer in layers)
