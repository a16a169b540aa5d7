"""Classes of points: what to optimise and what to measure."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.classification import MulticlassConfusionMatrix

from ..checkpoints import load_initial, network_info
from ..data.clouds import Cloud
from ..data.points import IGNORED, Voxels
from ..errors import InputError
from ..files import write_csv
from ..models import create_model
from ..point_segmenter import point_scores, voting
from ..sparse import SparseVoxels
from .lovasz import lovasz_softmax
from .point_optimization import PointOptimization
from .steps import every_step, refuse_infinite, steps_of


class PointSegmentation(L.LightningModule):
    """Train and measure a network that gives every point a class; both are measured on the original points.

    Args:
        model, model_args: name and keywords for `metamixer.create_model`; `in_chans` follows from the data.
        num_classes: must be the data's number of classes.
        initial: a checkpoint to start from, ours or a published one; its head is kept unless `new_classifier`.
        lovasz_weight: of the Lovász loss beside cross entropy.
        votes: views of a scene that vote in tests, 1 to 13; validation takes one, and one point a voxel.
    """

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
        super().__init__()
        self.model_name = model
        self.num_classes = num_classes
        self.model_args = dict(model_args or {})
        self.optimization = optimization
        self.lovasz_weight = lovasz_weight
        self.views = voting(votes)
        self.network = create_model(model, num_classes=num_classes, **self.model_args)
        if initial:
            load_initial(self.network, initial, new_classifier=new_classifier)
        self.confusions = nn.ModuleDict(
            {split: MulticlassConfusionMatrix(num_classes, ignore_index=IGNORED) for split in ("val_split", "test_split")}
        )

    def forward(self, voxels: SparseVoxels) -> Tensor:
        """voxels: features (N, C) -> logits (N, classes)."""
        return self.network(voxels)

    def setup(self, stage: str) -> None:
        data = self.trainer.datamodule
        if len(data.classes) != self.num_classes:
            raise InputError(f"model.num_classes {self.num_classes}, expected {len(data.classes)}, the data's number of classes")
        if data.preprocessing.in_chans != self.network.in_chans:
            raise InputError(
                f"model_args.in_chans {self.network.in_chans}, expected {data.preprocessing.in_chans}, the data's "
                f"({', '.join(data.preprocessing.features)})"
            )

    def training_step(self, batch: Voxels, batch_idx: int) -> Tensor:
        logits = self(SparseVoxels.of(batch["features"], batch["coordinates"], batch["batch"])).float()
        labels = batch["labels"]
        known = (labels != IGNORED).any()
        loss = F.cross_entropy(logits, labels, ignore_index=IGNORED) if known else logits.sum() * 0
        loss = loss + self.lovasz_weight * lovasz_softmax(logits, labels, ignore_index=IGNORED)
        refuse_infinite(loss, self)
        self.log("train/loss", loss, prog_bar=True, on_step=False, on_epoch=True, batch_size=len(labels))
        return loss

    def validation_step(self, batch: Cloud, batch_idx: int) -> None:
        self._measure("val", batch, views=voting(1), fragments=False)

    def test_step(self, batch: Cloud, batch_idx: int) -> None:
        self._measure("test", batch, views=self.views, fragments=True)

    def on_validation_epoch_end(self) -> None:
        self._log_measures("val")

    def on_test_epoch_end(self) -> None:
        counts = self._log_measures("test")
        if self.trainer.is_global_zero:
            write_confusion(Path(self.trainer.default_root_dir, "test_confusion.csv"), counts, self.trainer.datamodule.classes)

    def configure_optimizers(self) -> dict:
        optimizer = self.optimization.optimizer(self.network)
        scheduler = self.optimization.scheduler(optimizer, steps=steps_of(self)[0])
        return every_step(optimizer, scheduler)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        data = self.trainer.datamodule
        checkpoint["metamixer"] = network_info(
            self.model_name,
            {**self.model_args, "num_classes": self.num_classes},
            task="points",
            classes=data.classes,
            preprocessing=data.preprocessing.as_dict(),
        )

    def _measure(self, split: str, cloud: Cloud, **how: Any) -> None:
        scores = point_scores(self.network, cloud, self.trainer.datamodule.preprocessing, **how)
        labels = torch.from_numpy(cloud.labels).to(scores.device)
        self.confusions[f"{split}_split"].update(scores.argmax(dim=1), labels)

    def _log_measures(self, split: str) -> Tensor:
        confusion = self.confusions[f"{split}_split"]
        counts = confusion.compute()
        confusion.reset()
        names = self.trainer.datamodule.classes
        self.log_dict({f"{split}/{name}": value for name, value in segmentation_measures(counts).items()}, prog_bar=True)
        ious = class_ious(counts)
        self.log_dict({f"{split}/iou/{name}": iou for name, iou in zip(names, ious, strict=True) if not iou.isnan()})
        return counts


def class_ious(counts: Tensor) -> Tensor:
    """Intersection over union of each class; NaN for one that neither is there nor was found. counts: (truth, prediction)."""
    counts = counts.double()
    hits = counts.diagonal()
    return (hits / (counts.sum(dim=0) + counts.sum(dim=1) - hits)).float()


def segmentation_measures(counts: Tensor) -> Mapping[str, Tensor]:
    """Mean IoU over the classes that are there or were found, mean accuracy over those that are there, accuracy of all points."""
    hits, truths = counts.double().diagonal(), counts.double().sum(dim=1)
    return {
        "miou": class_ious(counts).nanmean(),
        "mean_accuracy": (hits / truths).nanmean().float(),
        "accuracy": (hits.sum() / truths.sum().clamp(min=1)).float(),
    }


def write_confusion(path: Path, counts: Tensor, classes: list[str]) -> None:
    """CSV: a row for each true class, a column for each that was said."""
    write_csv(path, [("class", *classes), *((name, *row) for name, row in zip(classes, counts.tolist(), strict=True))])


def read_confusion(path: Path) -> Tensor:
    """The counts that `write_confusion` wrote."""
    with path.open(newline="") as file:
        return torch.tensor([[int(value) for value in row[1:]] for row in list(csv.reader(file))[1:]])
