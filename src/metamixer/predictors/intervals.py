"""Intervals around a forecast: the margins that held so often on rows which it didn't learn from."""

import math
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import InputWarning


def interval_margins(errors: Tensor, levels: Sequence[float], names: Sequence[str]) -> dict[float, list]:
    """For each level in percent the margins (horizon, variables), NaN for a series of which nothing was measured.

    errors: (N, horizon, variables), not negative, NaN where nothing was measured. Warns of series with fewer than a
    level needs.
    """
    if levels:
        warn_of_few(errors, max(levels), names)
    return {level: absolute_quantiles(errors, level / 100).tolist() for level in levels}


def absolute_quantiles(errors: Tensor, level: float) -> Tensor:
    """The margin that covers a share `level` of new errors if they are like these (split conformal prediction).

    errors: (N, horizon, variables), not negative, NaN where nothing was measured -> (horizon, variables): the ceil((N +
    1) * level)-th smallest, at most the largest, of the N that were measured; where a step has none, the largest margin
    of its variable's other steps; NaN where these have none.
    """
    count = (~errors.isnan()).sum(dim=0)
    rank = torch.minimum(((count + 1) * level).ceil().long(), count).clamp(min=1)
    margins = errors.sort(dim=0).values.gather(0, rank[None] - 1)[0]  # NaN comes last
    largest = margins.masked_fill(count == 0, -math.inf).amax(dim=0)
    return torch.where(count == 0, largest.masked_fill(largest == -math.inf, math.nan), margins)


def share_held(errors: Tensor, margins: Tensor) -> float:
    """The share of errors inside margins, of those that were measured and have one; NaN where there are none.

    errors: (N, horizon, variables); margins: (horizon, variables).
    """
    counted = (~(errors - margins).isnan()).sum().item()
    return (errors <= margins).sum().item() / counted if counted else math.nan


def warn_of_few(errors: Tensor, level: float, names: Sequence[str]) -> None:
    """Warn of the first series without values to find its margins with, and of the one with the fewest where a level
    needs more.
    """
    count = (~errors.isnan()).sum(dim=0)
    empty = (count == 0).all(dim=0)
    if empty.any():
        warnings.warn(
            f"series {names[int(empty.int().argmax())]!r} ({int(empty.sum())} such series): no value in the rows "
            "to calibrate on, "
            "expected some: the bounds of its intervals are left empty (NaN)",
            InputWarning,
            stacklevel=5,
        )
    needed = math.ceil(level / (100 - level))
    fewest = count.amin(dim=0).masked_fill(empty, needed)
    if fewest.min() < needed:
        warnings.warn(
            f"level {level:g}: {int(fewest.min())} values of series {names[int(fewest.argmin())]!r} to calibrate a "
            "step on, expected at "
            f"least {needed}: the interval may be too narrow; a longer table has more",
            InputWarning,
            stacklevel=5,
        )
