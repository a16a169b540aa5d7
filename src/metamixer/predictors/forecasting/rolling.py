"""Zero-shot forecasts of many series: windows, batches, and horizons of any length."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from ...errors import at_least
from ...models.ffnet_ts.zero import KNOWN_SEASONS, QUANTILES, FFNetTSZero
from .quantiles import equally_likely, from_deciles

WINDOWS = {64: 32, 128: 64, 256: 128, 512: 512}
"""Steps of a window -> the longest horizon trained with it."""

PERSISTENT = 0.88
"""The std of the paths' normal scores: 1 if all of a block's error persisted, as in a random walk."""

LIKELY = from_deciles(equally_likely(len(QUANTILES)))
PATHS = from_deciles(PERSISTENT * equally_likely(len(QUANTILES)))
"""Weights of the deciles whose sums are nine equally likely values, and those that continue as paths, (9, 9)."""


class ZeroShot:
    """Quantile forecasts of single series.

    Args:
        network: the trained network.
        contexts: maximum numbers of steps to look back, the longest first; a series' forecasts from those it exceeds
            are averaged.
        batch_size: windows computed at once; bounds the memory.
        device: the device to compute on, such as "cpu" or "cuda".
    """

    def __init__(
        self, network: FFNetTSZero, *, contexts: Sequence[int] = (512, 256), batch_size: int = 256, device: str = "cpu"
    ):
        at_least("batch_size", batch_size, 1)
        self.network = network.eval().to(device)
        self.device = torch.device(device)
        self.contexts, self.batch_size = tuple(contexts), batch_size

    def forecast(self, series: Sequence[np.ndarray], horizon: int, *, seasons: Sequence[int] = ()) -> np.ndarray:
        """Forecast series of any length -> (N, quantiles, horizon).

        series: arrays (T,), NaN for missing values; seasons: at most two, in steps.
        """
        season = torch.tensor([*seasons, *[0] * (KNOWN_SEASONS - len(seasons))], device=self.device)
        forecasts = np.zeros((len(series), len(QUANTILES), horizon))
        series = [values[np.isfinite(values).argmax() :] for values in series]  # so that a later start changes nothing
        lengths = np.array([len(values) for values in series])
        for i, context in enumerate(self.contexts):
            seen = np.arange(len(series)) if i == 0 else np.flatnonzero(lengths > context)
            for length, rows in self._batches(seen, np.minimum(lengths[seen], context), horizon):
                windows, shift, scale = cut([series[row][-context:] for row in rows], length)
                forecast = self._roll(windows.to(self.device), horizon, season).double().cpu().numpy()
                forecasts[rows] += (forecast * scale + shift - forecasts[rows]) / (i + 1)
        return forecasts

    def _batches(self, rows: np.ndarray, lengths: np.ndarray, horizon: int) -> Iterator[tuple[int, np.ndarray]]:
        """Batches of windows of equal length, the shortest that fits series and horizon: (steps, rows)."""
        block = min(horizon, self.network.horizon, max(WINDOWS.values()))
        needed = np.array(
            [next(steps for steps, most in WINDOWS.items() if steps >= length and most >= block) for length in lengths]
        )
        for steps in WINDOWS:
            alike = rows[needed == steps]
            for start in range(0, len(alike), self.batch_size):
                yield steps, alike[start : start + self.batch_size]

    @torch.inference_mode()
    def _roll(self, windows: Tensor, horizon: int, season: Tensor) -> Tensor:
        """Forecast any horizon: beyond the network's, equally likely values continue as paths."""
        block = min(WINDOWS[windows.shape[1]], self.network.horizon)
        levels = torch.tensor(QUANTILES, device=windows.device)
        likely, kept = (torch.from_numpy(weights).to(windows) for weights in (LIKELY, PATHS))
        forecast = self._network(windows, min(horizon, block), season)
        while forecast.shape[2] < horizon:
            step = min(horizon - forecast.shape[2], block)
            paths = torch.cat([windows[:, None].expand(-1, len(QUANTILES), -1), kept @ forecast], 2)[
                :, :, -windows.shape[1] :
            ]
            ahead = likely @ self._network(paths.flatten(0, 1), step, season)
            ahead = ahead.unflatten(0, (-1, len(QUANTILES)))
            forecast = torch.cat([forecast, torch.quantile(ahead.flatten(1, 2), levels, dim=1).transpose(0, 1)], 2)
        return forecast

    def _network(self, windows: Tensor, horizon: int, season: Tensor) -> Tensor:
        return self.network(windows, season.expand(len(windows), -1), horizon)


def cut(series: Sequence[np.ndarray], length: int) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """Windows (B, length), NaN before the start, shifted by the last value and scaled to 1; both as (B, 1, 1)."""
    windows = np.full((len(series), length), np.nan)
    for window, values in zip(windows, series, strict=True):
        window[length - len(values) :] = values
    known = np.isfinite(windows)
    last = length - 1 - known[:, ::-1].argmax(1)
    shift = np.where(known.any(1), windows[np.arange(len(windows)), last], 0)[:, None]
    scale = np.where(known, np.abs(windows - shift), 0).max(1, keepdims=True)
    scale = np.where(scale > 0, scale, 1)
    return torch.from_numpy((windows - shift) / scale).float(), shift[:, :, None], scale[:, :, None]
