"""What the tests of export share: a classifier of three shapes, and marks for formats whose packages may be missing."""

from importlib.util import find_spec

import pytest

from metamixer.checkpoints import network_info
from metamixer.data import Preprocessing
from metamixer.deployment.formats import FORMATS

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
    name: pytest.mark.skipif(any(find_spec(p) is None for p in f.packages), reason=f"{name}: {f.packages} not installed")
    for name, f in FORMATS.items()
}
