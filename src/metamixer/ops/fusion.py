"""The deploy form of a network: every linear branch, norm, layer scale and identity folded into a convolution."""

import copy

from torch import nn

from .folding import method_of


def fuse(model: nn.Module) -> nn.Module:
    """A copy of any network in deploy form and evaluation mode: the same function within rounding error.

    The original doesn't change. A network that is already fused is returned itself, not a copy. Modules fold by their
    method `fuse()` (see `metamixer.ops`), timm's by whichever of its three methods they have; all others stay.
    """
    if getattr(model, "is_fused", False) and not model.training:
        return model
    parent = nn.ModuleList([copy.deepcopy(model).eval()])
    if not getattr(model, "is_fused", False):  # some of timm's modules fail if they are fused twice
        _fold_children(parent)
    network = parent[0].eval()
    network.is_fused = True
    return network


def _fold_children(parent: nn.Module) -> None:
    """Replace children by their deploy forms, as `timm.utils.reparameterize_model` does, and continue inside these."""
    for name, child in list(parent.named_children()):
        if fuse := method_of(child, "fuse"):
            folded = fuse()
            child = child if folded is None else folded  # timm's RepViT fuses in place and returns None
            setattr(parent, name, child)
        elif hasattr(child, "reparameterize"):
            child.reparameterize()
        elif hasattr(child, "switch_to_deploy"):
            child.switch_to_deploy()
        _fold_children(child)
