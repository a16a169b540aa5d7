"""A class for every point of a cloud."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from ..checkpoints.ours import load_ours
from ..checkpoints.published import load_published
from ..data.points.benchmarks import S3DIS_CLASSES, SCANNET200_CLASSES, SCANNET_CLASSES
from ..data.points.clouds import Cloud, check_cloud, read_cloud
from ..data.points.voxelization import PointPreprocessing
from ..errors import InputError
from ..inference.voting import point_scores, voting
from ..models import create_model
from ..models.tasks import POINTS
from ..ops.fusion import fuse
from ..system.weight_files import read_published

PUBLISHED_CLASSES: dict[int, tuple[tuple[str, ...], str]] = {
    13: (S3DIS_CLASSES, "relu"),
    20: (SCANNET_CLASSES, "gelu"),
    200: (SCANNET200_CLASSES, "gelu"),
}
"""Classes and activation of the authors' files, which tell neither, by the number of classes of the head; all see what
`PointPreprocessing()` makes."""
PUBLISHED_MODEL = "ffnet_3d"


class PointSegmenter:
    """A network in deploy form with its preprocessing and classes: `PointSegmenter.load("best.ckpt")("street.ply")`."""

    def __init__(self, network: nn.Module, preprocessing: PointPreprocessing, classes: Sequence[str]):
        self.network = fuse(network)
        self.preprocessing = preprocessing
        self.classes = list(classes)

    @classmethod
    def load(cls, checkpoint: str | Path, *, model: str | None = None) -> "PointSegmenter":
        """From a checkpoint of ours; or from a published one, with its `model`, whose classes are ScanNet's, ScanNet200's or S3DIS's."""
        ours = load_ours(checkpoint, task=POINTS.name, model=model)
        if ours is None:
            return cls.of_published(checkpoint, model=model)
        network, info = ours
        return cls(network, PointPreprocessing.from_dict(info["preprocessing"]), class_names(info, network.num_classes))

    @classmethod
    def of_published(cls, checkpoint: str | Path, *, model: str | None = PUBLISHED_MODEL) -> "PointSegmenter":
        """From one of the authors' files; the size of its head tells the data set that it was trained on."""
        if model != PUBLISHED_MODEL:
            raise InputError(f"model {model!r}, expected {PUBLISHED_MODEL}, the only published point network")
        state = read_published(checkpoint)
        head = next((value for key, value in state.items() if key.endswith("head.weight")), None)
        if head is None or len(head) not in PUBLISHED_CLASSES:
            found = "no head" if head is None else f"a head of {len(head)} classes"
            raise InputError(f"{checkpoint}: {found}, expected one of 13 (S3DIS), 20 (ScanNet) or 200 (ScanNet200) classes")
        classes, act = PUBLISHED_CLASSES[len(head)]
        preprocessing = PointPreprocessing()
        network = create_model(model, in_chans=preprocessing.in_chans, num_classes=len(classes), act=act)
        return cls(load_published(network.eval(), state), preprocessing, classes)

    def check(self, cloud: Cloud, name: str, *, votes: int = 1) -> None:
        """Raises InputError where the network can't label the cloud, in any of its views."""
        self.preprocessing.check(cloud, name, scale=max(view.scale for view in voting(votes)))

    def scores(self, cloud: Cloud | str | Path, *, votes: int = 1, fragments: bool = False) -> Tensor:
        """Class probabilities (N, classes) of every point of a cloud or file; votes: 1 to 13 views; fragments: see `point_scores`."""
        name = "cloud" if isinstance(cloud, Cloud) else str(cloud)
        cloud = check_cloud(cloud, name) if isinstance(cloud, Cloud) else read_cloud(cloud)
        self.check(cloud, name, votes=votes)
        return point_scores(self.network, cloud, self.preprocessing, views=voting(votes), fragments=fragments)

    def __call__(self, cloud: Cloud | str | Path, *, votes: int = 1, fragments: bool = False) -> np.ndarray:
        """The class (N,) of every point."""
        return self.scores(cloud, votes=votes, fragments=fragments).argmax(dim=1).cpu().numpy()


def class_names(info: Mapping[str, Any], num_classes: int) -> list[str]:
    """The names that came with a checkpoint, or numbers."""
    return list(info.get("classes") or map(str, range(num_classes)))
