"""Small forecasters of daily waves, trained from scratch in a second or two."""

from functools import cache

from metamixer.predictors.forecasting.forecaster import Forecaster, Training
from tables import NAMES, wide

SMALL = {
    "lookback": 48,
    "model_args": {"dims": (16,), "kernel_sizes": (13,), "drop_rate": 0.1},
    "training": Training(steps=30, batch_size=32, lr=3e-3, checks=2, max_windows=64),
}
LONG_ENOUGH = 400
"""Rows of a table that is long enough to train on."""


def fit(table, horizon=12, **settings):
    """A forecaster that was trained on a table."""
    return Forecaster(horizon, **{**SMALL, **settings}).fit(table)


@cache
def fitted_once():
    """The forecaster of the usual table, with intervals; shared by the tests, so none may change it."""
    return fit(wide(LONG_ENOUGH), levels=(50, 90))


def values(forecast):
    """The values of a wide forecast, (horizon, series)."""
    return forecast[list(NAMES)].to_numpy()
