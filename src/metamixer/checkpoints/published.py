"""The authors' checkpoints -> our networks: every key renamed, none too many or too few."""

from torch import nn

from ..models.published_names import FFNET_NAMES, convert_published
from ..system.weight_files import Source, read_published


def load_published(model: nn.Module, source: Source, *, weights: str = "state_dict") -> nn.Module:
    """Load one of the authors' checkpoints into one of our networks, in place, and return it.

    source: a path, a URL of the official release, or a state dict; for an image network classification checkpoints as
    well as detection and UPerNet ones, of which the backbone is taken. weights: the entry to take, `state_dict_ema`
    where the file has one; a super-resolution file's `params` stands for its `state_dict`. A network whose keys follow
    other rules has a method `convert_published(state)`. Raises InputError that lists the keys that are missing, left
    over or of another shape; the model is then unchanged.
    """
    network = getattr(model, "model", model) if type(model).__name__ == "FeatureGetterNet" else model
    state = read_published(source, weights=weights)
    own = getattr(network, "convert_published", None)
    names = getattr(network, "published_names", FFNET_NAMES)
    network.load_state_dict(own(state) if own else convert_published(state, network.state_dict(), names=names))
    return model
