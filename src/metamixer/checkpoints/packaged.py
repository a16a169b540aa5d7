"""The weights included in the package; their model card is in the same folder."""

from pathlib import Path

from ..errors import InputError
from ..zoo.files import packaged_names as packaged_names
from ..zoo.files import source_of
from ..zoo.weights import WEIGHTS, find_weights


def packaged_scales(model: str) -> list[int]:
    """The scales for which a super-resolution network has packaged weights."""
    return [weights.arguments["scale"] for weights in WEIGHTS if weights.packaged and weights.network == model]


def packaged_weights(name: str) -> Path:
    """The file of packaged weights; raises InputError for an unknown name."""
    if name not in packaged_names():
        raise InputError(f"{name}: no packaged weights, expected one of {', '.join(packaged_names())}")
    return Path(source_of(find_weights(name)))
