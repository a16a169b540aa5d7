"""Class scores of every point of a cloud, by voting over several views."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from ..data.points.clouds import Cloud
from ..data.points.voxelization import PointPreprocessing
from ..errors import InputError
from ..ops.sparse import SparseVoxels


@dataclass(frozen=True)
class View:
    """A transformation of a cloud: rotated around the vertical axis by `turn` radians, scaled, mirrored in x."""

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


VOTES = (
    *(View(turn=quarter * math.pi / 2, scale=scale) for scale in (1.0, 0.95, 1.05) for quarter in range(4)),
    View(mirrored=True),
)
"""The views that vote, in order: quarter turns at three scales, and a mirrored one."""


def voting(votes: int) -> Sequence[View]:
    """The first views of `VOTES`; raises InputError for a number out of range."""
    if not 1 <= votes <= len(VOTES):
        raise InputError(f"votes {votes}, expected 1 to {len(VOTES)}")
    return VOTES[:votes]


@torch.inference_mode()
def point_scores(
    network: nn.Module,
    cloud: Cloud,
    preprocessing: PointPreprocessing,
    *,
    views: Sequence[View] = (View(),),
    fragments: bool = False,
) -> Tensor:
    """Class probabilities of every point, (N, classes), the mean over views.

    fragments: predict every point, as published for tests; else each point takes the prediction of its voxel.
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
            # A point of a sparse voxel is in several fragments; the rows within one fragment are unique.
            scores.index_add_(0, torch.from_numpy(pick).to(device), logits.softmax(dim=1))
        total = total + scores
    return total / total.sum(dim=1, keepdim=True)
