"""A student that learns a teacher's outputs for fixed crops, which are computed once."""

from collections.abc import Sequence
from typing import Any

import torch
from timm.data import Mixup
from torch import Tensor
from torch.nn import functional as F

from ..data.images.distillation import DistillationData
from ..data.images.outputs import OutputCache
from ..errors import InputError, at_least
from .classification import Classification, paired
from .distillation import Distillation, FeatureMatching, mixed, mixed_logits
from .teacher import pooled


def mixed_images(images: Tensor, mixup: float, cutmix: float) -> tuple[Tensor, Tensor]:
    """Pairs of images (B, C, H, W), mixed, and the share of every image in each of them, (mixed, B); of an odd number
    of images, the last is in none.
    """
    mixing = Mixup(mixup, cutmix, label_smoothing=0.0, num_classes=len(images))
    pairs = paired(images)
    return mixing(pairs, torch.arange(len(pairs), device=images.device))


class DistilledClassification(Classification):
    """Train a classifier on a teacher's logits and features, for `DistillationData`.

    Args:
        num_classes: must be the data's number of classes; None: the teacher's, for images without labels.
        distillation: the teacher, and the fraction of the loss that its logits have.
        cache: folder for the teacher's outputs; a later run with the same teacher, images and crops reads them.
        stages: the student's stages that learn the teacher's `stages`, in the same order.
        feature_weight: weight of the features' loss beside the logits'.
        mixup, cutmix: strengths of mixup and CutMix of crops, whose outputs, labels and features are mixed alike; 0 for
            none.
    """

    distillation: Distillation
    outputs: OutputCache
    """The teacher's outputs, from `setup` on."""

    def __init__(
        self,
        model: str = "ffnet_nano",
        num_classes: int | None = None,
        *,
        distillation: Distillation,
        cache: str,
        stages: Sequence[int] = (),
        feature_weight: float = 1.0,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        **settings,
    ):
        at_least("model.mixup", mixup, 0)
        at_least("model.cutmix", cutmix, 0)
        widths = distillation.teacher.widths()
        super().__init__(
            model,
            num_classes or widths[0],
            mixup=0.0,
            cutmix=0.0,
            distillation=distillation,
            **settings,
        )
        self.measures_teacher = False
        self.mix_strengths = (mixup, cutmix)
        self.cache = cache
        self.stages = list(stages)
        self.feature_weight = feature_weight
        self.matching = self._matching(widths[1:])

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if stage == "fit":
            data = self.trainer.datamodule
            about = {**self.distillation.teacher.about(), **data.about()}
            widths = self.distillation.teacher.widths()
            if self.distillation.alpha:
                self.expect_teacher_of(widths[0])
            self.outputs = OutputCache(self.cache, about, data.draw_crops(), widths)
            data.crops = self.outputs.crops

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        images, labels, views = batch
        preprocessing = self.trainer.datamodule.preprocessing
        teacher_logits, *teacher_features = self.outputs(
            views, lambda places: self.distillation.teacher.outputs(images[places], preprocessing)
        )
        targets = F.one_hot(labels, self.num_classes).float()
        if any(self.mix_strengths):
            images, shares = mixed_images(images, *self.mix_strengths)
            targets = mixed(targets, shares)
            teacher_logits = mixed_logits(teacher_logits, shares, self.distillation.tau)
            teacher_features = [mixed(features, shares) for features in teacher_features]
        logits, features = self._with_features(self._resized(images))
        label_loss = F.cross_entropy(logits, targets, label_smoothing=self.label_smoothing)
        loss = self.distillation.loss(label_loss, logits, teacher_logits) if self.distillation.alpha else label_loss
        if self.matching is None:
            return self.log_loss(loss, batch_size=len(images))
        parts = {"logits": loss, "features": self.feature_weight * self.matching(features, teacher_features)}
        return self.log_loss(sum(parts.values()), batch_size=len(images), parts=parts)

    def on_validation_start(self) -> None:
        super().on_validation_start()
        self.distillation.teacher.to(self.device)

    def on_test_start(self) -> None:
        super().on_test_start()
        self.distillation.teacher.to(self.device)

    def extra_groups(self) -> list[dict[str, Any]]:
        if self.matching is None:
            return []
        named = [(f"matching.{name}", parameter) for name, parameter in self.matching.named_parameters()]
        return [{"params": named, "lr": self.optimization.lr, "weight_decay": 0.0}]

    def data_info(self) -> dict[str, Any]:
        """Of images without labels, the classes are the teacher's."""
        info = super().data_info()
        return {**info, "classes": info["classes"] or self.distillation.teacher.chosen_names()}

    def evaluate(self, batch: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """(images, labels) -> logits and labels; of images without labels the teacher's.

        The first validation of a training logs `val/teacher_top1` too, which tells a teacher that can't teach.
        """
        images, labels = batch
        labelled = getattr(self.trainer.datamodule, "labelled", True)
        if labelled and not self.measures_teacher:
            return super().evaluate(batch)
        taught = self.distillation.teacher(images, self.trainer.datamodule.preprocessing).argmax(dim=1)
        if not labelled:
            return super().evaluate((images, taught))
        about = {"on_step": False, "on_epoch": True, "batch_size": len(images), "sync_dist": True}
        self.log("val/teacher_top1", (taught == labels).float().mean(), **about)
        return super().evaluate(batch)

    def on_train_start(self) -> None:
        super().on_train_start()
        self.measures_teacher = bool(self.distillation.alpha)

    def on_validation_end(self) -> None:
        """The teacher doesn't change: once is enough."""
        self.measures_teacher = False

    def _match_teacher(self) -> None:
        """Select the teacher's outputs of the data's classes, if the logits are learned at all."""
        data = self.trainer.datamodule
        self._expect_labels(data)
        self.distillation.teacher.match(data.classes if self.distillation.alpha else None, data.preprocessing.in_chans)

    def _expect_labels(self, data: DistillationData) -> None:
        if not data.labelled and self.distillation.alpha != 1:
            raise InputError(f"distillation.alpha {self.distillation.alpha}, expected 1: the images have no labels")

    def _with_features(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The student's logits, and the mean over the image of its stages' features."""
        if not self.stages:
            return self(images), []
        images = images.contiguous(memory_format=self.layout)
        last, features = self.network.forward_intermediates(images, indices=self.stages)
        return self.network.forward_head(last), [pooled(feature) for feature in features]

    def _matching(self, teacher: Sequence[int]) -> FeatureMatching | None:
        """teacher: channels of its stages."""
        if len(self.stages) != len(teacher):
            raise InputError(
                f"stages {self.stages}, expected as many as teacher.stages {self.distillation.teacher.stages}: each "
                "learns one of them"
            )
        channels = [info["num_chs"] for info in self.network.feature_info]
        unknown = [stage for stage in self.stages if not 0 <= stage < len(channels)]
        if unknown:
            raise InputError(f"stages {self.stages}, expected numbers from 0 to {len(channels) - 1}")
        return FeatureMatching([channels[stage] for stage in self.stages], teacher) if self.stages else None
