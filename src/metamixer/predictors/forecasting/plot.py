"""Plot of a forecast: the last rows of each series, the forecast, and the intervals."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.series.frames import LONG, Layout
from ...data.series.tables import Series
from ...drawing.figures import new_figure, save_figure
from ...errors import InputError
from .forecaster import Forecaster

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

MOST_SERIES = 12


def draw_forecast(table: Any, forecast: Any, forecaster: Forecaster, out: Path) -> None:
    """Write `forecast_figure` to a file."""
    save_figure(forecast_figure(table, forecast, forecaster), out)


def forecast_figure(table: Any, forecast: Any, forecaster: Forecaster) -> "Figure":
    """Draw the series of a table with their forecast from `Forecaster.predict`, a pandas table.

    A dashed line is a backtest: the forecast of the last rows, which `fit` holds out, from the rows before them. Only
    the first 12 series are drawn; the title says so.
    """
    with warnings.catch_warnings(action="ignore"):  # `predict` has warned of missing rows
        history, layout = forecaster.read_history(table)
    times = forecaster.frequency_of(history).after(history.times[-1], forecaster.horizon)
    backtest = forecast_of_last_rows(history, layout, forecaster)
    history = history.rows(-2 * max(forecaster.horizon, forecaster.lookback))
    clock = "UTC" if layout.zone and not layout.local else ""
    names, forecast, bands = history.names[:MOST_SERIES], forecast.rename(columns=str), bands_of(forecaster)
    columns = 1 if len(names) == 1 else 2
    rows = -(-len(names) // columns)
    figure = new_figure(figsize=(6.5 * columns, 2.1 * rows + 0.6), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat[len(names) :]:
        axis.axis("off")
    for axis, name in zip(axes.flat, names, strict=False):
        one = forecast[forecast[LONG[0]].astype(str) == name] if layout.long else forecast
        prefix = forecaster.column if layout.long else name
        axis.plot(history.times, history.values[:, history.names.index(name)], color="0.35", linewidth=1)
        for (label, *ends), shade in zip(bands, _shades(len(bands)), strict=True):
            axis.fill_between(times, *(one[f"{prefix}-{end}"] for end in ends), color=shade, linewidth=0, label=label)
        axis.plot(times, one[prefix], color="tab:blue", linewidth=1.4)
        if backtest is not None:
            dates, known = backtest
            known = known[known[LONG[0]].astype(str) == name] if layout.long else known
            style = {"color": "tab:orange", "linestyle": "--", "linewidth": 1.2, "label": "backtest"}
            axis.plot(dates, known[prefix], **style)
        axis.axvline(history.times[-1], color="0.7", linewidth=0.8)
        axis.set_title(name, fontsize=10, loc="left")
        axis.set_xlabel(clock, fontsize=8)
        axis.tick_params(labelsize=8)
        axis.xaxis.set_major_formatter(_dates(axis.xaxis.get_major_locator()))
    if bands or backtest is not None:
        axes.flat[0].legend(frameon=False, fontsize=8)
    shown = f", {len(names)} of {len(history.names)} series" if len(names) < len(history.names) else ""
    whole_days = (history.times == history.times.astype("datetime64[D]")).all()
    last = np.datetime_as_string(history.times[-1], unit="D" if whole_days else "m").replace("T", " ")
    last = last if whole_days else f"{last} {clock}".rstrip()
    figure.suptitle(f"{forecaster.horizon} steps after {last}{shown}")
    return figure


def forecast_of_last_rows(
    history: Series, layout: Layout, forecaster: Forecaster
) -> tuple[np.ndarray, "pandas.DataFrame"] | None:
    """Dates and forecast of the last `horizon` rows from the rows before them; None if there are too few."""
    before = history.rows(0, max(len(history) - forecaster.horizon, 0))
    if len(before) < forecaster.horizon:
        return None
    try:
        with warnings.catch_warnings(action="ignore"):
            forecast = forecaster.predict_series(before, replace(layout, library="pandas"))
    except InputError:  # too few rows, or a gap that only `fit` fills
        return None
    return history.times[len(before) :], forecast.rename(columns=str)


def bands_of(forecaster: Forecaster) -> list[tuple[str, str, str]]:
    """Label, lower and upper column of each interval and each pair of quantiles, the widest first."""
    bands = [(level, f"{level:g} %", f"lo-{level:g}", f"hi-{level:g}") for level in forecaster.levels]
    quantiles = sorted(100 * quantile for quantile in forecaster.extra_quantiles)
    for low, high in zip(quantiles[: len(quantiles) // 2], reversed(quantiles), strict=False):
        bands.append((high - low, f"{low:g} to {high:g} %", f"q-{low:g}", f"q-{high:g}"))
    return [(label, low, high) for _, label, low, high in sorted(bands, reverse=True)]


def _shades(count: int) -> list[tuple[float, ...]]:
    """Blues for intervals, the lightest first, for the widest."""
    from matplotlib import colormaps

    blues = colormaps["Blues"]
    return [blues(0.2 + 0.35 * i / max(count - 1, 1)) for i in range(count)]


def _dates(locator):
    from matplotlib.dates import ConciseDateFormatter

    return ConciseDateFormatter(locator)
