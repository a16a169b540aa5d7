"""Losses of a student that learns from a teacher's labels, probabilities (DeiT, as in the paper) or features."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import InputError, above_zero, from_zero_to_one
from .teacher import Teacher as Teacher


class Distillation:
    """(1 - alpha) * loss on the labels + alpha * loss on the teacher's predictions.

    Args:
        teacher: a trained classifier.
        kind: hard: cross-entropy with the teacher's class; soft: KL divergence from its probabilities, averaged over
            images and classes (DeiT); divergence: the same averaged over images (Hinton et al.).
        alpha: the teacher's weight in the loss.
        tau: temperature of the soft probabilities.
    """

    def __init__(self, teacher: Teacher, *, kind: str = "hard", alpha: float = 0.5, tau: float = 1.0):
        if kind not in MATCHES:
            raise InputError(f"distillation kind {kind!r}, expected {', '.join(map(repr, MATCHES))}")
        from_zero_to_one("distillation.alpha", alpha)
        above_zero("distillation.tau", tau)
        self.teacher = teacher
        self.kind = kind
        self.alpha = alpha
        self.tau = tau

    def loss(self, label_loss: Tensor, logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """label_loss: scalar; logits, teacher_logits: (B, classes) -> scalar."""
        return (1 - self.alpha) * label_loss + self.alpha * MATCHES[self.kind](logits, teacher_logits, self.tau)


def mixed(values: Tensor, shares: Tensor) -> Tensor:
    """Mixtures in float32, under autocast too; values: (B, N), shares: (mixed, B), of every image in each mixed one."""
    with torch.autocast(values.device.type, enabled=False):
        return shares.float() @ values.float()


def mixed_logits(logits: Tensor, shares: Tensor, tau: float) -> Tensor:
    """Logits (mixed, classes) whose probabilities at temperature `tau` are mixtures of those of `logits`."""
    probabilities = mixed((logits.float() / tau).softmax(dim=1), shares)
    return tau * probabilities.clamp_min(torch.finfo(torch.float32).tiny).log()


def hard_loss(logits: Tensor, teacher_logits: Tensor, tau: float = 1.0) -> Tensor:
    """Cross-entropy with the teacher's prediction, which doesn't depend on the temperature."""
    return F.cross_entropy(logits, teacher_logits.argmax(dim=1))


def soft_loss(logits: Tensor, teacher_logits: Tensor, tau: float) -> Tensor:
    """KL divergence between softened distributions, averaged over all elements, times tau squared."""
    student, teacher = (F.log_softmax(x / tau, dim=1) for x in (logits, teacher_logits))
    return F.kl_div(student, teacher, reduction="sum", log_target=True) * tau**2 / logits.numel()


def divergence_loss(logits: Tensor, teacher_logits: Tensor, tau: float) -> Tensor:
    """KL divergence between softened distributions, averaged over images, times tau squared."""
    return soft_loss(logits, teacher_logits, tau) * logits.shape[1]


MATCHES: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "hard": hard_loss,
    "soft": soft_loss,
    "divergence": divergence_loss,
}
"""`Distillation.kind` -> (student's logits, teacher's logits, temperature) -> scalar."""


class FeatureMatching(nn.Module):
    """1 - cosine similarity between a linear projection of the student's features and the teacher's features; the
    projection is not kept.

    Args:
        student: channels of the student's stages.
        teacher: channels of the teacher's stages, one for each of the student's.
    """

    def __init__(self, student: Sequence[int], teacher: Sequence[int]):
        super().__init__()
        self.projections = nn.ModuleList(nn.Linear(s, t) for s, t in zip(student, teacher, strict=True))

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        """Features (B, channels) of each stage -> scalar, the average over stages and images."""
        pairs = zip(self.projections, student, teacher, strict=True)
        return torch.stack([1 - F.cosine_similarity(project(s), t).mean() for project, s, t in pairs]).mean()
