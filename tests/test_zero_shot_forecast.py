import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from metamixer import Forecaster
from metamixer.cli import main
from metamixer.errors import InputError, InputWarning

pandas = pytest.importorskip("pandas")

from metamixer.data.series.frames import read_frame  # noqa: E402
from metamixer.predictors.forecasting.zero_shot import forecast_series, quantile, seasons_of  # noqa: E402

ROWS = 120
SEASON = np.sin(np.arange(ROWS + 12) / 12 * 2 * np.pi)


def zero_shot_forecast(table, horizon, **options):
    """The next steps of a table as it is, without the missing rows that `Forecaster` adds."""
    return forecast_series(*read_frame(table), horizon, **options)


def table(values, frequency="MS", start="2010-01-01"):
    return pandas.DataFrame({"date": pandas.date_range(start, periods=len(values), freq=frequency), "x": values})


def test_a_season_is_forecast_without_training():
    values = 50 + 10 * SEASON
    forecast = zero_shot_forecast(table(values[:ROWS]), 12, levels=(80, 95), quantiles=(0.25,))
    assert list(forecast.columns) == ["date", "x", "x-lo-80", "x-hi-80", "x-lo-95", "x-hi-95", "x-q-25"]
    assert forecast["date"].iloc[0] == pandas.Timestamp("2020-01-01")
    assert np.abs(forecast["x"] - values[ROWS:]).mean() < 2.5
    assert (forecast["x-lo-95"] <= forecast["x-lo-80"]).all() and (forecast["x-lo-80"] <= forecast["x-q-25"]).all()


def test_shift_scale_and_sign_carry_over():
    values = np.random.default_rng(0).normal(size=ROWS).cumsum() ** 2
    plain = zero_shot_forecast(table(values), 12, levels=(80,))
    other = zero_shot_forecast(table(-3e6 * values + 7e6), 12, levels=(80,))
    size = 3e6 * np.ptp(values)
    np.testing.assert_allclose(other["x"], -3e6 * plain["x"] + 7e6, atol=1e-4 * size)
    np.testing.assert_allclose(other["x-lo-80"], -3e6 * plain["x-hi-80"] + 7e6, atol=1e-4 * size)


def test_a_series_is_forecast_alone():
    chance = np.random.default_rng(1)
    wide = table(chance.normal(size=ROWS)).assign(y=chance.normal(size=ROWS).cumsum(), z=10 * SEASON[:ROWS])
    together = zero_shot_forecast(wide, 12)
    alone = zero_shot_forecast(wide[["date", "y"]], 12)
    np.testing.assert_allclose(together["y"], alone["y"], rtol=1e-4, atol=1e-4)


def test_a_series_that_begins_later_than_others_is_forecast_as_alone():
    values = np.random.default_rng(2).normal(size=ROWS).cumsum()
    late = np.where(np.arange(ROWS) < 70, np.nan, values)
    together = zero_shot_forecast(table(values).assign(late=late), 12)
    alone = zero_shot_forecast(table(values[70:], start="2015-11-01"), 12)
    np.testing.assert_allclose(together["late"], alone["x"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("missing", [0, 256, 512])
def test_a_series_that_ended_is_forecast_across_the_missing_rows(missing):
    """Contexts without values were averaged as zeros: a constant of 100 was forecast as 50 or 0."""
    noisy = 100 + np.random.default_rng(3).normal(size=700)
    whole = table(noisy, "D").assign(constant=100.0)
    ended = whole.assign(other=noisy)
    ended.loc[700 - missing :, ["x", "constant"]] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)
        together = zero_shot_forecast(ended, 3, levels=(80,))
        alone = zero_shot_forecast(whole.iloc[: 700 - missing], missing + 3, levels=(80,)).drop(columns="date")
    np.testing.assert_allclose(together[alone.columns], alone.iloc[missing:], rtol=1e-4)
    np.testing.assert_allclose(together["constant"], 100)
    np.testing.assert_allclose(together["x"], 100, atol=1)


def test_a_series_that_ended_long_ago_has_no_forecast():
    values = 100 + np.random.default_rng(3).normal(size=1100)
    ended, longer = (np.where(np.arange(1100) < end, values, np.nan) for end in (75, 76))
    wide = table(values, "D").assign(ended=ended, longer=longer)
    with pytest.warns(InputWarning) as caught:
        forecast = zero_shot_forecast(wide, 3, levels=(80,))
    assert forecast[["ended", "ended-lo-80", "ended-hi-80"]].isna().all(axis=None)
    np.testing.assert_allclose(forecast["longer"], 100, atol=1)
    assert [str(warning.message) for warning in caught] == [
        "column 'longer' ends at 2010-03-17; all forecasts begin after 2013-01-04, the last date of the table",
        "column 'ended' ends at 2010-03-16; no forecast (NaN), expected a value in the 1,025 rows up to 2013-01-04, "
        "the last date of the table",
    ]


def test_a_value_every_300_rows():
    values = np.full(1300, np.nan)
    values[::300] = 100
    with pytest.warns(InputWarning, match="the forecast repeats the value"):
        forecast = zero_shot_forecast(table(values, "D"), 3)
    np.testing.assert_allclose(forecast["x"], 100)


def test_long_tables_of_polars():
    polars = pytest.importorskip("polars")
    days = pandas.date_range("2024-01-01", periods=40).to_numpy()
    long = polars.DataFrame({"unique_id": ["a"] * 40 + ["b"] * 40, "ds": np.tile(days, 2), "y": np.arange(80.0)})
    forecast = zero_shot_forecast(long, 5, levels=(80,))
    assert forecast.shape == (10, 5)
    assert forecast["unique_id"].to_list() == ["a"] * 5 + ["b"] * 5


def test_missing_values_are_not_filled():
    values = 50 + 10 * SEASON[:ROWS]
    values[[3, 40, 41, ROWS - 2]] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        forecast = zero_shot_forecast(table(values), 12)
    assert np.isfinite(forecast["x"]).all()


@pytest.mark.parametrize("horizon", [1, 17, 129, 400])
def test_any_horizon(horizon):
    forecast = zero_shot_forecast(table(50 + SEASON[:ROWS], "h"), horizon, levels=(80,))
    assert len(forecast) == horizon
    assert np.isfinite(forecast[["x", "x-lo-80", "x-hi-80"]].to_numpy()).all()


def test_positive():
    counts = (np.random.default_rng(0).random(ROWS) < 0.1) * 3.0
    forecast = zero_shot_forecast(table(counts), 12, levels=(95,), positive=True)
    assert (forecast[["x", "x-lo-95"]] >= 0).all(axis=None)


@pytest.mark.parametrize(
    "values", [[1e30, 1e-30] * 20, [1e300, -1e300] * 20, list(range(9)), [1.0, 2.0] + [np.nan] * 30 + [5.0]]
)
def test_extreme_values_give_finite_numbers(values):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)
        forecast = zero_shot_forecast(table(values, "D"), 3, levels=(80,))
    assert np.isfinite(forecast[["x", "x-lo-80", "x-hi-80"]].to_numpy()).all()


