"""Shared by the tests of export: a classifier of three shapes, and marks for formats whose packages may be missing."""

from importlib.util import find_spec

import pytest
from torch import nn

import metamixer
from metamixer.checkpoints.ours import network_info
from metamixer.data import Preprocessing
from metamixer.deployment.formats import FORMATS
from random_statistics import randomize

SIZE = 64
CLASSES = ["circle", "square", "triangle"]
SMALL = {"num_classes": 3, "depths": (1, 0, 0, 1), "dims": (8, 8, 16, 16), "stem_dim": 8}
"""A block of the first stage and one of the last: converting takes seconds for each block."""

INFO = network_info(
    "ffnet_nano",
    SMALL,
    task="classification",
    classes=CLASSES,
    preprocessing=Preprocessing(size=SIZE, crop_pct=1.0).as_dict(),
)
needs = {
    name: pytest.mark.skipif(
        any(find_spec(p) is None for p in f.packages_for("int8")),
        reason=f"{name}: {f.packages_for('int8')} not installed",
    )
    for name, f in FORMATS.items()
}


def classifier(seed: int = 0) -> nn.Module:
    """A small classifier with weights as after training."""
    return randomize(metamixer.create_model("ffnet_nano", **SMALL), seed=seed)
