"""The forecaster, from tables to tables of the future, with small networks and daily waves."""

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas
import polars
import pytest
import torch

from metamixer.cli import main
from metamixer.errors import InputError
from metamixer.predictors.forecasting.forecast import Forecast
from metamixer.predictors.forecasting.forecaster import Training
from metamixer.predictors.forecasting.plot import draw_forecast
from metamixer.tasks import Forecasting, Optimization
from metamixer.training.embedded import trainer_place
from small_forecasters import LONG_ENOUGH, fit, fitted_once, values
from tables import NAMES, to_long, wide


@pytest.fixture(scope="module")
def table():
    return wide(LONG_ENOUGH)


@pytest.fixture(scope="module")
def fitted():
    return fitted_once()


def test_learns_the_waves_and_beats_seasonal_naive(table, fitted):
    forecast = fitted.predict()
    whole = wide(LONG_ENOUGH + 12)
    assert forecast["date"].tolist() == whole["date"].tolist()[LONG_ENOUGH:]
    error = np.abs(values(forecast) - whole[list(NAMES)].to_numpy()[LONG_ENOUGH:]).mean()
    assert error < 0.5
    report = fitted.backtest()
    assert report.season == 24
    assert report.windows == 29
    assert max(report.mae) < 0.5
    assert "seasonal-naive (24 steps)" in str(report)
    for level, share in report.coverage.items():
        assert abs(share - level / 100) < 0.25


def test_the_seed_determines_everything_and_the_callers_generator_is_untouched(table, fitted):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    again = fit(table, levels=(50, 90))
    assert torch.equal(torch.get_rng_state(), before)
    pandas.testing.assert_frame_equal(again.predict(), fitted.predict())


def test_intervals_hold_the_forecast_and_grow_with_the_level(fitted):
    forecast = fitted.predict()
    for name in NAMES:
        columns = [f"{name}-lo-90", f"{name}-lo-50", name, f"{name}-hi-50", f"{name}-hi-90"]
        assert (np.diff(forecast[columns].to_numpy(), axis=1) >= 0).all()


def test_scaling_and_shifting_the_table_scales_and_shifts_the_forecast(table, fitted):
    other = table.copy()
    other[list(NAMES)] = other[list(NAMES)] * [2, 10, 0.5] + [100, -50, 7]
    np.testing.assert_allclose(
        values(fit(other).predict()), values(fitted.predict()) * [2, 10, 0.5] + [100, -50, 7], rtol=1e-3, atol=1e-2
    )


def test_no_later_row_leaks_into_a_forecast(table, fitted):
    """Neither into a forecast from an earlier row, nor through scaling and training into the network that is tested."""
    assert fitted.predict(table.iloc[:300])["date"].iloc[0] == table["date"].iloc[300]
    other = table.copy()
    other.loc[other.index >= 361, list(NAMES)] += 1000.0
    blind = fit(other, levels=(50, 90))
    assert blind.fitted.scaling == fitted.fitted.scaling and blind.quantiles == fitted.quantiles
    tested, same = fitted.fitted.table.network.state_dict(), blind.fitted.table.network.state_dict()
    assert all(torch.equal(value, same[name]) for name, value in tested.items())


def test_the_forecast_has_learned_from_every_row(table):
    """Of a season that appears in the held-out rows alone, the network that is tested knows nothing."""
    other = table.copy()
    other.loc[other.index >= 361, list(NAMES)] += np.tile([[40.0], [-40.0]], (len(other), 1))[: len(other) - 361]
    forecaster = fit(other)
    history = forecaster.fitted.history()[0].rows(-48 - 12)
    past, future = forecaster.fitted.scaling.apply(history.values).split([48, 12])
    final, tested = (
        forecaster.forecast_windows(past[None], network=network)[0]
        for network in (None, forecaster.fitted.table.network)
    )
    assert (final - future).abs().mean() < (tested - future).abs().mean()


