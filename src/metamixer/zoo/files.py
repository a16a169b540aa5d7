"""The file of an entry in the table of weights."""

from pathlib import Path

from .weights import WEIGHTS, Weights

FOLDER = Path(__file__).parents[1] / "weights"
"""Folder of the packaged files and their model card."""


def source_of(weights: Weights) -> str | Path:
    """The path of a packaged file, or the URL of a published one."""
    return FOLDER / weights.file if weights.packaged else weights.url


def packaged_names() -> list[str]:
    """Names of the packaged weights, such as ffnet_sr_nano_x2."""
    return [weights.name for weights in WEIGHTS if weights.packaged]
