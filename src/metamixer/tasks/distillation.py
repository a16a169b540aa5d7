"""Learning from a teacher: its labels or its probabilities beside the true ones (DeiT, as the paper uses it)."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..checkpoints.source import OURS, load_network
from ..data.images.class_names import match_classes
from ..data.preprocessing import Preprocessing
from ..deployment.formats import is_exported
from ..deployment.runtime import Runtime
from ..errors import InputError, first_line
from ..models import create_model
from ..models.registry import expect_classifier
from ..models.tasks import CLASSIFICATION

SIDE = 64
"""Of the blank image that a teacher of any size is tried with."""


class Teacher(nn.Module):
    """A trained classifier that looks at the student's batches in its own normalisation and size; it never learns.

    Args:
        model: a module, a timm name (pretrained weights are loaded), "package.module:function" that gives a module,
            or a file: a checkpoint of `fit` or a classifier of `metamixer export`.
        size: side of the teacher's images in pixels; None: what a file says of itself, else as the student's.
        mean: of the teacher's normalisation; None: what a file or a timm model says of itself, else ImageNet's.
        std: likewise.
        classes: the teacher's numbers of the student's classes, in their order; None: the same classes.
        bfloat16: compute in bfloat16, whatever the student's precision.
        stages: stages whose features it gives too, as numbers for timm's `forward_intermediates`.
    """

    def __init__(
        self,
        model: str | nn.Module,
        *,
        size: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        classes: Sequence[int] | None = None,
        bfloat16: bool = False,
        stages: Sequence[int] = (),
    ):
        super().__init__()
        self.name = model if isinstance(model, str) else type(model).__name__
        network, info = build_teacher(model) if isinstance(model, str) else (model, {})
        self.model = network.eval().requires_grad_(False)
        own = info.get("preprocessing") or getattr(self.model, "pretrained_cfg", {})
        self.class_names = info.get("classes")
        self.size = size or (info.get("preprocessing") or {}).get("size")
        self.mean = tuple(mean or own.get("mean", Preprocessing.mean))
        self.std = tuple(std or own.get("std", Preprocessing.std))
        self.classes = list(classes) if classes is not None else None
        self.bfloat16 = bfloat16
        self.stages = list(stages)
        if self.stages and not hasattr(self.model, "forward_intermediates"):
            raise InputError(
                f"teacher.stages {self.stages}, expected none: {self.name} gives no features (no forward_intermediates)"
            )

    def __deepcopy__(self, memo: dict) -> "Teacher":
        """Itself: a moving average of the student copies the whole task, and a teacher never changes."""
        return self

    def train(self, mode: bool = True) -> "Teacher":
        """A teacher stays in evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor, student: Preprocessing) -> Tensor:
        """images: (B, C, H, W) as `student` normalises them -> logits (B, classes)."""
        with self._precision(images):
            logits = self.model(self._seen(images, student)).float()
        return self._chosen(logits)

    @torch.no_grad()
    def outputs(self, images: Tensor, student: Preprocessing) -> list[Tensor]:
        """images: (B, C, H, W) as `student` normalises them -> logits (B, classes), and of each stage the features'
        mean over the image (B, channels).
        """
        if not self.stages:
            return [self(images, student)]
        with self._precision(images):
            last, features = self.model.forward_intermediates(self._seen(images, student), indices=self.stages)
            logits = self.model.forward_head(last).float()
        return [self._chosen(logits), *(pooled(feature).float() for feature in features)]

    def widths(self) -> list[int]:
        """The number of logits, then the channels of each stage's features; raises InputError where the network doesn't
        take its images.
        """
        side = self.size or SIDE
        blank = torch.zeros(1, len(self.mean), side, side, device=next(self.buffers(), torch.empty(0)).device)
        try:
            return [output.shape[1] for output in self.outputs(blank, Preprocessing(mean=self.mean, std=self.std))]
        except (RuntimeError, IndexError, AssertionError) as error:
            raise InputError(
                f"teacher {self.name}: takes no images of {len(self.mean)} channels and {side} px, or has no stages "
                f"{self.stages} ({first_line(error)})"
            ) from None

    def match(self, classes: Sequence[str] | None, channels: int) -> None:
        """Pick the outputs of the data's classes by their names, unless `classes` did; raises InputError where they
        aren't there, or where the images have other channels.
        """
        if channels != len(self.mean):
            raise InputError(f"teacher {self.name}: of {len(self.mean)} channels, expected {channels}, the images'")
        if self.classes is None and classes is not None:
            try:
                self.classes = match_classes(classes, self.class_names, self.widths()[0])
            except InputError as error:
                raise InputError(f"teacher {self.name}: {error}") from None

    def about(self) -> dict[str, Any]:
        """What its outputs for an image depend on, as plain values."""
        keys = ("size", "mean", "std", "classes", "stages")
        return {"teacher": self.name, **{f"teacher.{key}": getattr(self, key) for key in keys}}

    def _seen(self, images: Tensor, student: Preprocessing) -> Tensor:
        """The student's images in the teacher's normalisation and size."""
        x = images * images.new_tensor(student.std).view(1, -1, 1, 1) + images.new_tensor(student.mean).view(
            1, -1, 1, 1
        )
        if self.size and x.shape[-1] != self.size:
            x = F.interpolate(x, (self.size, self.size), mode="bicubic", antialias=True, align_corners=False)
        x = (x - x.new_tensor(self.mean).view(1, -1, 1, 1)) / x.new_tensor(self.std).view(1, -1, 1, 1)
        return x.contiguous(memory_format=torch.channels_last)

    def _precision(self, images: Tensor) -> AbstractContextManager:
        return torch.autocast(images.device.type, torch.bfloat16) if self.bfloat16 else nullcontext()

    def _chosen(self, logits: Tensor) -> Tensor:
        return logits if self.classes is None else logits[:, self.classes]


