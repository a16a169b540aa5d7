from pathlib import Path

import pytest
import torch
import yaml

from metamixer.data.series.synthetic import FAMILIES, Chance, mixture, synthetic_batch
from metamixer.models import create_model
from metamixer.training.zero_shot import Recipe, ZeroShotTraining, orthogonal, quantile_loss

TINY = Recipe(network={"depth": 1, "dim": 16}, windows=((64, 16, 8), (64, 32, 4)), warmup=1, drawn=2)


def test_a_batch_is_a_function_of_seed_and_step():
    one, again, other = (synthetic_batch(16, 64, 16, seed=3, step=step) for step in (5, 5, 6))
    torch.testing.assert_close(one.context, again.context, equal_nan=True)
    assert torch.equal(one.future, again.future)
    assert not torch.equal(one.future, other.future)


def test_futures_are_complete_and_contexts_end_in_a_value():
    batch = synthetic_batch(256, 128, 32, seed=0, step=0)
    assert torch.isfinite(batch.future).all()
    assert torch.isfinite(batch.context[:, -1]).all()
    assert 0 < batch.context.isnan().float().mean() < 0.6
    assert batch.season.min() == 0 and batch.season.max() <= 128


def test_every_family_gives_finite_series():
    period = torch.full((32, 1), 12.0)
    for _, family in FAMILIES:
        assert torch.isfinite(family(Chance(0, 32), 96, period)).all(), family.__name__


def test_a_mixture_has_its_proportions():
    values = mixture(
        Chance(0, 200), 4, [(25, lambda c, n: torch.ones(c.rows, n)), (75, lambda c, n: torch.zeros(c.rows, n))]
    )
    assert values.mean() == 0.25


def test_an_orthogonal_matrix_has_singular_values_around_one():
    values = torch.linalg.svdvals(orthogonal(torch.randn(3, 48, 16)))
    assert values.min() > 0.5 and values.max() < 1.5


def test_the_loss_of_the_median_is_the_scaled_error():
    future, unit = torch.randn(4, 8), torch.full((4, 1), 2.0)
    forecast = torch.zeros(4, 9, 8)
    torch.testing.assert_close(quantile_loss(forecast, future, unit), (future.abs() / 2).mean())


def test_a_training_run_resumes(tmp_path):
    whole = ZeroShotTraining(TINY, tmp_path / "whole")
    losses = [whole.update(0.5)[0] for _ in range(6)]
    first = ZeroShotTraining(TINY, tmp_path / "parts")
    for _ in range(3):
        first.update(0.5)
    first.save()
    second = ZeroShotTraining(TINY, tmp_path / "parts")
    assert second.step == 3
    for loss in losses[3:]:
        torch.testing.assert_close(second.update(0.5)[0], loss)


def test_a_training_run_starts_from_other_weights(tmp_path):
    first = ZeroShotTraining(TINY, tmp_path / "first")
    first.update(0.5)
    first.save()
    second = ZeroShotTraining(TINY, tmp_path / "second", start=tmp_path / "first" / "weights.safetensors")
    for name, value in second.network.state_dict().items():
        torch.testing.assert_close(value, first.averaged[name], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", ["ffnet_ts_zero", "ffnet_ts_zero_gpu"])
def test_the_recipes_name_a_network_and_windows_that_fit_it(name):
    path = Path(__file__).parents[1] / "recipes/forecasting" / f"{name}.yaml"
    recipe = Recipe(**yaml.safe_load(path.read_text()))
    with torch.device("meta"):
        network = create_model("ffnet_ts_zero", **recipe.network)
    assert all(context <= network.context and horizon <= network.horizon for context, horizon, _ in recipe.windows)
