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
INFO = network_info(
    "ffnet_nano",
    {"num_classes": 3},
    task="classification",
    classes=CLASSES,
    preprocessing=Preprocessing(size=SIZE, crop_pct=1.0).as_dict(),
)
needs = {
    name: pytest.mark.skipif(
        any(find_spec(p) is None for p in f.packages), reason=f"{name}: {f.packages} not installed"
    )
    for name, f in FORMATS.items()
}


def classifier(seed: int = 0) -> nn.Module:
    """A small classifier with weights as after training."""
    return randomize(metamixer.create_model("ffnet_nano", num_classes=3, depths=(1, 1, 1, 1)), seed=seed)
