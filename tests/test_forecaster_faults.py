"""What a forecaster refuses and warns of in tables and settings, and how it takes missing values."""

import re

import numpy as np
import polars
import pytest
import torch

from metamixer.errors import InputError
from metamixer.predictors.forecasting.forecaster import Forecaster, Training
from small_forecasters import LONG_ENOUGH, fit, fitted_once, values
from tables import NAMES, to_long, wide


@pytest.fixture(scope="module")
def table():
    return wide(LONG_ENOUGH)


@pytest.fixture(scope="module")
def fitted():
    return fitted_once()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.iloc[:83], "table of 83 dates, expected at least 84: lookback 48"),
        (lambda table: table.assign(wind=4.0), "column 'wind': 4 at all 320 training dates"),
        (lambda table: table.assign(wind=np.nan), "column 'wind': no value"),
        (lambda table: table.drop(index=7), "row 8: .* 02:00:00 after .*, expected 0 days 01:00:00"),
        (lambda table: table.iloc[::-1], "row 2: .* is before"),
        (lambda table: table.rename(columns={"date": "when"}).astype({"when": str}).iloc[:, ::-1], "no date column"),
        (
            lambda table: table.assign(when=table["date"]),
            "column 'when', row 1: .*, expected a number: a table has one column of dates",
        ),
        (
            lambda table: table.rename(columns={"wind": "load"}),
            "column 'load' occurs 2 times, expected every name once",
        ),
        (lambda table: polars.from_pandas(table).lazy(), r"LazyFrame, expected a DataFrame: call collect\(\)"),
        (
            lambda table: to_long(table).assign(unique_id=[None, *["x"] * (3 * len(table) - 1)]),
            "column 'unique_id', row 1: no value",
        ),
        (
            lambda table: wide(LONG_ENOUGH, "B").drop(index=100),
            "row 101: .* expected .* at the frequency B: fill the gap with rows",
        ),
    ],
)
def test_fit_says_what_is_wrong_with_a_table(table, change, message):
    with pytest.raises(InputError, match=message):
        fit(change(table), fill_gaps=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.iloc[:47], "table of 47 dates, expected at least 48, the lookback"),
        (lambda table: table.drop(columns="wind"), "series wind missing, none unknown"),
        (lambda table: table.drop(index=390), "column 'load', 2020-02-16 04:00:00: no value, expected a number"),
        (lambda table: table.drop(index=list(range(20, 400, 2))), r"row \d+: .* at the frequency h"),
    ],
)
def test_predict_says_what_is_wrong_with_a_table(table, fitted, change, message):
    with pytest.raises(InputError, match=message):
        fitted.predict(change(table))


@pytest.mark.parametrize(("rows", "horizon", "lookback"), [(410, 24, 336), (84, 12, 48)])
def test_a_table_as_long_as_the_message_asks_for_is_enough(rows, horizon, lookback):
    assert len(fit(wide(rows), horizon, lookback=lookback).predict()) == horizon


def test_an_interval_bound_never_replaces_a_column(table):
    with pytest.raises(InputError, match="column 'load-lo-80': the name of an interval's bound of another column"):
        fit(table.rename(columns={"wind": "load-lo-80"}), levels=(80,))


def test_too_few_windows_for_an_interval_are_warned_of():
    with pytest.warns(
        UserWarning, match="level 95: .* values of series 'load' for calibrating a step, expected at least 19"
    ):
        fit(wide(100), levels=(50, 95))


def test_sentinels_in_the_history_are_warned_of(table, fitted):
    with pytest.warns(UserWarning, match="column 'wind', row 396 .*: -9999 .* looks like a missing value"):
        fitted.predict(table.assign(wind=table["wind"].where(table.index != 395, -9999.0)))


def test_missing_values_are_filled_in_fit_and_refused_in_predict(table, fitted):
    gaps = table.copy()
    gaps.loc[[100, 101, 395], "wind"] = np.nan
    with pytest.warns(UserWarning, match=r"3 missing values \(3 in 'wind'\) filled with the previous value"):
        forecaster = fit(gaps)
    assert np.isfinite(values(forecaster.predict())).all()
    with pytest.raises(InputError, match=r"column 'wind', row 396 \(.*\): no value, expected a number"):
        fitted.predict(gaps)


def test_a_series_without_values_to_validate_on_has_no_interval_and_one_without_any_no_error(tmp_path):
    gaps = wide(LONG_ENOUGH)
    gaps.loc[320:359, "wind"] = gaps.loc[360:, "price"] = np.nan
    with pytest.warns(UserWarning, match=r"series 'wind' \(1 such series\): no value in the calibration rows"):
        forecaster = fit(gaps, levels=(50,))
    forecast = forecaster.predict()
    assert forecast[["wind-lo-50", "wind-hi-50"]].isna().all(axis=None)
    assert forecast[["load-lo-50", "load-hi-50", "wind", "price"]].notna().all(axis=None)
    forecaster.save(tmp_path / "forecaster.safetensors")
    kept = Forecaster.load(tmp_path / "forecaster.safetensors").predict(wide(LONG_ENOUGH))
    assert kept[["wind-lo-50", "wind-hi-50"]].isna().all(axis=None) and kept["load-lo-50"].notna().all()
    report = forecaster.backtest()
    assert np.isfinite([*report.mae[:2], report.skill, report.coverage[50]]).all()
    assert re.search(r"^price +no values$", str(report), re.MULTILINE)
    gaps.loc[320:359, list(NAMES)] = np.nan
    with pytest.raises(InputError, match=r"no value from .*, expected some: they select the best weights"):
        fit(gaps)


def test_a_backtest_ignores_filled_values():
    """Noise with one value per day: interpolation to the next value would leak the future into a window."""
    sparse = wide(1200)
    sparse.loc[np.arange(1200) % 24 > 0, list(NAMES)] = np.nan
    sparse.loc[::24, list(NAMES)] = np.random.default_rng(0).standard_normal((50, 3))
    with pytest.warns(UserWarning, match="3450 missing values"):
        forecaster = fit(sparse, 24, levels=(50,))
    report = forecaster.backtest()
    assert min(report.mae) > 0.5, "nothing can forecast noise"
    kept = forecaster.fitted.table
    held = kept.measured.rows(kept.borders[1])
    assert np.isfinite(held.values).sum() == 3 * 5
    margins = torch.tensor(forecaster.quantiles[50])
    assert margins.isfinite().all()


@pytest.mark.parametrize(
    "settings",
    [
        {"horizon": 0},
        {"horizon": 1.5},
        {"lookback": 0},
        {"levels": (120,)},
        {"levels": 80},
        {"levels": "80"},
        {"levels": (0.8,)},
        {"levels": (80, 80)},
        {"seed": 1.5},
    ],
)
def test_refuses_settings_that_do_not_fit(settings):
    with pytest.raises(InputError, match="expected"):
        Forecaster(**settings)


def test_misspelled_arguments_of_the_network_are_named(table):
    with pytest.raises(InputError, match=r"model 'ffnet_ts', model_args .*expansion_rate"):
        fit(table, model_args={"expansion_rate": 2})


def test_refuses_training_with_zero_steps():
    with pytest.raises(InputError, match="steps 0, expected an integer from 1 to 1000000"):
        Training(steps=0)


@pytest.mark.parametrize("attribute", ["fitted", "names", "quantiles"])
def test_a_forecaster_that_was_not_fitted_says_so(attribute):
    with pytest.raises(InputError, match="not fitted: call fit"):
        getattr(Forecaster(), attribute)
