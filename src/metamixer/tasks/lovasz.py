"""Lovász-softmax: a smooth surrogate of the mean intersection over union (Berman et al., CVPR 2018)."""

import torch
from torch import Tensor
from torch.nn import functional as F


def lovasz_softmax(logits: Tensor, labels: Tensor, *, ignore_index: int = -1) -> Tensor:
    """logits: (N, C), labels: (N,) -> the mean over the classes in the labels; 0 if there are none."""
    known = labels != ignore_index
    probabilities, labels = logits[known].float().softmax(dim=1), labels[known]
    if not len(labels):
        return logits.sum() * 0
    truth = F.one_hot(labels, logits.shape[1]).to(probabilities)
    present = truth.sum(dim=0) > 0
    truth, probabilities = truth[:, present], probabilities[:, present]
    errors, order = (truth - probabilities).abs().sort(dim=0, descending=True)
    return (errors * _gradient(truth.gather(0, order))).sum(dim=0).mean()


@torch.no_grad()
def _gradient(truth: Tensor) -> Tensor:
    """Gradient of the Lovász extension of the Jaccard loss, for errors in descending order.

    truth: (N, C), zeros and ones in the order of the errors.
    """
    total = truth.sum(dim=0)
    jaccard = 1 - (total - truth.cumsum(dim=0)) / (total + (1 - truth).cumsum(dim=0))
    return torch.cat([jaccard[:1], jaccard[1:] - jaccard[:-1]])
