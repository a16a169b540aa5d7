"""Any quantiles from nine: linear in normal scores between the deciles, with normal tails beyond them."""

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from ...models.ffnet_ts.zero import QUANTILES

NORMAL = NormalDist()
SCORES = np.array([NORMAL.inv_cdf(level) for level in QUANTILES])
"""The normal scores of the deciles."""


def from_deciles(scores: Sequence[float]) -> np.ndarray:
    """Weights (scores, 9) of the deciles whose sums are the quantiles at these normal scores."""
    weights = np.zeros((len(scores), len(SCORES)))
    for row, score in zip(weights, scores, strict=True):
        if abs(score) > SCORES[-1]:
            tail = abs(score) / SCORES[-1]
            row[len(SCORES) // 2], row[0 if score < 0 else -1] = 1 - tail, tail
        else:
            above = min(max(int(np.searchsorted(SCORES, score)), 1), len(SCORES) - 1)
            weight = (score - SCORES[above - 1]) / (SCORES[above] - SCORES[above - 1])
            row[above - 1], row[above] = 1 - weight, weight
    return weights


def equally_likely(count: int) -> np.ndarray:
    """Normal scores of so many equally likely values, with the variance of the distribution: one.

    The deciles themselves are too close together to stand for it: their scores have a variance of 0.6.
    """
    scores = np.array([NORMAL.inv_cdf((i + 0.5) / count) for i in range(count)])
    return scores / np.sqrt(np.mean(scores**2))
