"""A class for every point of a cloud."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..checkpoints.ours import load_ours
from ..checkpoints.published import load_published, read_published
from ..data.points.benchmarks import S3DIS_CLASSES, SCANNET200_CLASSES, SCANNET_CLASSES
from ..data.points.clouds import Cloud, check_cloud, read_cloud
from ..data.points.voxelization import PointPreprocessing
from ..errors import InputError
from ..models import create_model
from ..ops.fusion import fuse
from ..ops.sparse import SparseVoxels


@dataclass(frozen=True)
class View:
    """A cloud as one vote sees it: turned around the vertical axis by `turn` radians, scaled, mirrored in x."""

    turn: float = 0.0
    scale: float = 1.0
    mirrored: bool = False

    def __call__(self, cloud: Cloud) -> Cloud:
        return replace(
            cloud,
            coordinates=self._turned(cloud.coordinates) * self.scale,
            normals=None if cloud.normals is None else self._turned(cloud.normals).astype(np.float32),
        )

    def _turned(self, vectors: np.ndarray) -> np.ndarray:
        cosine, sine = math.cos(self.turn), math.sin(self.turn)
        x, y, z = vectors.T
        x, y = cosine * x - sine * y, sine * x + cosine * y
        return np.stack([-x if self.mirrored else x, y, z], axis=1)


VOTES = (*(View(turn=quarter * math.pi / 2, scale=scale) for scale in (1.0, 0.95, 1.05) for quarter in range(4)), View(mirrored=True))
"""The views that vote, in the order in which they are asked: quarter turns at three scales, and a mirrored one."""


def voting(votes: int) -> Sequence[View]:
    """The first views of `VOTES`; raises InputError for more than there are, or none."""
    if not 1 <= votes <= len(VOTES):
        raise InputError(f"votes {votes}, expected 1 to {len(VOTES)}")
    return VOTES[:votes]


@torch.inference_mode()
def point_scores(
    network: nn.Module, cloud: Cloud, preprocessing: PointPreprocessing, *, views: Sequence[View] = (View(),), fragments: bool = False
) -> Tensor:
    """Class probabilities of every point, (N, classes), the mean over views.

    fragments: every point is seen itself, as published for tests; else each takes what its voxel's first point gets.
    """
    device = next(network.parameters()).device
    cloud = preprocessing.placed(cloud)
    total = torch.zeros(len(cloud), 1, device=device)
    for view in views:
        seen = view(cloud)
        grid, inputs = preprocessing.grid(seen), preprocessing.inputs(seen)
        picks = grid.fragments() if fragments else [grid.pick(0)]
        scores = torch.zeros(0)
        for pick in picks:
            voxels = SparseVoxels.of(inputs[pick], torch.from_numpy(grid.cells[pick]))
            logits = network(voxels.to(device)).float()
            if not fragments:
                scores = logits.softmax(dim=1)[torch.from_numpy(grid.rows).to(device)]
                continue
            if not len(scores):
                scores = torch.zeros(len(cloud), logits.shape[1], device=device)
            # A point of a small voxel is in several fragments; the rows of one fragment are all different.
            scores.index_add_(0, torch.from_numpy(pick).to(device), logits.softmax(dim=1))
        total = total + scores
    return total / total.sum(dim=1, keepdim=True)


PUBLISHED: dict[int, tuple[tuple[str, ...], str]] = {
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
        ours = load_ours(checkpoint, task="points", model=model)
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
        if head is None or len(head) not in PUBLISHED:
            found = "no head" if head is None else f"a head of {len(head)} classes"
            raise InputError(f"{checkpoint}: {found}, expected one of 13 (S3DIS), 20 (ScanNet) or 200 (ScanNet200) classes")
        classes, act = PUBLISHED[len(head)]
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
