"""Forecasters that are saved and loaded, those of training runs too."""

from dataclasses import FrozenInstanceError

import numpy as np
import pandas
import pytest

import metamixer
from metamixer.checkpoints.ours import network_info, save_network
from metamixer.errors import InputError
from metamixer.predictors.forecasting.forecaster import Forecaster
from small_forecasters import LONG_ENOUGH, SMALL, fit, fitted_once, values
from tables import NAMES, to_long, wide


@pytest.fixture(scope="module")
def table():
    return wide(LONG_ENOUGH)


@pytest.fixture(scope="module")
def fitted():
    return fitted_once()


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


def test_saved_files_are_readable_by_the_group(fitted, tmp_path):
    fitted.save(tmp_path / "forecaster.safetensors")
    (tmp_path / "other").touch()
    assert (tmp_path / "forecaster.safetensors").stat().st_mode == (tmp_path / "other").stat().st_mode


def save_run(path):
    """The network of a training run, whose file has no frequency: it comes from each table."""
    args = {"variables": 3, "lookback": 48, "horizon": 12, **SMALL["model_args"]}
    scaling = {"mean": [0.0] * 3, "std": [1.0] * 3}
    kept = {"names": list(NAMES), "time": "date", "scaling": scaling}
    info = network_info("ffnet_ts", args, task="forecasting", preprocessing=kept)
    save_network(metamixer.create_model("ffnet_ts", **args).eval(), info, path)
    return path


def test_predicting_changes_no_forecaster(tmp_path):
    forecaster = Forecaster.load(save_run(tmp_path / "run.safetensors"))
    before = forecaster.fitted
    for frequency in ("D", "h"):
        history = wide(60, frequency)
        dates = forecaster.predict(history)["date"]
        assert (dates - history["date"].iloc[-1] == pandas.Timedelta(1, frequency) * np.arange(1, 13)).all()
    assert forecaster.fitted is before
    with pytest.raises(FrozenInstanceError):
        forecaster.fitted.frequency = None


def test_the_forecaster_of_a_training_run_can_be_saved(table, tmp_path):
    forecaster = Forecaster.load(save_run(tmp_path / "run.safetensors"))
    forecaster.save(tmp_path / "kept.safetensors")
    pandas.testing.assert_frame_equal(
        Forecaster.load(tmp_path / "kept.safetensors").predict(table), forecaster.predict(table)
    )


def test_takes_the_numbers_of_numpy(table, tmp_path):
    forecaster = fit(table, np.int64(12), lookback=np.int64(48), levels=np.array([80, 95]))
    forecaster.save(tmp_path / "forecaster.safetensors")
    assert Forecaster.load(tmp_path / "forecaster.safetensors").levels == (80, 95)
    assert Forecaster(levels=(level for level in (80, 95))).levels == (80, 95)


def test_a_forecaster_of_long_tables_can_learn_a_wide_one(table, tmp_path):
    fit(to_long(table)).save(tmp_path / "long.safetensors")
    loaded = Forecaster.load(tmp_path / "long.safetensors")
    loaded.training = SMALL["training"]
    assert "load" in loaded.fit(table).predict()


def test_saving_what_has_learned_nothing_says_so(tmp_path):
    with pytest.raises(InputError, match="not fitted: call fit"):
        Forecaster().save(tmp_path / "x.safetensors")
