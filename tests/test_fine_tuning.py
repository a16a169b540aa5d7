"""Fine-tuning of the zero-shot forecaster on a table."""

from dataclasses import replace

import numpy as np
import pandas
import pytest
import torch

from metamixer import Forecaster
from metamixer.errors import InputError, InputWarning
from metamixer.predictors.forecasting.fine_tuning import CONTEXT, FineTuning, TableWindows, fine_tune, window_loss
from metamixer.predictors.forecasting.zero_shot import packaged_network

QUICK = FineTuning(steps=4, batch_size=8, checks=2, max_windows=16, lr=1e-3)


def sawtooth(rows=400, series=2, season=10):
    """Series that jump every `season` steps, with noise."""
    random = np.random.default_rng(0)
    return (np.arange(rows) % season)[:, None] * np.ones(series) + random.normal(0, 0.3, (rows, series))


def table(values):
    columns = {f"x{i}": column for i, column in enumerate(values.T)}
    return pandas.DataFrame({"date": pandas.date_range("2024-01-01", periods=len(values), freq="h"), **columns})


def test_windows_are_cut_where_there_is_something_to_learn():
    values = sawtooth(60, 2)
    values[20:, 1] = np.nan
    windows = TableWindows.between(values, 0, 60, 5, ())
    assert {column for column, _ in windows.places} == {0}  # the other has no future from row 32 on
    past, season, future = windows.batch(np.arange(3), torch.device("cpu"))
    assert past.shape == (3, CONTEXT) and season.shape == (3, 2) and future.shape == (3, 5)
    assert past[0].isnan().sum() == CONTEXT - 32


def test_no_row_after_the_border_is_trained_on():
    values = sawtooth()
    cut = values.copy()
    cut[300:] = 1e6
    networks = [
        fine_tune(packaged_network(), rows, 8, borders=(300, 350), settings=FineTuning(4, 8, checks=1, max_windows=4))
        for rows in (values, cut)
    ]
    assert networks[0].before != networks[1].before  # validation rows differ
    trained = TableWindows.between(values, 0, 300, 8, ())
    assert trained.places[:, 1].max() + 8 == 300


def test_a_missing_future_counts_nothing():
    network = packaged_network()
    past = torch.randn(2, CONTEXT).cumsum(1)
    future = torch.full((2, 8), torch.nan)
    median = network(past, torch.zeros(2, 2, dtype=torch.long), 8)[:, 4].detach()
    known = future.clone()
    known[:, 0] = median[:, 0]
    losses = [window_loss(network, (past, torch.zeros(2, 2, dtype=torch.long), f)).item() for f in (future, known)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_it_is_kept_only_if_validation_says_so_and_the_packaged_network_stays():
    before = {key: value.clone() for key, value in packaged_network().state_dict().items()}
    good = fine_tune(packaged_network(), sawtooth(), 8, borders=(300, 360), settings=QUICK)
    bad = fine_tune(packaged_network(), sawtooth(), 8, borders=(300, 360), settings=FineTuning(2, 8, lr=10.0, checks=1))
    assert good.kept == (good.after < good.before) and not bad.kept
    assert bad.network is packaged_network()
    assert all(torch.equal(value, before[key]) for key, value in packaged_network().state_dict().items())


def test_a_forecaster_fine_tunes_saves_and_loads(tmp_path):
    frame = table(sawtooth())
    forecaster = Forecaster(8, fine_tuning=QUICK, levels=(80,), quantiles=(0.25,), positive=True).fit(frame)
    forecast = forecaster.predict()
    assert {"x0", "x0-lo-80", "x0-hi-80", "x0-q-25"} <= set(forecast.columns)
    pandas.testing.assert_frame_equal(forecast, forecaster.predict(frame))
    forecaster.save(tmp_path / "tuned.safetensors")
    loaded = Forecaster.load(tmp_path / "tuned.safetensors")
    assert (loaded.horizon, loaded.levels) == (8, (80,))
    with pytest.raises(InputError, match="horizon 0, expected an integer from 1"):
        Forecaster.load(tmp_path / "tuned.safetensors", horizon=0)
    pandas.testing.assert_frame_equal(loaded.predict(frame), forecast)
    other = Forecaster.load(tmp_path / "tuned.safetensors", quantiles=(), positive=False).predict(frame)
    assert "x0-q-25" not in other and other["x0-lo-80"].min() < 0 == forecast["x0-lo-80"].min()


def test_a_second_fit_forgets_the_first(tmp_path):
    """Else the network of the backtest would have seen the rows held out."""
    frame, helpful = table(sawtooth()), replace(QUICK, lr=1e-4, steps=2, checks=1)
    forecaster = Forecaster(8, fine_tuning=helpful).fit(frame)
    first = forecaster.predict()
    assert forecaster.tuned.kept
    pandas.testing.assert_frame_equal(forecaster.fit(frame).predict(), first)
    forecaster.save(tmp_path / "tuned.safetensors")
    loaded = Forecaster.load(tmp_path / "tuned.safetensors", fine_tuning=helpful)
    assert loaded.fit(frame).tuned.before < forecaster.tuned.before  # from the loaded network


def test_the_backtest_compares_with_zero_shot_and_naive():
    report = Forecaster(8, fine_tuning=QUICK).fit(table(sawtooth())).backtest()
    assert len(report.zero_shot_mae) == 2 and all(np.isfinite(report.mase))
    assert np.allclose(np.divide(report.units_mae, report.mae), sawtooth()[:320].std(axis=0), rtol=1e-4)
    assert "zero-shot" in str(report)


def test_a_short_table_is_forecast_without_fine_tuning():
    with pytest.warns(InputWarning, match="too few to fine-tune on"):
        forecaster = Forecaster(4).fit(table(sawtooth(40)))
    assert not forecaster.tuned.kept
    assert len(forecaster.predict()) == 4
    with pytest.warns(InputWarning, match="too few to fine-tune on"):
        shorter = Forecaster(4).fit(table(sawtooth(11)))
    with pytest.raises(InputError, match="table of 11 dates, expected at least 12 for a backtest, three horizons"):
        shorter.backtest()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train": "twice"}, "train 'twice', expected one of finetune, scratch"),
        ({"train": "finetune", "lookback": 96}, "lookback with train finetune, expected it with train scratch only"),
        ({"train": "scratch", "quantiles": (0.1,)}, "with train scratch, expected levels"),
        ({"quantiles": (10,)}, "expected numbers between 0 and 1"),
    ],
)
def test_refuses_settings_that_do_not_fit(settings, message):
    with pytest.raises(InputError, match=message):
        Forecaster(12, **settings)
