"""Robustness of a classifier to corrupted images: the metrics of ImageNet-C."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy

from ..errors import InputError
from .classification import Classification

ALEXNET_ERRORS: dict[str, float] = {
    "gaussian_noise": 0.886428,
    "shot_noise": 0.894468,
    "impulse_noise": 0.922640,
    "defocus_blur": 0.819880,
    "glass_blur": 0.826268,
    "motion_blur": 0.785948,
    "zoom_blur": 0.798360,
    "snow": 0.866816,
    "frost": 0.826572,
    "fog": 0.819324,
    "brightness": 0.564592,
    "contrast": 0.853204,
    "elastic_transform": 0.646056,
    "pixelate": 0.717840,
    "jpeg_compression": 0.606500,
}
"""Top-1 errors of AlexNet, by which the benchmark's authors normalize (their published evaluation)."""


class CorruptionRobustness(Classification):
    """Evaluate a classifier on each corruption of ImageNet-C: top-1 errors, and the mean relative to AlexNet (mCE)."""

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if stage != "test":
            raise InputError(
                f"CorruptionRobustness: command {stage}, expected test: the corrupted images are for evaluation only"
            )
        self.corruptions = list(self.trainer.datamodule.corruptions)
        self.accuracies = nn.ModuleList(MulticlassAccuracy(self.num_classes, average="micro") for _ in self.corruptions)

    def test_step(self, batch: Sequence[Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
        logits, labels = self.evaluate(batch)
        self.accuracies[dataloader_idx].update(logits, labels)

    def on_test_epoch_end(self) -> None:
        accuracies = zip(self.corruptions, self.accuracies, strict=True)
        errors = {name: 1 - accuracy.compute().item() for name, accuracy in accuracies}
        self.log_dict({f"test/error/{name}": error for name, error in errors.items()})
        self.log("test/mean_error", sum(errors.values()) / len(errors))
        if set(ALEXNET_ERRORS) <= set(errors):
            self.log("test/mce", mean_corruption_error(errors))


def mean_corruption_error(errors: Mapping[str, float]) -> float:
    """The mean over the benchmark's 15 corruptions of the error divided by AlexNet's; others are ignored."""
    return sum(errors[name] / alexnet for name, alexnet in ALEXNET_ERRORS.items()) / len(ALEXNET_ERRORS)
