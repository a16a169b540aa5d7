"""Forecasts of many series by one network that was trained before: windows, batches and horizons of any length."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..models.ffnet_ts.zero import QUANTILES, FFNetTSZero

LENGTHS = (64, 128, 256, 512)
"""Windows that series are cut or padded to: the shortest that a series fits in."""


class ZeroShot:
    """Quantile forecasts of single series.

    Args:
        network: the trained network.
        contexts: steps to look back; the forecasts of several are averaged.
        batch_size: windows that are computed at once; it bounds the memory.
    """

    def __init__(self, network: FFNetTSZero, *, contexts: Sequence[int] = (512,), batch_size: int = 256):
        self.network = network.eval()
        self.contexts, self.batch_size = tuple(contexts), batch_size

    def forecast(self, series: Sequence[np.ndarray], horizon: int, *, season: int = 0) -> np.ndarray:
        """series: arrays (T,) of any length, NaN where missing; season: steps, 0: unknown -> (N, quantiles, horizon)."""
        forecasts = np.empty((len(series), len(QUANTILES), horizon))
        for context in self.contexts:
            needed = [next(length for length in LENGTHS if length >= min(len(values), context)) for values in series]
            for length in set(needed):
                rows = [row for row, own in enumerate(needed) if own == length]
                for start in range(0, len(rows), self.batch_size):
                    part = rows[start : start + self.batch_size]
                    windows, shift, scale = cut([series[row][-context:] for row in part], length)
                    found = self._roll(windows, horizon, season).double().numpy()
                    forecasts[part] = (forecasts[part] if context != self.contexts[0] else 0) + (found * scale + shift) / len(self.contexts)
        return forecasts

    @torch.inference_mode()
    def _roll(self, windows: Tensor, horizon: int, season: int) -> Tensor:
        """The forecast of a horizon of any length: beyond the network's, each quantile goes on from its own path."""
        block = self.network.horizon
        forecast = self._network(windows, min(horizon, block), season)
        while forecast.shape[2] < horizon:
            step = min(horizon - forecast.shape[2], block)
            paths = torch.cat([windows[:, None].expand(-1, len(QUANTILES), -1), forecast], 2)[:, :, -windows.shape[1] :]
            ahead = self._network(paths.flatten(0, 1), step, season).unflatten(0, (-1, len(QUANTILES)))
            levels = torch.tensor(QUANTILES, dtype=ahead.dtype)
            forecast = torch.cat([forecast, torch.quantile(ahead.flatten(1, 2), levels, dim=1).transpose(0, 1)], 2)
        return forecast

    def _network(self, windows: Tensor, horizon: int, season: int) -> Tensor:
        return self.network(windows, torch.full((len(windows),), season), horizon)


def cut(series: Sequence[np.ndarray], length: int) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """Windows (B, length), NaN before the beginning, each shifted to its last value and scaled to 1; and both, (B, 1, 1)."""
    windows = np.full((len(series), length), np.nan)
    for window, values in zip(windows, series, strict=True):
        window[length - len(values) :] = values
    known = np.isfinite(windows)
    last = length - 1 - known[:, ::-1].argmax(1)
    shift = np.where(known.any(1), windows[np.arange(len(windows)), last], 0)[:, None]
    scale = np.where(known, np.abs(windows - shift), 0).max(1, keepdims=True)
    scale = np.where(scale > 0, scale, 1)
    return torch.from_numpy((windows - shift) / scale).float(), shift[:, :, None], scale[:, :, None]
