"""Point cloud segmentation: loss and metrics."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.classification import MulticlassConfusionMatrix

from ..data.points.clouds import Cloud
from ..data.points.scenes import IGNORED_POINT, Voxels
from ..errors import InputError
from ..inference.voting import point_scores, voting
from ..models.tasks import POINTS
from ..ops.sparse import SparseVoxels
from .confusion import class_ious, segmentation_measures, write_confusion
from .lovasz import lovasz_softmax
from .optimization.points import PointOptimization
from .task import Task


class PointSegmentation(Task):
    """Train and evaluate a network that classifies every point; metrics are of the original points, not voxels.

    Args:
        model, model_args: name and keywords for `metamixer.create_model`; `in_chans` must be the data's.
        num_classes: must be the data's number of classes.
        initial: a checkpoint to start from, ours or a published one; its head is kept unless `new_classifier`.
        lovasz_weight: weight of the Lovász loss, which is added to the cross-entropy.
        votes: views of a scene that vote in a test, 1 to 13; validation uses one, and one point per voxel.
    """

    spec = POINTS

    def __init__(
        self,
        model: str = "ffnet_3d",
        num_classes: int = 20,
        *,
        model_args: dict[str, Any] | None = None,
        initial: str | None = None,
        new_classifier: bool = False,
        optimization: PointOptimization = PointOptimization(),
        lovasz_weight: float = 1.0,
        votes: int = 13,
    ):
        args = {**(model_args or {}), "num_classes": num_classes}
        super().__init__(model, args, optimization, initial=initial, new_classifier=new_classifier)
        self.num_classes = num_classes
        self.lovasz_weight = lovasz_weight
        self.views = {
            "val": {"views": voting(1), "fragments": False},
            "test": {"views": voting(votes), "fragments": True},
        }
        self.measures = nn.ModuleDict(
            {split: MulticlassConfusionMatrix(num_classes, ignore_index=IGNORED_POINT) for split in self.views}
        )

    def forward(self, voxels: SparseVoxels) -> Tensor:
        """voxels: features (N, C) -> logits (N, classes)."""
        return self.network(voxels)

    def setup(self, stage: str) -> None:
        data = self.trainer.datamodule
        self.expect_classes(self.num_classes)
        if data.preprocessing.in_chans != self.network.in_chans:
            raise InputError(
                f"model_args.in_chans {self.network.in_chans}, expected {data.preprocessing.in_chans}, the data's "
                f"({', '.join(data.preprocessing.features)})"
            )

    def training_step(self, batch: Voxels, batch_idx: int) -> Tensor:
        logits = self(SparseVoxels.of(batch["features"], batch["coordinates"], batch["batch"])).float()
        labels = batch["labels"]
        known = (labels != IGNORED_POINT).any()
        loss = F.cross_entropy(logits, labels, ignore_index=IGNORED_POINT) if known else logits.sum() * 0
        loss = loss + self.lovasz_weight * lovasz_softmax(logits, labels, ignore_index=IGNORED_POINT)
        return self.log_loss(loss, batch_size=len(labels))

    def measure(self, split: str, batch: Cloud) -> None:
        scores = point_scores(self.network, batch, self.trainer.datamodule.preprocessing, **self.views[split])
        self.measures[split].update(scores.argmax(dim=1), torch.from_numpy(batch.labels).to(scores.device))

    def log_measures(self, split: str) -> None:
        """Log the metrics; a test also writes test_confusion.csv."""
        counts, names = self.measures[split].compute(), self.trainer.datamodule.classes
        self.measures[split].reset()
        self.log_dict(
            {f"{split}/{name}": value for name, value in segmentation_measures(counts).items()}, prog_bar=True
        )
        self.log_ious(split, dict(zip(names, class_ious(counts), strict=True)))
        if split == "test" and self.trainer.is_global_zero:
            write_confusion(Path(self.trainer.default_root_dir, "test_confusion.csv"), counts, names)
