"""Forecasting recipes from the command line: fit, resume, test, and the schedule of the published code."""

import pytest
import torch
import yaml

from metamixer import Forecaster
from metamixer.cli import main
from metamixer.tasks import Forecasting, Optimization
from metamixer.training.command_line import run
from tables import wide

LOOKBACK, HORIZON = 24, 8


@pytest.fixture
def recipe(tmp_path):
    """Write a short recipe on a table of waves; return its path."""
    wide().to_csv(tmp_path / "waves.csv", index=False)
    content = {
        "seed_everything": 1,
        "out": str(tmp_path / "run"),
        "model": {
            "class_path": "Forecasting",
            "init_args": {
                "variables": 3,
                "lookback": LOOKBACK,
                "horizon": HORIZON,
                "model_args": {"dims": [8], "drop_rate": 0.3},
            },
        },
        "data": {
            "class_path": "SeriesData",
            "init_args": {
                "path": str(tmp_path / "waves.csv"),
                "lookback": LOOKBACK,
                "horizon": HORIZON,
                "split": [0.6, 0.2, 0.2],
                "batch_size": 32,
            },
        },
        "checkpoint": {"monitor": "val/mse", "mode": "min"},
        "trainer": {"accelerator": "cpu", "max_epochs": 3, "enable_progress_bar": False, "enable_model_summary": False},
        "at_horizon": {4: {"model.loss": "mae"}},
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_missing_values_do_not_count_in_the_loss(monkeypatch):
    task = Forecasting(variables=3, lookback=LOOKBACK, horizon=HORIZON, model_args={"dims": [8]}).eval()
    monkeypatch.setattr(task, "log_loss", lambda loss, **_: loss)
    monkeypatch.setattr(task, "log_dict", lambda *_, **__: None)
    x, target = torch.randn(4, LOOKBACK, 3), torch.randn(4, HORIZON, 3)
    whole, known = target.clone(), target[1:]
    target[0] = torch.nan
    expected = (task(x)[1:] - known).square().mean()
    torch.testing.assert_close(task.training_step((x, target), 0), expected)
    task.measure("val", (x, target))
    torch.testing.assert_close(task.measures["val"]["mse"].compute(), expected.detach())
    nothing = task.training_step((x, torch.full_like(target, torch.nan)), 0)
    nothing.backward()
    assert nothing == 0
    assert all(not parameter.grad.any() for parameter in task.parameters())
    x[1] = torch.nan
    assert task.training_step((x, whole), 0).isnan(), "what the network makes of it isn't forgiven"


def state_of(run):
    return torch.load(run / "last.ckpt", weights_only=True)["state_dict"]


def test_a_recipe_fits_and_tests_and_its_checkpoint_forecasts(recipe, tmp_path, capsys):
    assert main(["fit", "--config", str(recipe)]) == 0
    assert main(["test", "--config", str(recipe)]) == 0
    assert "test/mse" in capsys.readouterr().out
    future = Forecaster.load(tmp_path / "run" / "best.ckpt").predict(wide())
    assert len(future) == HORIZON
    assert main(["predict", str(tmp_path), "--checkpoint", str(tmp_path / "run" / "best.ckpt")]) == 2


def test_testing_after_training_evaluates_the_averaged_weights(recipe):
    content = yaml.safe_load(recipe.read_text())
    content["trainer"]["callbacks"] = [{"class_path": "MovingAverage", "init_args": {"decay": 0.9}}]
    recipe.write_text(yaml.safe_dump(content))
    command_line = run(["fit", "--config", str(recipe)])
    best = command_line.trainer.checkpoint_callback.best_model_path
    command_line.trainer.test(command_line.model, datamodule=command_line.datamodule, ckpt_path=best, verbose=False)
    kept = torch.load(best, weights_only=True)
    assert not torch.equal(
        kept["state_dict"]["network.head.linear.weight"], kept["current_model_state"]["network.head.linear.weight"]
    )
    for name, value in command_line.model.state_dict().items():
        if name in kept["state_dict"]:
            assert torch.equal(value, kept["state_dict"][name]), name


@pytest.mark.parametrize("words", ["--config {} --horizon 4", "--config={} --horizon=4", "-c {} --horizon 4"])
def test_a_horizon_takes_its_settings_from_the_recipe(words, recipe, tmp_path):
    assert (
        main(["fit", *words.format(recipe).split(), "--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1"])
        == 0
    )
    config = yaml.safe_load((tmp_path / "run_4" / "config.yaml").read_text())
    assert config["model"]["init_args"]["horizon"] == config["data"]["init_args"]["horizon"] == 4
    assert config["model"]["init_args"]["loss"] == "mae"


def test_a_stopped_run_ends_with_the_weights_of_an_uninterrupted_one(recipe, tmp_path, monkeypatch):
    step = Forecasting.training_step

    def stop(self, batch, batch_idx):
        if self.current_epoch == 1 and batch_idx == 1:
            raise KeyboardInterrupt
        return step(self, batch, batch_idx)

    assert main(["fit", "--config", str(recipe), "--out", str(tmp_path / "whole")]) == 0
    with monkeypatch.context() as patch:
        patch.setattr(Forecasting, "training_step", stop)
        assert main(["fit", "--config", str(recipe)]) == 130
    assert main(["fit", "--config", str(recipe), "--resume", "true"]) == 0
    whole, resumed = state_of(tmp_path / "whole"), state_of(tmp_path / "run")
    assert [key for key in whole if not torch.equal(whole[key], resumed[key])] == []


@pytest.mark.parametrize("hold", [1, 2, 4])
def test_the_exponential_schedule_holds_and_then_falls_from_epoch_to_epoch(hold):
    layer = torch.nn.Linear(1, 1)
    optimization = Optimization("adam", lr=1e-4, warmup_epochs=0, schedule="exponential", hold_epochs=hold, gamma=0.9)
    optimizer = optimization.optimizer(layer)
    scheduler = optimization.scheduler(optimizer, steps=30, steps_per_epoch=3)
    rates = []
    for _ in range(30):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    expected = [1e-4 * 0.9 ** max(epoch - hold + 1, 0) for epoch in range(10) for _ in range(3)]
    assert rates == pytest.approx(expected)
