"""Semantic segmentation: loss and metrics."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.classification import MulticlassConfusionMatrix

from ..data.segmentation.label_maps import IGNORED_PIXEL
from ..errors import InputError, above_zero, at_least
from ..inference.sliding import probabilities
from ..models.tasks import SEGMENTATION
from .confusion import class_ious, segmentation_measures
from .lovasz import lovasz_softmax
from .optimization.segmentation import SegmentationOptimization
from .task import Task, backbone_start

Batch = tuple[Tensor, Tensor]


class Segmentation(Task):
    """Train and evaluate a segmentation network.

    Args:
        model, model_args: name and keywords for `metamixer.create_model`.
        num_classes: must be the data's number of classes.
        initial: a checkpoint to start from (ours or published); keeps its class layers, and so needs the same
            class count, unless `new_classifier`.
        pretrained_backbone: start the backbone from its own weights, published or packaged.
        auxiliary_weight: weight of the auxiliary head's loss, if there is such a head.
        class_weights: weight of each class in the cross-entropy; None: all equal.
        lovasz_weight: weight of the Lovász loss beside the cross-entropy; it stands for the mean IoU, in which small
            and thin objects count as much as large ones. 0 for none.
        scales, flip: test-time augmentation: `test` averages over these scales of the image, and over its mirror image.
    """

    spec = SEGMENTATION
    layout = torch.channels_last

    def __init__(
        self,
        model: str = "ffnet_seg_ade20k",
        num_classes: int = 150,
        *,
        model_args: dict[str, Any] | None = None,
        initial: str | None = None,
        new_classifier: bool = False,
        pretrained_backbone: bool = False,
        optimization: SegmentationOptimization = SegmentationOptimization(),
        auxiliary_weight: float = 0.4,
        class_weights: Sequence[float] | None = None,
        lovasz_weight: float = 0.0,
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
    ):
        if class_weights is not None and len(class_weights) != num_classes:
            raise InputError(f"class_weights of {len(class_weights)} numbers, expected {num_classes}, one per class")
        at_least("model.lovasz_weight", lovasz_weight, 0)
        above_zero("model.scales", *scales)
        args = {**(model_args or {}), "num_classes": num_classes}
        start = backbone_start(args, pretrained=pretrained_backbone)
        super().__init__(model, args, optimization, start=start, initial=initial, new_classifier=new_classifier)
        self.num_classes = num_classes
        self.auxiliary_weight = auxiliary_weight
        self.lovasz_weight = lovasz_weight
        self.views = {"val": {}, "test": {"scales": tuple(scales), "flip": flip}}
        self.measures = nn.ModuleDict(
            {split: MulticlassConfusionMatrix(num_classes, ignore_index=IGNORED_PIXEL) for split in self.views}
        )
        weights = None if class_weights is None else torch.tensor(list(class_weights), dtype=torch.float32)
        self.register_buffer("class_weights", weights, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """images: (B, 3, H, W) -> logits (B, classes, H, W)."""
        return self.network(images.contiguous(memory_format=self.layout))

    def setup(self, stage: str) -> None:
        self.expect_classes(self.num_classes)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, labels = batch
        main, *auxiliary = self.network.forward_heads(images.contiguous(memory_format=self.layout))
        loss = self.loss(main, labels) + sum(self.auxiliary_weight * self.loss(logits, labels) for logits in auxiliary)
        if not self.lovasz_weight:
            return self.log_loss(loss, batch_size=len(images))
        parts = {"pixels": loss, "overlap": self.lovasz_weight * overlap_loss(main, labels)}
        return self.log_loss(sum(parts.values()), batch_size=len(images), parts=parts)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """logits: (B, classes, h, w), labels: (B, H, W) -> mean over the batch's labeled pixels, 0 without any."""
        logits = F.interpolate(logits.float(), labels.shape[1:], mode="bilinear", align_corners=False)
        pixels = F.cross_entropy(logits, labels, self.class_weights, ignore_index=IGNORED_PIXEL, reduction="sum")
        counted = labels[labels != IGNORED_PIXEL]
        weight = counted.numel() if self.class_weights is None else self.class_weights[counted].sum()
        return pixels / (weight if weight > 0 else 1)

    def data_info(self) -> dict[str, Any]:
        data = self.trainer.datamodule
        info = {**super().data_info(), "grey_images": getattr(data, "grey_images", False)}
        if classes := getattr(data, "pixel_classes", None):
            info |= {"colours": [list(colour) for colour in classes.colours], "values": list(classes.values)}
        return info

    def measure(self, split: str, batch: Batch) -> None:
        preprocessing = self.trainer.datamodule.preprocessing
        for image, labels in zip(*batch, strict=True):
            share = probabilities(self.network, image, preprocessing, **self.views[split])
            self.measures[split].update(share.argmax(dim=0), labels)

    def log_measures(self, split: str) -> None:
        counts = self.measures[split].compute()
        names = getattr(self.trainer.datamodule, "classes", None) or range(self.num_classes)
        self.measures[split].reset()
        self.log_dict(
            {f"{split}/{name}": value for name, value in segmentation_measures(counts).items()}, prog_bar=True
        )
        self.log_ious(split, dict(zip(map(str, names), class_ious(counts), strict=True)))


def overlap_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Lovász-softmax of logits (B, classes, h, w) and the nearest of labels (B, H, W).

    At the logits' size: it sorts the pixels by each class, which at the labels' would take longer than the network.
    """
    nearest = F.interpolate(labels[:, None].float(), logits.shape[2:], mode="nearest-exact").long()
    return lovasz_softmax(logits.movedim(1, -1).flatten(0, 2), nearest.flatten(), ignore_index=IGNORED_PIXEL)
