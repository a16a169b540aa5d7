"""Image classification: loss and metrics."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from timm.data import Mixup
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix

from ..data.images.class_names import keep_classes, match_classes
from ..data.preprocessing import LARGEST_SIDE
from ..errors import InputError, at_least, expect_integer, from_zero_to_one
from ..models.registry import expect_classifier
from ..models.tasks import CLASSIFICATION
from .confusion import write_confusion
from .distillation import Distillation
from .optimization.recipe import Optimization
from .task import Compile, Task

MOST_TOLD = 100
"""Classes up to which the accuracy of each is logged."""

SPLITS = ("val", "test")


def accuracies(num_classes: int, prefix: str) -> MetricCollection:
    """Top-1 accuracy, and top-5 of more than five classes."""
    kinds = {f"top{k}": MulticlassAccuracy(num_classes, top_k=k, average="micro") for k in (1, 5) if k < num_classes}
    return MetricCollection(kinds, prefix=prefix)


def paired(batch: Tensor) -> Tensor:
    """The batch, without the last image if their number is odd; raises InputError for a single image."""
    if len(batch) < 2:
        raise InputError("a training batch of 1 image, expected at least 2 for mixup and CutMix: a larger batch_size")
    return batch[: len(batch) // 2 * 2]


class Classification(Task):
    """Train and evaluate any image classifier of metamixer or timm.

    Args:
        model: name of a metamixer or timm network.
        num_classes: must be the data's number of classes.
        model_args: keywords for `metamixer.create_model`.
        initial: a checkpoint to start from (ours or published).
        new_classifier: replace the classifier of `initial`, for other classes.
        optimization: optimizer and schedule.
        label_smoothing: probability spread evenly over all classes.
        mixup: strength of mixup; 0 for none.
        cutmix: strength of CutMix; 0 for none.
        distillation: a teacher and its weight in the loss; none: labels only.
        train_sizes: image sides in pixels, each for an equal part of the training; empty: always the data's own.
        compile: compile the network with torch.compile; reduce-overhead: also capture CUDA graphs.
    """

    spec = CLASSIFICATION
    layout = torch.channels_last

    def __init__(
        self,
        model: str = "ffnet_1",
        num_classes: int = 1000,
        *,
        model_args: dict[str, Any] | None = None,
        initial: str | None = None,
        new_classifier: bool = False,
        optimization: Optimization = Optimization(),
        label_smoothing: float = 0.1,
        mixup: float = 0.8,
        cutmix: float = 1.0,
        distillation: Distillation | None = None,
        train_sizes: Sequence[int] = (),
        compile: Compile = False,
    ):
        expect_classifier(model)
        from_zero_to_one("model.label_smoothing", label_smoothing)
        at_least("model.mixup", mixup, 0)
        at_least("model.cutmix", cutmix, 0)
        for size in train_sizes:
            expect_integer("model.train_sizes", size, 1, LARGEST_SIDE)
        args = {**(model_args or {}), "num_classes": num_classes}
        super().__init__(model, args, optimization, initial=initial, new_classifier=new_classifier, compile=compile)
        self.num_classes = num_classes
        self.label_smoothing = label_smoothing
        self.distillation = distillation
        self.train_sizes = tuple(train_sizes)
        self.mixing = (
            Mixup(mixup, cutmix, label_smoothing=label_smoothing, num_classes=num_classes)
            if mixup > 0 or cutmix > 0
            else None
        )
        self.measures = nn.ModuleDict({split: accuracies(num_classes, f"{split}/") for split in SPLITS})
        told = {split: MulticlassConfusionMatrix(num_classes) for split in SPLITS}
        self.confusions = nn.ModuleDict(told if num_classes <= MOST_TOLD else {})
        # Lightning's own mean over processes rounds the number of items down.
        self.losses = nn.ModuleDict({split: MeanMetric() for split in SPLITS})
        self.class_indices: list[int] | None = None

    def forward(self, images: Tensor) -> Tensor:
        """images: (B, C, H, W) -> logits (B, classes)."""
        return self.network(images.contiguous(memory_format=self.layout))

    def setup(self, stage: str) -> None:
        if stage == "fit":
            self.expect_classes(self.num_classes)
            self._match_teacher()

    def _match_teacher(self) -> None:
        """Select the teacher's outputs of the data's classes, where both name theirs."""
        data = self.trainer.datamodule
        if self.distillation is not None and self.distillation.teacher.class_names and hasattr(data, "classes"):
            self.distillation.teacher.match(data.classes, data.preprocessing.in_chans)

    def expect_teacher_of(self, classes: int) -> None:
        """Raise InputError if the teacher has another number of classes than the student."""
        if classes != self.num_classes:
            raise InputError(
                f"distillation.teacher of {classes} classes, expected {self.num_classes}: `classes` selects the "
                "student's"
            )

    def match_data(self) -> None:
        """Find the data's classes among the checkpoint's; raises InputError if they aren't."""
        classes = getattr(self.trainer.datamodule, "classes", None)
        if classes is not None:
            self.class_indices = match_classes(classes, self.loaded_info.get("classes"), self.num_classes)

    def on_before_batch_transfer(self, batch: Sequence[Tensor], dataloader_idx: int) -> Sequence[Tensor]:
        """Check the labels on the CPU, without a GPU synchronization; raises InputError for an unknown class."""
        expect_labels(batch[1], self.num_classes if self.class_indices is None else len(self.class_indices))
        return batch

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        images, labels = batch
        if self.mixing is not None:
            images, targets = self.mixing(paired(images), paired(labels))
        else:
            targets = labels
        logits = self(self._resized(images))
        loss = F.cross_entropy(logits, targets, label_smoothing=0.0 if self.mixing else self.label_smoothing)
        if self.distillation is not None:
            teacher_logits = self.distillation.teacher(images, self.trainer.datamodule.preprocessing)
            self.expect_teacher_of(teacher_logits.shape[1])
            loss = self.distillation.loss(loss, logits, teacher_logits)
        return self.log_loss(loss, batch_size=len(images))

    def on_fit_start(self) -> None:
        if self.distillation is not None:
            self.distillation.teacher.to(self.device)

    def evaluate(self, batch: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """(images, labels) -> logits and labels in the network's class indices; other classes can't win."""
        images, labels = batch
        logits = self(images)
        return (logits, labels) if self.class_indices is None else keep_classes(logits, labels, self.class_indices)

    def measure(self, split: str, batch: Sequence[Tensor]) -> None:
        logits, labels = self.evaluate(batch)
        loss = self.losses[split]
        loss.update(F.cross_entropy(logits, labels), weight=len(labels))
        self.log(f"{split}/loss", loss, on_epoch=True, batch_size=len(labels))
        measures = self.measures[split]
        measures.update(logits, labels)
        self.log_dict(measures, on_epoch=True, prog_bar=True, batch_size=len(labels))
        if split in self.confusions:
            self.confusions[split].update(logits, labels)

    def log_measures(self, split: str) -> None:
        """Log the accuracy of each class that has images, and their mean; a test also writes test_confusion.csv."""
        if split not in self.confusions:
            return
        counts = self.confusions[split].compute()
        self.confusions[split].reset()
        known = getattr(self.trainer.datamodule, "classes", None)
        names = known if self.class_indices is None else self.loaded_info.get("classes")
        names = list(map(str, names or range(self.num_classes)))
        accuracies = counts.diagonal() / counts.sum(dim=1)
        shown = {name: value for name, value in zip(names, accuracies, strict=True) if not value.isnan()}
        self.log_dict({f"{split}/accuracy/{name}": value for name, value in shown.items()})
        self.log(f"{split}/balanced_accuracy", accuracies.nanmean())
        if split == "test" and self.trainer.is_global_zero:
            write_confusion(Path(self.trainer.default_root_dir, "test_confusion.csv"), counts, names)

    def _resized(self, images: Tensor) -> Tensor:
        if not self.train_sizes:
            return images
        if self.trainer.max_steps > 0:
            done = self.global_step / self.trainer.estimated_stepping_batches
        else:
            done = self.current_epoch / max(self.trainer.max_epochs, 1)  # -1: endless
        size = self.train_sizes[min(int(done * len(self.train_sizes)), len(self.train_sizes) - 1)]
        if size == images.shape[-1]:
            return images
        return F.interpolate(images, (size, size), mode="bilinear", antialias=True, align_corners=False)


def expect_labels(labels: Tensor, num_classes: int) -> None:
    """labels: integers (B,); raises InputError that names a label out of range."""
    low, high = labels.min().item(), labels.max().item()
    if low < 0 or high >= num_classes:
        raise InputError(
            f"label {low if low < 0 else high} in the data, expected 0 to {num_classes - 1}: model.num_classes "
            f"{num_classes}"
        )
