"""From an entry of the table to its file."""

from pathlib import Path

from .weights import WEIGHTS, Weights

FOLDER = Path(__file__).parents[1] / "weights"
"""The packaged files; their model card lies beside them."""


def source_of(weights: Weights) -> str | Path:
    """The path of a file in the package, or the URL of a published one."""
    return FOLDER / weights.file if weights.packaged else weights.url


def packaged_names() -> list[str]:
    """What is in the package, such as ffnet_sr_nano_x2."""
    return [weights.name for weights in WEIGHTS if weights.packaged]
