"""The deploy form of a network: every branch, norm, layer scale and identity that is linear folded into a convolution."""

import copy

from timm.models import reparameterize_model
from torch import nn


def fuse(model: nn.Module) -> nn.Module:
    """A copy of any network in deploy form and evaluation mode, the same function within float error.

    The original is untouched. What can be folded says so by a method `fuse()` (see `metamixer.ops`); the walk is timm's.
    """
    holder = nn.ModuleList([copy.deepcopy(model).eval()])
    return reparameterize_model(holder, inplace=True)[0]
