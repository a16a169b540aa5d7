"""The lookback of a forecaster from scratch, if none is given."""

import pytest

from metamixer.data.series.splits import lookback_for
from metamixer.predictors.forecasting.forecaster import Forecaster, Training
from tables import wide


@pytest.mark.parametrize(
    ("rows", "horizon", "season", "lookback"),
    [
        (5000, 96, 24, 96),
        (5000, 96, 96, 192),
        (9000, 60, 1440, 336),
        (144, 12, 12, 96),
        (100, 12, 12, 64),
        (9, 6, 1, 8),
    ],
)
def test_the_lookback_follows_season_and_length(rows, horizon, season, lookback):
    assert lookback_for(rows, horizon, season) == lookback


def test_a_short_table_is_enough_without_a_lookback(tmp_path):
    forecaster = Forecaster(12, train="scratch", training=Training(steps=4, checks=1)).fit(wide(80))
    forecaster.save(tmp_path / "forecaster.safetensors")
    later = Forecaster.load(tmp_path / "forecaster.safetensors")
    assert later.lookback == forecaster.lookback == 80 - 3 * 12
    assert len(later.predict(wide(80))) == 12
