"""The forecaster, from tables to tables of the future, with small networks and daily waves."""

import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError

import numpy as np
import pandas
import polars
import pytest
import torch

import metamixer
from metamixer.checkpoints.ours import network_info, save_network
from metamixer.cli import main
from metamixer.errors import InputError
from metamixer.predictors.forecast import Forecast
from metamixer.predictors.forecast_plot import draw_forecast
from metamixer.predictors.forecaster import Forecaster, Training
from metamixer.tasks import Forecasting, Optimization
from metamixer.training.embedded import trainer_place
from tables import NAMES, to_long, wide

SMALL = {
    "lookback": 48,
    "model_args": {"dims": (16,), "kernel_sizes": (13,), "drop_rate": 0.1},
    "training": Training(steps=30, batch_size=32, lr=3e-3, checks=2, max_windows=64),
}
LONG_ENOUGH = 400


def fit(table, horizon=12, **settings):
    return Forecaster(horizon, **{**SMALL, **settings}).fit(table)


@pytest.fixture(scope="module")
def table():
    return wide(LONG_ENOUGH)


@pytest.fixture(scope="module")
def fitted(table):
    """Shared by the tests, so none may change it."""
    return fit(table, levels=(50, 90))


def values(forecast):
    return forecast[list(NAMES)].to_numpy()


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


def test_one_file_contains_everything(fitted, table, tmp_path):
    fitted.save(tmp_path / "forecaster.safetensors")
    loaded = Forecaster.load(tmp_path / "forecaster.safetensors")
    pandas.testing.assert_frame_equal(loaded.predict(table), fitted.predict())
    with pytest.raises(InputError, match="horizon 48, expected 12, the network's"):
        Forecaster.load(tmp_path / "forecaster.safetensors", horizon=48)
    with pytest.raises(InputError, match=r"predict\(\) needs a table"):
        loaded.predict()
    with pytest.raises(InputError, match="backtest needs a fitted table"):
        loaded.backtest()
    with pytest.raises(InputError, match=r"ends in \.safetensors"):
        fitted.save(tmp_path / "forecaster.pt")


def test_a_file_keeps_that_forecasts_are_positive(fitted, table, tmp_path):
    fitted.save(tmp_path / "any.safetensors")
    positive = Forecaster.load(tmp_path / "any.safetensors", positive=True)
    positive.save(tmp_path / "positive.safetensors")
    forecast = Forecaster.load(tmp_path / "positive.safetensors").predict(table)
    np.testing.assert_array_equal(values(forecast), values(fitted.predict()).clip(min=0))
    assert values(fitted.predict()).min() < 0
    free = Forecaster.load(tmp_path / "positive.safetensors", positive=False).predict(table)
    pandas.testing.assert_frame_equal(free, fitted.predict())


def test_missing_values_are_filled_in_fit_and_refused_in_predict(table, fitted):
    gaps = table.copy()
    gaps.loc[[100, 101, 395], "wind"] = np.nan
    with pytest.warns(UserWarning, match=r"3 missing values \(3 in 'wind'\) filled with the previous value"):
        forecaster = fit(gaps)
    assert np.isfinite(values(forecaster.predict())).all()
    with pytest.raises(InputError, match=r"column 'wind', row 396 \(.*\): no value, expected a number"):
        fitted.predict(gaps)


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


def test_daily_dates_are_local_in_their_time_zone():
    """In Berlin, March 29, 2020 has 23 hours."""
    daily = wide(LONG_ENOUGH, "D", start="2019-03-01")
    expected = fit(daily).predict()["date"]
    zoned = daily.assign(date=daily["date"].dt.tz_localize("Europe/Berlin"))
    pandas.testing.assert_series_equal(fit(zoned).predict()["date"], expected.dt.tz_localize("Europe/Berlin"))
    pandas.testing.assert_series_equal(fit(zoned.astype({"date": str})).predict()["date"], expected)


def test_misspelled_arguments_of_the_network_are_named(table):
    with pytest.raises(InputError, match=r"model 'ffnet_ts', model_args .*expansion_rate"):
        fit(table, model_args={"expansion_rate": 2})


def test_an_index_of_dates_is_the_column_of_dates(table, fitted):
    pandas.testing.assert_frame_equal(fitted.predict(table.set_index("date")), fitted.predict(table))


def test_too_few_windows_for_an_interval_are_warned_of():
    with pytest.warns(
        UserWarning, match="level 95: .* values of series 'load' for calibrating a step, expected at least 19"
    ):
        fit(wide(100), levels=(50, 95))