class Distillation:
    """(1 - alpha) * loss on the labels + alpha * loss on the teacher's word.

    Args:
        teacher: a trained classifier.
        kind: hard, cross entropy with the teacher's class; soft, divergence from its probabilities, a mean over images
            and classes (DeiT's); divergence, the same as a mean over images (Hinton's).
        alpha: the teacher's share of the loss.
        tau: temperature of soft probabilities.
    """

    def __init__(self, teacher: Teacher, *, kind: str = "hard", alpha: float = 0.5, tau: float = 1.0):
        if kind not in MATCHES:
            raise InputError(f"distillation kind {kind!r}, expected {', '.join(map(repr, MATCHES))}")
        self.teacher = teacher
        self.kind = kind
        self.alpha = alpha
        self.tau = tau

    def loss(self, label_loss: Tensor, logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """label_loss: scalar; logits, teacher_logits: (B, classes) -> scalar."""
        return (1 - self.alpha) * label_loss + self.alpha * MATCHES[self.kind](logits, teacher_logits, self.tau)


def hard_loss(logits: Tensor, teacher_logits: Tensor, tau: float = 1.0) -> Tensor:
    """Cross entropy with the class that the teacher names, which no temperature changes."""
    return F.cross_entropy(logits, teacher_logits.argmax(dim=1))


def soft_loss(logits: Tensor, teacher_logits: Tensor, tau: float) -> Tensor:
    """Mean over all elements of the divergence between softened distributions, times tau squared."""
    student, teacher = (F.log_softmax(x / tau, dim=1) for x in (logits, teacher_logits))
    return F.kl_div(student, teacher, reduction="sum", log_target=True) * tau**2 / logits.numel()


def divergence_loss(logits: Tensor, teacher_logits: Tensor, tau: float) -> Tensor:
    """Mean over the images of the divergence between softened distributions, times tau squared."""
    return soft_loss(logits, teacher_logits, tau) * logits.shape[1]


MATCHES: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "hard": hard_loss,
    "soft": soft_loss,
    "divergence": divergence_loss,
}
"""(student's logits, teacher's logits, temperature) -> scalar, by `Distillation.kind`."""


def pooled(features: Tensor) -> Tensor:
    """(B, C, H, W) -> the mean over the image (B, C)."""
    return features.mean(dim=(2, 3))


class Exported(nn.Module):
    """An exported file as a module; of another batch size than the file's, in parts."""

    def __init__(self, runtime: Runtime):
        super().__init__()
        self.runtime = runtime

    def forward(self, images: Tensor) -> Tensor:
        """images: (B, C, H, W) -> logits (B, classes)."""
        return self.runtime.any_batch(images.float())


def build_teacher(name: str) -> tuple[nn.Module, Mapping[str, Any]]:
    """A module and what is known of it (`network_info`), by the name of a classifier with published weights, a file, or
    "package.module:function".
    """
    if is_exported(name) or Path(name).suffix in OURS:
        network, info = load_network(name, task=CLASSIFICATION.name)
        return (network if isinstance(network, nn.Module) else Exported(network)), info
    if ":" not in name:
        expect_classifier(name)
        return create_model(name, pretrained=True), {}
    module, function = name.split(":", 1)
    try:
        return getattr(import_module(module), function)(), {}
    except (ImportError, AttributeError, OSError) as error:
        raise InputError(f"teacher {name!r}: {first_line(error)}, expected a function that gives a module") from None
