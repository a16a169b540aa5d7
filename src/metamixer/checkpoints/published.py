"""Loading of the authors' checkpoints into our networks, with an exact match of all keys."""

from collections.abc import Mapping

from torch import nn

from ..models.published_names import FFNET_NAMES, convert_published
from ..system.weight_files import Source, expect_finite, read_published


def load_published(model: nn.Module, source: Source, *, weights: str = "state_dict") -> nn.Module:
    """Load one of the authors' checkpoints into one of our networks, in place, and return it.

    source: a path, a URL of the official release, or a state dict; for an image network a classification checkpoint, or
    the backbone of a detection or UPerNet checkpoint. weights: the entry to load, such as `state_dict_ema`;
    super-resolution files have `params` in place of `state_dict`. A network with its own naming rules has a method
    `convert_published(state)`. Raises InputError that lists missing keys, unexpected keys and wrong shapes, or
    names a tensor that isn't finite; the model is then unchanged.
    """
    network = getattr(model, "model", model) if type(model).__name__ == "FeatureGetterNet" else model
    state = read_published(source, weights=weights)
    own = getattr(network, "convert_published", None)
    names = getattr(network, "published_names", FFNET_NAMES)
    converted = own(state) if own else convert_published(state, network.state_dict(), names=names)
    expect_finite(converted, "state dict" if isinstance(source, Mapping) else source)
    network.load_state_dict(converted)
    return model