def test_sentinels_in_the_history_are_warned_of(table, fitted):
    with pytest.warns(UserWarning, match="column 'wind', row 396 .*: -9999 .* looks like a missing value"):
        fitted.predict(table.assign(wind=table["wind"].where(table.index != 395, -9999.0)))


def test_predicting_changes_no_forecaster(tmp_path):
    """A training run has no frequency: it comes from each table."""
    args = {"variables": 3, "lookback": 48, "horizon": 12, **SMALL["model_args"]}
    scaling = {"mean": [0.0] * 3, "std": [1.0] * 3}
    info = network_info(
        "ffnet_ts", args, task="forecasting", preprocessing={"names": list(NAMES), "time": "date", "scaling": scaling}
    )
    save_network(metamixer.create_model("ffnet_ts", **args).eval(), info, tmp_path / "run.safetensors")
    forecaster = Forecaster.load(tmp_path / "run.safetensors")
    before = forecaster.fitted
    for frequency in ("D", "h"):
        history = wide(60, frequency)
        dates = forecaster.predict(history)["date"]
        assert (dates - history["date"].iloc[-1] == pandas.Timedelta(1, frequency) * np.arange(1, 13)).all()
    assert forecaster.fitted is before
    with pytest.raises(FrozenInstanceError):
        forecaster.fitted.frequency = None


@pytest.mark.parametrize("attribute", ["fitted", "names", "quantiles"])
def test_a_forecaster_that_was_not_fitted_says_so(attribute):
    with pytest.raises(InputError, match="not fitted: call fit"):
        getattr(Forecaster(), attribute)


def test_the_forecaster_of_a_training_run_can_be_saved(table, tmp_path):
    args = {"variables": 3, "lookback": 48, "horizon": 12, **SMALL["model_args"]}
    network = metamixer.create_model("ffnet_ts", **args).eval()
    scaling = {"mean": [0.0] * 3, "std": [1.0] * 3}
    info = network_info(
        "ffnet_ts", args, task="forecasting", preprocessing={"names": list(NAMES), "time": "date", "scaling": scaling}
    )
    save_network(network, info, tmp_path / "run.safetensors")
    forecaster = Forecaster.load(tmp_path / "run.safetensors")
    forecaster.save(tmp_path / "kept.safetensors")
    pandas.testing.assert_frame_equal(
        Forecaster.load(tmp_path / "kept.safetensors").predict(table), forecaster.predict(table)
    )


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


def test_takes_the_numbers_of_numpy(table, tmp_path):
    forecaster = fit(table, np.int64(12), lookback=np.int64(48), levels=np.array([80, 95]))
    forecaster.save(tmp_path / "forecaster.safetensors")
    assert Forecaster.load(tmp_path / "forecaster.safetensors").levels == (80, 95)
    assert Forecaster(levels=(level for level in (80, 95))).levels == (80, 95)


def test_an_interval_bound_never_replaces_a_column(table):
    with pytest.raises(InputError, match="column 'load-lo-80': the name of an interval's bound of another column"):
        fit(table.rename(columns={"wind": "load-lo-80"}), levels=(80,))


def test_fits_in_several_threads_equal_fits_in_one(table, fitted):
    before = torch.get_rng_state()
    with ThreadPoolExecutor(3) as pool:
        forecasts = list(pool.map(lambda _: fit(table, levels=(50, 90)).predict(), range(3)))
    assert torch.equal(torch.get_rng_state(), before)
    for forecast in forecasts:
        pandas.testing.assert_frame_equal(forecast, fitted.predict())


def test_saved_files_are_readable_by_the_group(fitted, tmp_path):
    fitted.save(tmp_path / "forecaster.safetensors")
    (tmp_path / "other").touch()
    assert (tmp_path / "forecaster.safetensors").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_forecaster_of_long_tables_can_learn_a_wide_one(table, tmp_path):
    fit(to_long(table)).save(tmp_path / "long.safetensors")
    loaded = Forecaster.load(tmp_path / "long.safetensors")
    loaded.training = SMALL["training"]
    assert "load" in loaded.fit(table).predict()


def test_saving_what_has_learned_nothing_says_so(tmp_path):
    with pytest.raises(InputError, match="not fitted: call fit"):
        Forecaster().save(tmp_path / "x.safetensors")


def test_refuses_training_with_zero_steps():
    with pytest.raises(InputError, match="steps 0, expected an integer from 1 to 1000000"):
        Training(steps=0)


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
