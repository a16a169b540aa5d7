"""Distillation from a teacher's labels or probabilities (DeiT, as in the paper)."""

from collections.abc import Sequence
from contextlib import nullcontext
from importlib import import_module

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data.preprocessing import Preprocessing
from ..errors import InputError, first_line
from ..models import create_model
from ..models.registry import expect_classifier


class Teacher(nn.Module):
    """A frozen classifier that receives the student's batches in its own normalization and size.

    Args:
        model: a module, a timm name (pretrained weights are loaded) or a "package.module:function" that returns one.
        size: side of the teacher's images in pixels; None: the student's.
        mean: of the teacher's normalization; None: that of the timm model, else ImageNet's.
        std: likewise.
        classes: the teacher's indices of the student's classes, in the student's order; None: the same classes.
        bfloat16: compute in bfloat16, whatever the student's precision.
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
    ):
        super().__init__()
        self.model = (build_teacher(model) if isinstance(model, str) else model).eval().requires_grad_(False)
        own = getattr(self.model, "pretrained_cfg", {})
        self.size = size
        self.mean = tuple(mean or own.get("mean", Preprocessing.mean))
        self.std = tuple(std or own.get("std", Preprocessing.std))
        self.classes = list(classes) if classes is not None else None
        self.bfloat16 = bfloat16

    def train(self, mode: bool = True) -> "Teacher":
        """A teacher stays in evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor, student: Preprocessing) -> Tensor:
        """images: (B, C, H, W) as normalized by `student` -> logits (B, classes)."""
        x = images * images.new_tensor(student.std).view(1, -1, 1, 1) + images.new_tensor(student.mean).view(
            1, -1, 1, 1
        )
        if self.size and x.shape[-1] != self.size:
            x = F.interpolate(x, (self.size, self.size), mode="bicubic", antialias=True, align_corners=False)
        x = (x - x.new_tensor(self.mean).view(1, -1, 1, 1)) / x.new_tensor(self.std).view(1, -1, 1, 1)
        with torch.autocast(x.device.type, torch.bfloat16) if self.bfloat16 else nullcontext():
            logits = self.model(x.contiguous(memory_format=torch.channels_last)).float()
        return logits if self.classes is None else logits[:, self.classes]


class Distillation:
    """(1 - alpha) * loss on the labels + alpha * loss on the teacher's output.

    Args:
        teacher: a trained classifier.
        kind: hard: cross-entropy with the teacher's class; soft: KL divergence from its probabilities.
        alpha: the teacher's weight in the loss.
        tau: temperature of the soft probabilities.
    """

    def __init__(self, teacher: Teacher, *, kind: str = "hard", alpha: float = 0.5, tau: float = 1.0):
        if kind not in ("hard", "soft"):
            raise InputError(f"distillation kind {kind!r}, expected 'hard' or 'soft'")
        self.teacher = teacher
        self.kind = kind
        self.alpha = alpha
        self.tau = tau

    def loss(self, label_loss: Tensor, logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """label_loss: scalar; logits, teacher_logits: (B, classes) -> scalar."""
        match = (
            hard_loss(logits, teacher_logits) if self.kind == "hard" else soft_loss(logits, teacher_logits, self.tau)
        )
        return (1 - self.alpha) * label_loss + self.alpha * match


def hard_loss(logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Cross-entropy with the teacher's prediction."""
    return F.cross_entropy(logits, teacher_logits.argmax(dim=1))


def soft_loss(logits: Tensor, teacher_logits: Tensor, tau: float) -> Tensor:
    """KL divergence between the softened distributions, mean over all elements, times tau squared."""
    student, teacher = (F.log_softmax(x / tau, dim=1) for x in (logits, teacher_logits))
    return F.kl_div(student, teacher, reduction="sum", log_target=True) * tau**2 / logits.numel()


def build_teacher(name: str) -> nn.Module:
    """Build a teacher from the name of a pretrained classifier or from "package.module:function"."""
    if ":" not in name:
        expect_classifier(name)
        return create_model(name, pretrained=True)
    module, function = name.split(":", 1)
    try:
        return getattr(import_module(module), function)()
    except (ImportError, AttributeError, OSError) as error:
        raise InputError(f"teacher {name!r}: {first_line(error)}, expected a function that returns a module") from None
