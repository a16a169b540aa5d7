"""The deploy form of a network: every branch, norm, layer scale and identity that is linear folded into a convolution."""

import copy

from timm.utils import reparameterize_model
from torch import nn


def fuse(model: nn.Module) -> nn.Module:
    """A copy of any network in deploy form and evaluation mode, the same function within float error.

    The original is untouched, and a fused one is copied as it is. What can be folded says so by a method `fuse()` (see
    `metamixer.ops`); the walk is timm's.
    """
    network = copy.deepcopy(model).eval()
    if getattr(network, "is_fused", False):
        return network
    fused = reparameterize_model(nn.ModuleList([network]), inplace=True)[0]
    network = network if fused is None else fused  # timm's RepViT fuses in place and gives nothing back
    network.is_fused = True  # some of timm's own modules fail when they are walked again
    return network
