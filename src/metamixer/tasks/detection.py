"""Detection and instance segmentation: loss and metrics."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics.detection import MeanAveragePrecision

from ..data.detection.coco_json import mask_codec
from ..models.cascade_mask_rcnn import to_file
from ..models.tasks import DETECTION
from .optimization.detection import DetectionOptimization
from .task import Task, backbone_start

MEASURES = {
    "ap": "map",
    "ap50": "map_50",
    "ap75": "map_75",
    "ap_small": "map_small",
    "ap_medium": "map_medium",
    "ap_large": "map_large",
    "ar1": "mar_1",
    "ar10": "mar_10",
    "ar100": "mar_100",
    "ar_small": "mar_small",
    "ar_medium": "mar_medium",
    "ar_large": "mar_large",
}
"""COCO's twelve numbers: our name -> torchmetrics'."""
SHOWN = ("box_ap", "mask_ap")
"""Metrics in the progress bar; the others are only logged."""
KINDS = {"box": "bbox", "mask": "segm"}

Batch = tuple[list[Tensor], list[dict[str, Tensor]]]


class Detection(Task):
    """Train and evaluate a detector.

    Args:
        model, model_args: name and keywords for `metamixer.create_model`.
        num_classes: must be the data's number of categories.
        initial: a checkpoint to start from (ours or published); keeps its class layers, and so needs the same
            class count, unless `new_classifier`.
        pretrained_backbone: start the backbone from its own weights, published or packaged.
    """

    spec = DETECTION

    def __init__(
        self,
        model: str = "cascade_mask_rcnn_ffnet_2",
        num_classes: int = 80,
        *,
        model_args: dict[str, Any] | None = None,
        initial: str | None = None,
        new_classifier: bool = False,
        pretrained_backbone: bool = False,
        optimization: DetectionOptimization = DetectionOptimization(),
    ):
        mask_codec()  # raises now if it isn't installed, not after the first epoch
        args = {**(model_args or {}), "num_classes": num_classes}
        start = backbone_start(args, pretrained=pretrained_backbone)
        super().__init__(model, args, optimization, start=start, initial=initial, new_classifier=new_classifier)
        self.num_classes = num_classes
        self.network.to(memory_format=torch.channels_last)
        self.measures = nn.ModuleDict({split: average_precision() for split in ("val", "test")})

    def forward(self, images: Sequence[Tensor]) -> list[dict[str, Tensor]]:
        """images: (3, H, W) each -> detections of each image, in its pixels."""
        return self.network(images)

    def setup(self, stage: str) -> None:
        self.expect_classes(self.num_classes)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, targets = batch
        losses = self.network(images, targets)
        return self.log_loss(torch.stack(list(losses.values())).sum(), batch_size=len(images), parts=losses)

    def data_info(self) -> dict[str, Any]:
        return {**super().data_info(), "category_ids": getattr(self.trainer.datamodule, "category_ids", None)}

    def measure(self, split: str, batch: Batch) -> None:
        images, targets = batch
        found = [
            to_file(each, image, target["size"].tolist())
            for each, image, target in zip(self(images), images, targets, strict=True)
        ]
        self.measures[split].update(found, [{**target, "masks": target["masks"].bool()} for target in targets])

    def log_measures(self, split: str) -> None:
        measures = self.measures[split]
        for name, value in coco_numbers(measures.compute()).items():
            self.log(f"{split}/{name}", value, prog_bar=name in SHOWN)
        measures.reset()


def average_precision() -> MeanAveragePrecision:
    """COCO's evaluation of boxes and masks.

    The thresholds are COCO's; torchmetrics rounds its own to float32, which moves ties.
    """
    return MeanAveragePrecision(
        iou_type=tuple(KINDS.values()),
        iou_thresholds=np.linspace(0.5, 0.95, 10).tolist(),
        rec_thresholds=np.linspace(0, 1, 101).tolist(),
        backend="faster_coco_eval",
    )


def coco_numbers(measures: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename torchmetrics' results to `box_ap`, `mask_ap50` and so on: twelve for boxes and twelve for masks."""
    return {
        f"{kind}_{name}": measures[f"{prefix}_{theirs}"]
        for kind, prefix in KINDS.items()
        for name, theirs in MEASURES.items()
    }