def test_the_order_of_columns_does_not_matter(table, fitted):
    shuffled = table[["price", "load", "date", "wind"]]
    pandas.testing.assert_frame_equal(fitted.predict(shuffled), fitted.predict())


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_long_tables_come_back_long(table, library):
    long = to_long(table).sample(frac=1, random_state=0)
    frame = polars.DataFrame({name: long[name].to_list() for name in long}) if library == "polars" else long
    forecast = fit(frame, levels=(80,)).predict(frame)
    assert list(forecast.columns) == ["unique_id", "ds", "ffnet_ts", "ffnet_ts-lo-80", "ffnet_ts-hi-80"]
    assert len(forecast) == 3 * 12
    assert sorted(set(forecast["unique_id"].to_list())) == sorted(NAMES)


@pytest.mark.parametrize("library", [pandas, polars])
def test_no_cell_of_a_saved_forecast_is_a_formula(library, tmp_path):
    frame = library.DataFrame({"unique_id": ["=1+1", "a"], "@y": [-1.0, 2.0]})
    Forecast(frame, table=frame, forecaster=None).save(tmp_path / "forecast.csv")
    assert (tmp_path / "forecast.csv").read_text() == "unique_id,'@y\n'=1+1,-1.0\na,2.0\n"


def test_daily_dates_are_local_in_their_time_zone():
    """In Berlin, March 29, 2020 has 23 hours."""
    daily = wide(LONG_ENOUGH, "D", start="2019-03-01")
    expected = fit(daily).predict()["date"]
    zoned = daily.assign(date=daily["date"].dt.tz_localize("Europe/Berlin"))
    pandas.testing.assert_series_equal(fit(zoned).predict()["date"], expected.dt.tz_localize("Europe/Berlin"))
    pandas.testing.assert_series_equal(fit(zoned.astype({"date": str})).predict()["date"], expected)


def test_an_index_of_dates_is_the_column_of_dates(table, fitted):
    pandas.testing.assert_frame_equal(fitted.predict(table.set_index("date")), fitted.predict(table))


def test_fits_in_several_threads_equal_fits_in_one(table, fitted):
    before = torch.get_rng_state()
    with ThreadPoolExecutor(3) as pool:
        forecasts = list(pool.map(lambda _: fit(table, levels=(50, 90)).predict(), range(3)))
    assert torch.equal(torch.get_rng_state(), before)
    for forecast in forecasts:
        pandas.testing.assert_frame_equal(forecast, fitted.predict())


@pytest.mark.parametrize(("device", "place"), [("cpu", ("cpu", 1)), ("cuda", ("auto", 1)), ("cuda:1", ("auto", [1]))])
def test_trains_on_the_device_of_this_number(device, place):
    assert tuple(trainer_place(torch.device(device)).values()) == place


def test_the_learning_rate_warms_up_for_a_tenth_of_the_steps(table, monkeypatch):
    schedule = Optimization.scheduler

    def stop(self, *arguments, **settings):
        share = schedule(self, *arguments, **settings).lr_lambdas[0]
        raise InputError(f"full rate at step {next(step for step in range(120) if share(step) == 1)}")

    monkeypatch.setattr(Optimization, "scheduler", stop)
    with pytest.raises(InputError, match="full rate at step 12"):
        fit(table, training=Training(steps=120))


@pytest.mark.parametrize("hook", ["setup", "training_step"])
def test_an_interrupt_is_not_converted(hook, table, tmp_path, monkeypatch, capsys):
    def stop(self, *_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Forecasting, hook, stop)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit(table)
    assert signal.getsignal(signal.SIGINT) == handler, "a later interrupt is heard"
    table.to_csv(tmp_path / "table.csv", index=False)
    arguments = ["--train", "scratch", "--horizon", "12", "--out", str(tmp_path / "forecast.csv")]
    assert main(["forecast", str(tmp_path / "table.csv"), *arguments]) == 130
    assert capsys.readouterr().err == "metamixer: interrupted\n"


@pytest.mark.parametrize(("zone", "said"), [("UTC", True), ("Europe/Berlin", True), (None, False)])
def test_a_plot_states_if_its_hours_are_utc(zone, said, table, fitted, tmp_path):
    zoned = table.assign(date=table["date"].dt.tz_localize("UTC").dt.tz_convert(zone))
    draw_forecast(zoned, fitted.predict(zoned), fitted, tmp_path / "plot.svg")
    assert ("UTC" in (tmp_path / "plot.svg").read_text()) == said


def test_importing_metamixer_imports_no_pandas():
    code = "import sys, metamixer; sys.exit('pandas' in sys.modules or 'polars' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
