"""A class for every point of a cloud."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .checkpoints import expect_task, load_checkpoint
from .data.clouds import Cloud, check_cloud, read_cloud
from .data.voxelization import PointPreprocessing
from .fusion import fuse
from .sparse import SparseVoxels


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


@torch.inference_mode()
def point_scores(
    network: nn.Module, cloud: Cloud, preprocessing: PointPreprocessing, *, views: Sequence[View] = (View(),), fragments: bool = False
) -> Tensor:
    """Class probabilities of every point, (N, classes), the mean over views.

    fragments: every point is seen itself, as published for tests; else each takes what its voxel's first point gets.
    """
    device = next(network.parameters()).device
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


class PointSegmenter:
    """A network in deploy form with its preprocessing and classes: `PointSegmenter.load("best.ckpt")("street.ply")`."""

    def __init__(self, network: nn.Module, preprocessing: PointPreprocessing, classes: Sequence[str]):
        self.network = fuse(network)
        self.preprocessing = preprocessing
        self.classes = list(classes)

    @classmethod
    def load(cls, checkpoint: str | Path) -> "PointSegmenter":
        """From a checkpoint of ours: of a training run, or a deploy form."""
        network, info = load_checkpoint(checkpoint)
        expect_task(info, "points", checkpoint)
        return cls(network, PointPreprocessing.from_dict(info["preprocessing"]), class_names(info, network.num_classes))

    def scores(self, cloud: Cloud | str | Path, *, votes: int = 1, fragments: bool = False) -> Tensor:
        """Class probabilities (N, classes) of every point of a cloud or file; votes: 1 to 13 views; fragments: see `point_scores`."""
        name = "cloud" if isinstance(cloud, Cloud) else str(cloud)
        cloud = check_cloud(cloud, name) if isinstance(cloud, Cloud) else read_cloud(cloud)
        self.preprocessing.check(cloud, name)
        return point_scores(self.network, cloud, self.preprocessing, views=VOTES[:votes], fragments=fragments)

    def __call__(self, cloud: Cloud | str | Path, *, votes: int = 1, fragments: bool = False) -> np.ndarray:
        """The class (N,) of every point."""
        return self.scores(cloud, votes=votes, fragments=fragments).argmax(dim=1).cpu().numpy()


def class_names(info: Mapping[str, Any], num_classes: int) -> list[str]:
    """The names that came with a checkpoint, or numbers."""
    return list(info.get("classes") or map(str, range(num_classes)))
