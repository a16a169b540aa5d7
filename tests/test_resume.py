"""A run that is stopped at any step and resumed equals the unbroken one bit for bit."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.trainer.states import TrainerFn

from metamixer.errors import InputError
from metamixer.models.tasks import CLASSIFICATION
from metamixer.tasks import Classification, EarlyStop
from short_runs import BATCHES, differences, end_of, fit, write_recipe

TESTS = str(Path(__file__).parent)


def stop_at(monkeypatch, batch, action):
    """Let `action` happen in a batch, counted over all epochs, before its forward pass."""
    original = Classification.training_step

    def step(self, items, batch_idx):
        if self.current_epoch * self.trainer.num_training_batches + batch_idx == batch:
            action()
        return original(self, items, batch_idx)

    monkeypatch.setattr(Classification, "training_step", step)


def interrupt():
    raise KeyboardInterrupt


CASES = {
    "plain": {},
    "workers": {"data.init_args.num_workers": 2},
    "accumulation": {"trainer.accumulate_grad_batches": 2},
    "validation within the epoch": {"trainer.val_check_interval": 2},
    "no averaging, no mixing": {"trainer.callbacks": [], "model.init_args.mixup": 0, "model.init_args.cutmix": 0},
    "by time": {"last_checkpoint.every_n_train_steps": None, "last_checkpoint.every_minutes": 1e-9},
}


@pytest.mark.parametrize("case", CASES)
def test_a_run_stopped_within_epochs_ends_as_the_unbroken_one(case, tmp_path, monkeypatch):
    recipe = write_recipe(tmp_path / "recipe.yaml", **CASES[case])
    assert fit(recipe, tmp_path / "whole") == 0
    expected = end_of(tmp_path / "whole")
    for batch in (3, 8):
        with monkeypatch.context() as patch:
            stop_at(patch, batch, interrupt)
            assert fit(recipe, tmp_path / "run", "--resume", "auto") == 130
        saved = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
        assert saved["epoch"] == batch // BATCHES, "the last checkpoint is from within the epoch"
    assert fit(recipe, tmp_path / "run", "--resume", "auto") == 0
    assert differences(expected, end_of(tmp_path / "run")) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_to_stop_saves_after_the_step(number, tmp_path, monkeypatch, capsys):
    recipe = write_recipe(tmp_path / "recipe.yaml", **{"last_checkpoint.every_n_train_steps": None})
    stop_at(monkeypatch, 2, lambda: os.kill(os.getpid(), number))
    assert fit(recipe, tmp_path / "run") == 130
    assert "interrupted: continue with --resume" in capsys.readouterr().err
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"] == 3


def test_a_folder_belongs_to_one_training(tmp_path, capsys):
    """Another process holds the lock; killed, it doesn't block."""
    recipe, out = write_recipe(tmp_path / "recipe.yaml", **{"trainer.max_epochs": 1}), tmp_path / "run"
    program = f"""
import time
from pathlib import Path
from metamixer.system.locks import held
with held(Path({str(out)!r}), use=("trains", "run")):
    print("held", flush=True)
    time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        (out / ".last.ckpt.7.part").write_text("what a killed run was writing")
        assert fit(recipe, out) == 2
        error = capsys.readouterr().err
        assert f"out {out}: process {holder.pid} on " in error
        assert len(error.splitlines()) == 1
        holder.kill()
    assert fit(recipe, out) == 0
    assert not list(out.glob(".*.part"))


def test_kills_at_random_moments_and_two_processes(tmp_path):
    """A few of `make kill-campaign`, then `make two-processes`: in a process of its own, because they fork."""
    program = f"""
import tempfile
from pathlib import Path
import kill_campaign, two_processes
with tempfile.TemporaryDirectory() as folder:
    print(kill_campaign.campaign(Path(folder), kills=2, seed=0))
two_processes.compare(Path({str(tmp_path)!r}))
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [TESTS, os.environ.get("PYTHONPATH")]))}
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-3000:]
    assert "'kills': 2, 'different': 0, 'left over': 0" in result.stdout
    assert "the second process was started" in result.stdout, "both are done to the end"


@pytest.mark.parametrize(
    ("given", "monitor", "mode"),
    [
        ({}, "val/top1", "max"),
        ({"monitor": "val/top5"}, "val/top5", "max"),
        ({"monitor": "val/loss"}, "val/loss", "min"),
        ({"monitor": "val/loss", "mode": "max"}, "val/loss", "max"),
    ],
)
def test_early_stopping_takes_the_metric_and_its_mode_from_the_task(given, monitor, mode):
    stop = EarlyStop(**given, patience=2, min_delta=0.1)
    stop.setup(
        SimpleNamespace(val_check_interval=1.0, check_val_every_n_epoch=1), SimpleNamespace(spec=CLASSIFICATION), "fit"
    )
    with pytest.raises(InputError, match=f"^EarlyStop.monitor '{monitor}', expected one of train/loss, val/top2"):
        stop.on_train_epoch_end(
            SimpleNamespace(
                callback_metrics={"train/loss": 0, "val/top2": 0},
                fast_dev_run=False,
                sanity_checking=False,
                state=SimpleNamespace(fn=TrainerFn.FITTING),
            ),
            None,
        )
    expected = EarlyStopping(monitor, mode=mode, patience=2, min_delta=0.1)
    for name in ("monitor", "mode", "best_score", "min_delta", "state_key"):
        assert getattr(stop, name) == getattr(expected, name), name
