import resource
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from metamixer.data.series.synthetic import FAMILIES, Chance, mixture, synthetic_batch
from metamixer.errors import DIVERGED, USAGE_ERROR, DivergenceError, InputError
from metamixer.models import create_model
from metamixer.models.ffnet_ts.zero import quantile_loss
from metamixer.training import zero_shot
from metamixer.training.muon import orthogonal
from metamixer.training.zero_shot import Recipe, ZeroShotTraining, main, read_recipe

TINY = Recipe(network={"depth": 1, "dim": 16}, windows=((64, 16, 8), (64, 32, 4)), warmup=1, drawn=2)


def test_a_batch_is_a_function_of_seed_and_step():
    one, again, other = (synthetic_batch(16, 64, 16, seed=3, step=step) for step in (5, 5, 6))
    torch.testing.assert_close(one.context, again.context, equal_nan=True)
    assert torch.equal(one.future, again.future)
    assert not torch.equal(one.future, other.future)


def test_the_largest_seed_has_series():
    assert synthetic_batch(2, 64, 16, seed=2**32 - 1, step=0).future.isfinite().all()


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


@pytest.fixture
def train(tmp_path, capsys):
    """Run the command line on a tiny recipe in a folder `run`; returns its exit code and what it said."""

    def train(*options):
        (tmp_path / "tiny.yaml").write_text("network: {depth: 1, dim: 16}\nwindows: [[64, 16, 8]]")
        code = main([str(tmp_path / "tiny.yaml"), "--out", str(tmp_path / "run"), "--minutes", "1", *options])
        return code, capsys.readouterr().err

    return train


@pytest.mark.parametrize("device", ["cuda:99", "foo"])
def test_a_device_that_is_absent_is_one_line(device, train, tmp_path):
    code, said = train("--device", device)
    assert code == USAGE_ERROR
    assert said.startswith(f"metamixer: error: device {device!r} is not available; choose from: cpu")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("minutes", ["nan", "inf", "0", "-1"])
def test_a_length_that_is_none_is_one_line(minutes, train, tmp_path):
    said = f"metamixer: error: minutes {float(minutes)}, expected a number above 0\n"
    assert train("--minutes", minutes) == (USAGE_ERROR, said)
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_a_file_is_one_line(train, tmp_path):
    (tmp_path / "run").write_text("a file")
    assert train() == (USAGE_ERROR, f"metamixer: error: {tmp_path / 'run'}: File exists\n")


def test_a_full_disk_keeps_the_checkpoint(tmp_path):
    training = ZeroShotTraining(TINY, tmp_path / "run")
    training.save()
    training.update(0.5)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(InputError, match=r"last.pt: can't be written \(File too large\)"):
            training.save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert ZeroShotTraining(TINY, tmp_path / "run").step == 0


def test_weights_that_do_not_fit_are_one_line(train, tmp_path):
    other = ZeroShotTraining(replace(TINY, network={"depth": 1, "dim": 32}), tmp_path / "run")
    other.save()
    start = tmp_path / "run" / "weights.safetensors"
    damaged = other.checkpoint.read_bytes()[:500]
    for file, options in ((other.checkpoint, ()), (start, ("--start", str(start))), (other.checkpoint, ())):
        code, said = train(*options)
        assert code == USAGE_ERROR
        assert said.startswith(f"metamixer: error: {file}: can't be used (") and said.count("\n") == 1
        other.checkpoint.write_bytes(damaged)


@pytest.mark.parametrize("name", ["ffnet_ts_zero", "ffnet_ts_zero_gpu"])
def test_the_recipes_name_a_network_and_windows_that_fit_it(name):
    path = Path(__file__).parents[1] / "recipes/forecasting" / f"{name}.yaml"
    recipe = read_recipe(path)
    with torch.device("meta"):
        network = create_model("ffnet_ts_zero", **recipe.network)
    assert all(context <= network.context and horizon <= network.horizon for context, horizon, _ in recipe.windows)


def test_a_training_without_finite_gradients_ends(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(zero_shot, "MOST_SKIPPED", 3)
    losses = iter([1.0, *[float("nan")] * 2, 1.0, *[float("nan")] * 3])
    monkeypatch.setattr(zero_shot, "quantile_loss", lambda forecast, *_: forecast.mean() * next(losses))
    training = ZeroShotTraining(TINY, tmp_path / "run")
    for _ in range(6):
        training.update(0.5)
    with pytest.raises(DivergenceError, match=r"training loss is nan at step 6, .* in one of 3 steps"):
        training.update(0.5)
    assert all(weight.isfinite().all() for weight in training.network.parameters())
    losses = iter([float("nan")] * 3)
    monkeypatch.setattr(zero_shot, "EndAsked", bool)  # leaves the signals alone
    (tmp_path / "tiny.yaml").write_text("network: {depth: 1, dim: 16}\nwindows: [[64, 16, 8]]")
    assert main([str(tmp_path / "tiny.yaml"), "--out", str(tmp_path / "again"), "--minutes", "9"]) == DIVERGED
    assert capsys.readouterr().err.startswith("metamixer: error: training loss is nan at step 2")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "tiny.yaml: can't be read (No such file or directory), expected a recipe"),
        ("rate: 1", "tiny.yaml: recipe.rate 1, expected no such key"),
        ("precision: half", "tiny.yaml: recipe.precision 'half', expected 'float32' or 'bfloat16'"),
        ("windows: [[64, 16, 0]]", "tiny.yaml: recipe.windows.0.2 0, expected greater than 0"),
        ("network: {deep: 3}", "unexpected keyword argument 'deep'"),
        ("[1]", "tiny.yaml: recipe [1], expected a dictionary"),
        ("a: b: c", "tiny.yaml: not readable as YAML"),
    ],
)
def test_a_recipe_that_is_none_is_one_line(text, message, tmp_path, capsys):
    path = tmp_path / "tiny.yaml"
    if text is not None:
        path.write_text(text)
    assert main([str(path), "--out", str(tmp_path / "run"), "--minutes", "1"]) == USAGE_ERROR
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert not (tmp_path / "run").exists()