@pytest.mark.parametrize(
    ("values", "warning"), [([5.0] * 30, "at every date"), ([1.0, 2.0, 4.0], "for a useful forecast")]
)
def test_a_warning_for_few_values(values, warning):
    with pytest.warns(InputWarning, match=warning):
        forecast = zero_shot_forecast(table(values, "D"), 3, levels=(80,))
    assert np.isfinite(forecast["x"]).all()
    assert (forecast["x-lo-80"] < forecast["x-hi-80"]).all()


@pytest.mark.parametrize(
    ("values", "horizon", "message"),
    [
        ([1.0], 3, "at least 3"),
        ([np.nan] * 30, 3, "no value"),
        ([1.0] * 10 + [np.inf], 3, "row 11"),
        ([1.0] * 10 + [1e308], 3, r"row 11 .*: 1e\+308, expected at most 1e\+300"),
        ([1.0, 2.0] * 20, 10_001, "from 1 to 10000"),
    ],
)
def test_one_clear_line(values, horizon, message):
    with pytest.raises(InputError, match=message) as error:
        zero_shot_forecast(table(values, "D"), horizon)
    assert "\n" not in str(error.value)


def test_quantiles_between_and_beyond_the_deciles():
    deciles = np.array([[[-1.2816], [-0.8416], [-0.5244], [-0.2533], [0.0], [0.2533], [0.5244], [0.8416], [1.2816]]])
    for level, score in ((0.025, -1.96), (0.1, -1.2816), (0.25, -0.6745), (0.5, 0.0), (0.975, 1.96)):
        assert quantile(deciles, level)[0, 0] == pytest.approx(score, abs=1e-3)


@pytest.mark.parametrize(
    ("frequency", "seasons"), [("h", (24, 168)), ("15min", (96, 672)), ("D", (7,)), ("W", (52,)), ("MS", (12,))]
)
def test_the_seasons_of_a_calendar(frequency, seasons):
    from metamixer.data.series.frequency import Frequency

    time = pandas.Timestamp("2024-01-01").to_numpy().astype("datetime64[us]")
    assert seasons_of(Frequency(frequency), time) == seasons


def test_the_network_of_an_exported_file_forecasts_no_table():
    """It takes neither seasons nor a horizon; the message blamed the table."""
    with pytest.raises(InputError, match="an exported file, which has no inputs for season and horizon, expected the"):
        Forecaster.of(lambda series: series, {"task": "zero_shot_forecasting", "preprocessing": {}})


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("ffnet_ts_zero", "metamixer.load_exported('net.pt2') in Python"),
        ("ffnet_nano", "metamixer predict INPUT --checkpoint net.pt2"),
    ],
)
def test_export_proposes_what_runs_the_file(model, said, monkeypatch, capsys):
    report = SimpleNamespace(to_dict=dict)
    monkeypatch.setattr("metamixer.deployment.exporting.export", lambda network, out, **how: report)
    assert main(["export", model, "--format", "torch", "--out", "net.pt2"]) == 0
    assert capsys.readouterr().out.endswith(f"next: {said}\n")


def test_a_forecaster_forecasts_before_it_learns():
    values = table(50 + 10 * SEASON[:ROWS])
    forecast = Forecaster(12, levels=(80,)).predict(values)
    pandas.testing.assert_frame_equal(forecast, zero_shot_forecast(values, 12, levels=(80,)))
    with pytest.raises(InputError, match="or pass a table to predict"):
        Forecaster(12).predict()
