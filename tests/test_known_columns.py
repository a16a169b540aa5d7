"""Columns known in the future: they help where they explain a series, and are left out where they don't."""

import warnings

import numpy as np
import pandas
import pytest

from metamixer import Forecaster
from metamixer.cli import main
from metamixer.errors import InputError, InputWarning
from metamixer.predictors.forecasting.known_columns import ridge_effects

ROWS, HORIZON = 96, 12


def tables(effect=30.0):
    """A table with a known column, which has the future, and the future of the series."""
    random = np.random.default_rng(3)
    known = (random.random(ROWS + HORIZON) < 0.3) * 1.0
    values = 50 + random.normal(size=ROWS + HORIZON) + effect * known
    dates = pandas.date_range("2024-01-01", periods=ROWS + HORIZON)
    table = pandas.DataFrame({"date": dates, "sales": values, "promotion": known})
    return table.assign(sales=table["sales"].where(table.index < ROWS)), values[ROWS:]


def test_an_effect_of_a_known_column_is_forecast():
    table, future = tables()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        forecast = Forecaster(known=["promotion"], levels=(80,)).predict(table)
    assert list(forecast.columns) == ["date", "sales", "sales-lo-80", "sales-hi-80"]
    assert forecast["date"].tolist() == table["date"].tolist()[ROWS:]
    without = Forecaster(HORIZON).predict(table[["date", "sales"]].iloc[:ROWS])
    error, plain = (np.abs(one["sales"] - future).mean() for one in (forecast, without))
    assert error < 2 < plain


def test_a_column_that_doesnt_help_is_left_out():
    table, _ = tables(effect=0.0)
    table["promotion"] = np.random.default_rng(5).normal(size=len(table)).cumsum()
    table["sales"] += 20 * np.sin(np.arange(len(table)) / 7 * 2 * np.pi)
    with pytest.warns(InputWarning, match="'sales': forecast without the known columns"):
        forecast = Forecaster(known=["promotion"]).predict(table)
    without = Forecaster(HORIZON).predict(table[["date", "sales"]].iloc[:ROWS])
    pandas.testing.assert_frame_equal(forecast, without)


@pytest.mark.parametrize("factor", [1e300, 1e-300])
def test_effects_of_extreme_values_are_finite(factor):
    known = np.array([[0.0, np.nan, 7.0], [1.0, 2.0, 7.0], [0.0, 3.0, 7.0], [1.0, 4.0, 7.0]]) * factor
    values = np.array([[1.0], [np.nan], [-1.0]]) * factor
    assert np.isfinite(ridge_effects(values, known)).all()


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda table: table, {"known": ["price"]}, "known 'price', expected columns of the table"),
        (lambda table: table, {"known": "promotion"}, "known 'promotion', expected distinct names"),
        (lambda table: table, {"known": ["promotion", "sales"]}, "every column of the table, expected one to forecast"),
        (lambda table: table.iloc[:-3], {"horizon": HORIZON}, "9 rows after the last value of the others, expected"),
        (lambda table: table.replace({"promotion": {0.0: np.nan}}), {}, "no value, expected a number: it is known"),
        (
            lambda table: table.rename(columns={"date": "ds", "sales": "y"}).assign(unique_id="a"),
            {},
            "with a long table, expected a wide one",
        ),
    ],
)
def test_one_clear_line(change, options, message):
    with warnings.catch_warnings(action="ignore"), pytest.raises(InputError, match=message) as error:
        Forecaster(**{"known": ["promotion"], **options}).predict(change(tables()[0]))
    assert "\n" not in str(error.value)


def test_training_refuses_known_columns():
    with pytest.raises(InputError, match="known 'promotion' with training"):
        Forecaster(known=["promotion"]).fit(tables()[0])


def test_the_command(tmp_path):
    tables()[0].to_csv(tmp_path / "table.csv", index=False)
    out, plot = tmp_path / "forecast.csv", tmp_path / "forecast.png"
    command = ["forecast", str(tmp_path / "table.csv"), "--known", "promotion", "--out", str(out), "--plot", str(plot)]
    assert main(command) == 0
    assert out.read_text().startswith("date,sales\n")
    assert len(out.read_text().splitlines()) == HORIZON + 1
    assert plot.exists()
