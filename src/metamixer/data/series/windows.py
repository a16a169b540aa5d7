"""Windows of several series, the inputs and targets of forecasting, and their scaling."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ...errors import InputError


@dataclass(frozen=True)
class Scaling:
    """Mean and std of each variable over the training rows; constant variables have std 1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, values: np.ndarray) -> "Scaling":
        """Compute mean and std; values: (rows, variables)."""
        varies = np.ptp(values, axis=0) > 0  # the std of a constant such as 0.1 is rounded, not 0
        return cls(tuple(values.mean(axis=0).tolist()), tuple(np.where(varies, values.std(axis=0), 1.0).tolist()))

    @classmethod
    def of_measured(cls, values: np.ndarray) -> "Scaling":
        """The same with NaN for missing values; a variable without values has mean 0 and std 1."""
        columns = [column[~np.isnan(column)] for column in values.T]
        return cls(
            tuple(float(column.mean()) if len(column) else 0.0 for column in columns),
            tuple(float(column.std()) if len(column) and np.ptp(column) > 0 else 1.0 for column in columns),
        )

    def apply(self, values: np.ndarray) -> Tensor:
        """Standardize: original units -> units of std, float32."""
        return torch.from_numpy(((values - np.array(self.mean)) / np.array(self.std)).astype(np.float32))

    def invert(self, values: Tensor) -> np.ndarray:
        """Units of std -> original units, float64; values: (..., variables)."""
        return values.double().numpy() * np.array(self.std) + np.array(self.mean)


class Windows(Dataset):
    """Every window of `lookback` rows with the `horizon` rows after it, in time order; values: (rows, variables).

    measured: if missing `values` were filled, the same rows with NaN for missing values, for targets; None: `values`.
    """

    def __init__(self, values: Tensor, lookback: int, horizon: int, *, measured: Tensor | None = None):
        if len(values) < lookback + horizon:
            raise InputError(
                f"series of {len(values)} rows, expected at least {lookback + horizon}, lookback {lookback} + "
                f"horizon {horizon}"
            )
        self.lookback = lookback
        self.windows = values.unfold(0, lookback + horizon, 1).transpose(1, 2)
        self.measured = self.windows if measured is None else measured.unfold(0, lookback + horizon, 1).transpose(1, 2)

    def spread(self, count: int | None) -> "Windows":
        """At most `count` windows, evenly spaced; None: all."""
        result, step = copy.copy(self), max(-(-len(self) // count), 1) if count else 1
        result.windows, result.measured = self.windows[::step], self.measured[::step]
        return result

    @property
    def past(self) -> Tensor:
        """(N, lookback, variables)"""
        return self.windows[:, : self.lookback]

    @property
    def measured_past(self) -> Tensor:
        """The same with NaN for missing values."""
        return self.measured[:, : self.lookback]

    @property
    def future(self) -> Tensor:
        """(N, horizon, variables), NaN for missing values."""
        return self.measured[:, self.lookback :]

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """(lookback, variables), (horizon, variables)."""
        return self.past[index], self.future[index]

    def __getitems__(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """A whole batch at once: (B, lookback, variables), (B, horizon, variables)."""
        chosen = torch.as_tensor(indices)
        return self.past[chosen], self.future[chosen]
