import copy

import numpy as np
import pytest
import torch

from metamixer.errors import InputError
from metamixer.models import create_model
from metamixer.models.ffnet_ts.seasons import Periods, RobustScale, SeasonalMemory
from metamixer.models.ffnet_ts.zero import QUANTILES, TokenConv
from metamixer.predictors.forecasting.rolling import ZeroShot

MEDIAN = len(QUANTILES) // 2


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return create_model("ffnet_ts_zero", depth=2, dim=32).eval()


def series(rows=3, length=128, seed=0):
    chance = torch.Generator().manual_seed(seed)
    walk = torch.randn(rows, length, generator=chance).cumsum(1)
    return walk + 3 * torch.sin(2 * torch.pi * torch.arange(length) / 12)


def test_quantiles_are_in_order(network):
    quantiles = network(series(), horizon=20)
    assert quantiles.shape == (3, len(QUANTILES), 20)
    assert (quantiles.diff(dim=1) >= 0).all()


@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e5])
@pytest.mark.parametrize("shift", [0.0, 40.0])
@torch.no_grad()
def test_shift_and_scale_carry_over(network, scale, shift):
    x = series()
    torch.testing.assert_close(
        network(x * scale + shift * scale), (network(x) + shift) * scale, rtol=1e-3, atol=1e-3 * scale
    )


@torch.no_grad()
def test_the_sign_carries_over(network):
    x = series() ** 2  # a one-sided tail
    torch.testing.assert_close(network(-x), -network(x).flip(1), rtol=1e-4, atol=1e-3)


@torch.no_grad()
def test_a_series_is_forecast_alone(network):
    x = series(rows=5)
    torch.testing.assert_close(network(x)[2:3], network(x[2:3]), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_missing_values_do_not_matter(network):
    x = series()
    x[:, 40:44] = torch.nan
    assert torch.isfinite(network(x)).all()
    infinite = x.clone()
    infinite[:, 40:44] = torch.inf
    assert torch.equal(network(x), network(infinite))


@pytest.mark.parametrize("values", [torch.zeros(1, 64), torch.full((1, 64), torch.nan), torch.full((1, 64), 7e20)])
@torch.no_grad()
def test_constants_and_empty_series_give_finite_numbers(network, values):
    forecast = network(values)
    assert torch.isfinite(forecast).all()
    if values.isfinite().all():
        torch.testing.assert_close(forecast, values[:, :1, None].expand_as(forecast))


def test_the_context_of_a_feature_ends_before_it(network):
    """For a step of the context, the seasonal memory uses only earlier steps."""
    x = series()
    later = x.clone()
    later[:, 100:] = later[:, 100:].flip(1)
    memory, periods = SeasonalMemory(), torch.tensor([[1, 12]]).expand(3, -1)
    scaled = RobustScale()(x)
    changed = RobustScale()(later)
    changed = type(scaled)(scaled.values.clone(), scaled.observed, scaled.center, scaled.scale)
    changed.values[:, 100:] = 9
    before, after = memory(scaled, periods, 16), memory(changed, periods, 16)
    torch.testing.assert_close(before[:, :, :101], after[:, :, :101])


def test_a_season_and_its_growth_are_remembered_exactly():
    time = torch.arange(160.0)
    x = (0.05 * time + torch.sin(2 * torch.pi * time / 12))[None]
    scaled = RobustScale()(x[:, :128])
    remembered = scaled.invert(SeasonalMemory()(scaled, torch.tensor([[12]]), 32))
    torch.testing.assert_close(remembered[0, 1, 128:], x[0, 128:], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("period", [7, 12, 24, 52])
def test_the_period_is_found(period):
    chance = torch.Generator().manual_seed(1)
    x = torch.randn(1, period, generator=chance).repeat(1, 512 // period + 1)[:, :512] + 0.1 * torch.randn(
        1, 512, generator=chance
    )
    assert Periods()(RobustScale()(x))[0, 0] == period


def test_periods_of_noise_and_constants_are_one():
    assert (Periods()(RobustScale()(torch.zeros(2, 128))) == 1).all()


@pytest.mark.parametrize(("shape", "horizon"), [((2, 100), None), ((2, 64, 1), None), ((2, 64), 0), ((2, 64), 1000)])
def test_refuses_invalid_input(network, shape, horizon):
    with pytest.raises(InputError, match="expected"):
        network.forecast(torch.zeros(shape), horizon=horizon if horizon is not None else None)


@pytest.mark.parametrize(("length", "horizon"), [(1, 1), (5, 12), (100, 300), (700, 129)])
def test_any_length_and_horizon(network, length, horizon):
    values = [np.arange(length, dtype=float) % 7, np.arange(2 * length, dtype=float) % 5]
    forecast = ZeroShot(network).forecast(values, horizon, seasons=(7,))
    assert forecast.shape == (2, len(QUANTILES), horizon)
    assert np.isfinite(forecast).all()


def test_the_batch_does_not_matter(network):
    values = [row.numpy().astype(float) for row in series(rows=7)]
    one, many = (ZeroShot(network, batch_size=size).forecast(values, 30) for size in (1, 64))
    np.testing.assert_allclose(one, many, rtol=1e-4, atol=1e-4)


def test_a_large_series_does_not_affect_a_small_one(network):
    forecast = ZeroShot(network).forecast([np.array([1e30, 1e-30] * 20)], 4)
    assert np.isfinite(forecast).all()


@torch.no_grad()
def test_half_precision_stays_near_float(network):
    expected = network(series(rows=2))
    half = copy.deepcopy(network).to(torch.bfloat16)(series(rows=2))
    assert (half - expected).abs().max() < 0.05 * expected.abs().max()


@torch.no_grad()
@pytest.mark.parametrize(
    ("sizes", "options"),
    [((6, 6, 3, 1, 1), {}), ((6, 6, 4, 2), {"groups": 3}), ((6, 6, 3, 1, 1), {"groups": 6}), ((6, 6, 1, 2), {})],
)
def test_a_convolution_of_tokens_is_pytorchs(sizes, options):
    layer, x = TokenConv(*sizes, **options), torch.randn(2, 6, 9)
    torch.testing.assert_close(layer(x), torch.nn.Conv1d.forward(layer, x))
