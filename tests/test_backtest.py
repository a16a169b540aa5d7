"""Errors compared with a naive forecast, and intervals: only measured values count, missing ones are reported."""

import re

import numpy as np
import pytest
import torch

from metamixer.predictors.forecasting.backtest import Backtest, backtest, seasonal_naive
from metamixer.predictors.forecasting.intervals import absolute_quantiles, interval_margins, share_held


@pytest.mark.parametrize(("horizon", "expected"), [(7, [7, 8, 9, 7, 8, 9, 7]), (2, [7, 8])])
def test_seasonal_naive_repeats_the_last_season(horizon, expected):
    past = torch.arange(10.0)[None, :, None]
    assert seasonal_naive(past, 3, horizon)[0, :, 0].tolist() == expected


def test_seasonal_naive_copies_no_more_than_it_forecasts():
    assert seasonal_naive(torch.zeros(1, 86400, 1), 86400, 5).untyped_storage().nbytes() == 5 * 4


class TestBacktest:
    def test_missing_values_do_not_count(self):
        """Two series that grow by 1 and by 2 per step. Each row is forecast as the previous one; the second series has
        no values after row 12.
        """
        values = torch.arange(20.0)[:, None] * torch.tensor([1.0, 2.0])
        measured = values.clone()
        measured[12:, 1] = torch.nan
        report = backtest(
            values,
            lambda past: past[:, -1:],
            measured=measured,
            names=("one", "two"),
            start=12,
            lookback=4,
            horizon=1,
            season=3,
            quantiles={50: [[1.0, 1.0]], 80: [[torch.nan, 1.0]]},
            max_windows=100,
        )
        np.testing.assert_array_equal((report.mae, report.naive_mae), [(1, np.nan), (3, np.nan)])
        assert report.skill == pytest.approx(2 / 3)
        np.testing.assert_array_equal([*report.coverage.values()], [1, np.nan])
        assert (
            "two        no values\n50 % intervals cover 100.0% of the values\n80 % intervals weren't tested: no values"
            in str(report)
        )

    @pytest.mark.parametrize(
        ("season", "mae", "said"),
        [
            (24, 0.5, "50% better than seasonal-naive"),
            (24, 1.5, "50% worse: use seasonal-naive"),
            (24, 1.001, "no better than seasonal-naive: use seasonal-naive"),
            (1, 0.5, "50% better than last value"),
            (24, np.nan, "no values to compare with"),
        ],
    )
    def test_recommends_the_better_forecast(self, season, mae, said):
        naive = mae if np.isnan(mae) else 1.0
        report = Backtest(
            ("load",), season, 9, mae=(mae,), mse=(mae,), naive_mae=(naive,), naive_mse=(naive,), coverage={}
        )
        assert str(report).splitlines()[-1] == said
        assert ("seasonal" in str(report)) == (season == 24)

    @pytest.mark.parametrize(
        ("zero_shot", "said"),
        [
            (0.4, "50% better than seasonal-naive, but 25% worse than zero-shot: use zero-shot"),
            (0.5, "50% better than seasonal-naive"),
            (0.6, "50% better than seasonal-naive"),
        ],
    )
    def test_recommends_zero_shot_where_that_is_better(self, zero_shot, said):
        errors = {"mae": (0.5,), "mse": (0.5,), "naive_mae": (1.0,), "naive_mse": (1.0,), "zero_shot_mae": (zero_shot,)}
        report = Backtest(("load",), 24, 1, **errors, coverage={})
        assert report.verdict == said
        assert str(report).startswith("backtest on 1 window; ")

    def test_a_series_that_one_forecast_has_no_error_of_is_left_out(self):
        """As the naive error of a series with a value every second day, at a season of seven."""
        errors = {"mae": (9.0, 0.5), "mse": (9.0, 0.5), "naive_mae": (np.nan, 1.0), "naive_mse": (np.nan, 1.0)}
        for zero_shot, said in ((0.4, ", but 25% worse than zero-shot: use zero-shot"), (np.nan, "")):
            report = Backtest(("x", "y"), 7, 1, **errors, coverage={}, zero_shot_mae=(np.nan, zero_shot))
            assert report.skill == 0.5
            assert report.verdict == f"50% better than seasonal-naive{said}"

    def test_an_error_that_there_is_not_is_a_dash(self):
        """A constant series has no MASE, and one with a value every second day no naive error at a season of seven."""
        errors = {"mae": (0.0, 0.5), "mse": (0.0, 0.5), "naive_mae": (0.0, np.nan), "naive_mse": (0.0, np.nan)}
        report = Backtest(("x", "y"), 7, 1, **errors, coverage={}, std=(1.0, 2.0), step=(0.0, 2.0))
        assert [line.split() for line in str(report).splitlines()[2:4]] == [
            ["x", "0,", "-", "0,", "-"],
            ["y", "1,", "0.250", "-"],
        ]
        assert "-: no error, or no MASE, as of a series that is exactly seasonal" in str(report)
        assert "nan" not in str(report).replace("seasonal-naive", "")


class TestIntervals:
    def test_coverage_equals_the_level(self):
        errors = torch.arange(1.0, 100.0)[:, None, None]
        assert absolute_quantiles(errors, 0.9).item() == 90
        assert absolute_quantiles(errors, 0.999).item() == 99

    def test_missing_values_do_not_count(self):
        """Three windows, two steps, two series; the first has values of one step, the second has none."""
        errors = torch.full((3, 2, 2), torch.nan)
        errors[:, 0, 0] = torch.tensor([3.0, 1.0, 2.0])
        margins = absolute_quantiles(errors, 0.5)
        torch.testing.assert_close(margins, torch.tensor([[2, torch.nan], [2, torch.nan]]), equal_nan=True)
        assert share_held(errors, margins) == pytest.approx(2 / 3)

    @pytest.mark.parametrize(
        ("counts", "said"),
        [
            ((4, 3), ["level 80: 3 values of series 'wind' for calibrating a step, expected at least 4"]),
            ((0, 4), [r"series 'load' \(1 such series\): no value in the calibration rows"]),
            ((4, 4), []),
        ],
    )
    def test_warn_of_the_series_with_the_fewest_values(self, counts, said, recwarn):
        errors = torch.ones(4, 2, 2)
        for i, count in enumerate(counts):
            errors[count:, :, i] = torch.nan
        interval_margins(errors, (80,), ("load", "wind"))
        assert len(recwarn.list) == len(said)
        assert all(re.match(message, str(warning.message)) for message, warning in zip(said, recwarn.list, strict=True))
