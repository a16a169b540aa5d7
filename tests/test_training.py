"""A training run from the command line: its files, how it resumes, how it stops."""

import csv
import logging
import multiprocessing
import os
import resource
import shlex
import signal
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher
from PIL import Image

from metamixer.checkpoints.ours import load_checkpoint
from metamixer.cli import main
from metamixer.commands.training import next_commands
from metamixer.errors import DivergenceError, InputError
from metamixer.tasks import Classification
from metamixer.tasks.task import fastest_layout
from metamixer.training.end_together import EndTogether, exit_code
from metamixer.training.run_folder import SaveConfigInRun
from short_runs import DIGITS_EPOCHS, DIGITS_STEPS, fit, write_digits_recipe


@pytest.fixture
def recipe(tmp_path):
    """Write a short recipe on the digits; return its path."""
    return partial(write_digits_recipe, tmp_path / "recipe.yaml")


def stop_in(monkeypatch, epoch, action):
    """Call `action` after the second batch of an epoch."""
    original = Classification.training_step

    def step(self, batch, batch_idx):
        if self.current_epoch == epoch and batch_idx == 1:
            action()
        return original(self, batch, batch_idx)

    monkeypatch.setattr(Classification, "training_step", step)


def interrupt():
    raise KeyboardInterrupt


def settings():
    """What a run changes for itself in the process."""
    levels = [logging.getLogger(name).level for name in ("lightning.pytorch", "lightning.fabric")]
    return torch.get_float32_matmul_precision(), levels, warnings.filters[:]


def states(run):
    """The averaged weights that are saved, and the weights with which training continues."""
    checkpoint = torch.load(run / "last.ckpt", weights_only=True)
    return {
        **checkpoint["state_dict"],
        **{f"current.{key}": value for key, value in checkpoint["current_model_state"].items()},
    }


def test_a_run_leaves_checkpoints_configuration_and_logs_and_can_be_drawn(recipe, tmp_path, capsys):
    run, before = tmp_path / "run", settings()
    assert fit(recipe(), run) == 0
    assert settings() == before
    assert {"best.ckpt", "last.ckpt", "config.yaml", "logs"} <= {path.name for path in run.iterdir()}
    assert not list(run.glob(".*part"))
    with next(run.glob("logs/*/metrics.csv")).open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows if row["train/loss"]] == list(range(DIGITS_EPOCHS))
    info = load_checkpoint(run / "best.ckpt")[1]
    assert info["model"] == "ffnet_nano"
    assert info["classes"] == [str(digit) for digit in range(10)]
    assert main(["test", "--config", recipe(), "--out", str(run), "--trainer.limit_test_batches", "2"]) == 0
    assert "test/top1" in capsys.readouterr().out
    assert main(["draw", str(run / "best.ckpt"), "--out", str(tmp_path / "sheet.png")]) == 0
    assert Image.open(tmp_path / "sheet.png").size[0] > 1000


def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(recipe, tmp_path, monkeypatch, capsys):
    path, workers = recipe(), ("--data.num_workers", "1")
    assert fit(path, tmp_path / "whole", *workers) == 0
    with monkeypatch.context() as patch:
        stop_in(patch, epoch=1, action=interrupt)
        assert fit(path, tmp_path / "stopped", *workers) == 130
    assert "interrupted: continue with --resume\n" in capsys.readouterr().err
    assert torch.load(tmp_path / "stopped" / "last.ckpt", weights_only=True)["epoch"] == 0
    assert fit(path, tmp_path / "stopped", *workers, "--resume", "true") == 0
    whole, resumed = states(tmp_path / "whole"), states(tmp_path / "stopped")
    assert whole.keys() == resumed.keys()
    assert [key for key in whole if not torch.equal(whole[key], resumed[key])] == []
    configuration = yaml.safe_load((tmp_path / "stopped" / "config.yaml").read_text())
    assert (configuration["resume"], configuration["ckpt_path"]) == (False, None)


@pytest.mark.filterwarnings("error")
def test_the_configuration_is_saved_with_what_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "all")
    parser = LightningArgumentParser(exit_on_error=False)
    for option, kind in (("resume", bool), ("ckpt_path", str | None), ("horizon", int | None)):
        parser.add_argument(f"--{option}", type=kind)
    config = parser.parse_args(["--resume=true", "--ckpt_path=last.ckpt"])
    trainer = SimpleNamespace(default_root_dir=tmp_path)
    SaveConfigInRun(parser, config, overwrite=True).save_config(trainer, None, "fit")
    expected = {"resume": False, "ckpt_path": None, "horizon": None}
    assert yaml.safe_load((tmp_path / "config.yaml").read_text()) == expected


def test_a_resumed_run_does_not_need_its_initial_weights(recipe, tmp_path):
    path, run = recipe(), tmp_path / "run"
    assert fit(path, tmp_path / "first", "--trainer.max_epochs", "1") == 0
    initial = (tmp_path / "first" / "last.ckpt").rename(tmp_path / "initial.ckpt")
    start = ["--model.initial", str(initial)]
    assert fit(path, run, *start, "--trainer.max_epochs", "1") == 0
    initial.unlink()
    assert fit(path, run, *start, "--resume", "true", "--trainer.max_epochs", "2") == 0
    assert str(initial) in (run / "config.yaml").read_text()


def test_the_next_commands_can_be_pasted():
    test, draw = (shlex.split(command) for command in next_commands(Path("my run/best.ckpt")).split(", or "))
    assert test == ["metamixer", "test", "--config", "my run/config.yaml"]
    assert draw == ["metamixer", "draw", "my run/best.ckpt"]


def test_a_training_shorter_than_the_interval_of_validations_is_validated(recipe, tmp_path):
    out = tmp_path / "run"
    assert fit(recipe(), out, "--trainer.max_epochs", "1", "--trainer.check_val_every_n_epoch", "5") == 0
    assert (out / "best.ckpt").is_file()
    assert main(["test", "--config", str(out / "config.yaml")]) == 0


def test_an_earlier_run_in_the_same_folder_is_kept_apart(recipe, tmp_path, capsys):
    run, one_epoch = tmp_path / "run", ("--trainer.max_epochs", "1")
    assert fit(recipe(), run, *one_epoch) == 0
    before = (run / "last.ckpt").read_bytes()
    assert fit(recipe(), run, *one_epoch, "--seed_everything", "2", "--model.initial", str(run / "last.ckpt")) == 0
    assert "the earlier run there is now in" in capsys.readouterr().out
    assert (run / "earlier_run_1" / "last.ckpt").read_bytes() == before
    assert len(list(run.glob("logs/version_*"))) == len(list(run.glob("earlier_run_1/logs/version_*"))) == 1
    assert fit(recipe(), run, *one_epoch, "--model.num_classes", "3") == 2
    assert (run / "best.ckpt").is_file(), "a run that is refused moves nothing"
    first = str(run / "earlier_run_1" / "last.ckpt")
    assert fit(recipe(), run, "--trainer.max_epochs", "2", "--ckpt_path", first) == 0
    assert (run / "earlier_run_2" / "last.ckpt").is_file(), "the run here is not the one that is gone on from"


def test_the_given_checkpoint_is_evaluated(recipe, tmp_path, monkeypatch, capsys):
    for name in ("a", "b"):
        assert fit(recipe(), tmp_path / name, "--trainer.max_epochs", "1") == 0
    capsys.readouterr()
    measure = ["validate", "--config", recipe(), "--out", str(tmp_path / "a")]
    for options, measured in (
        ((), "a/best.ckpt"),
        (["--model.initial", str(tmp_path / "b" / "last.ckpt")], "b/last.ckpt"),
    ):
        assert main([*measure, *options]) == 0
        assert f"{measured}\n" in capsys.readouterr().out
    assert (
        main(
            [*measure, "--ckpt_path", str(tmp_path / "b" / "last.ckpt"), "--model.initial", str(tmp_path / "gone.ckpt")]
        )
        == 0
    )
    assert "b/last.ckpt\n" in capsys.readouterr().out, "what a checkpoint takes the place of isn't looked for"
    untrained = ["--model.initial", str(tmp_path / "b" / "last.ckpt"), "--model.new_classifier", "true"]
    assert main([*measure[:-1], str(tmp_path / "empty"), *untrained]) == 2
    assert "empty/best.ckpt: no such file, expected a checkpoint" in capsys.readouterr().err
    monkeypatch.setattr(Classification, "measure", lambda *args: interrupt())
    assert main(measure) == 130
    assert capsys.readouterr().err.endswith("metamixer: interrupted\n")


def test_a_run_without_a_checkpoint_has_nothing_to_resume(recipe, tmp_path, monkeypatch, capsys):
    stop_in(monkeypatch, epoch=0, action=interrupt)
    assert fit(recipe(), tmp_path / "run") == 130
    assert capsys.readouterr().err.endswith("metamixer: interrupted\n")


def test_a_run_that_a_scheduler_ends_does_not_look_finished(recipe, tmp_path, monkeypatch, capsys):
    stop_in(monkeypatch, epoch=1, action=lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert fit(recipe(), tmp_path / "run") == 130
    assert "interrupted: continue with --resume\n" in capsys.readouterr().err
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"] == DIGITS_STEPS + 2


def spoil_images(self, batch, batch_idx):
    if self.current_epoch == 1 and batch_idx == 2:
        batch[0].fill_(float("nan"))


def spoil_gradients(self, optimizer):
    if self.global_step == 2 * DIGITS_STEPS - 1:
        self.network.head.fc.bias.grad.fill_(float("inf"))


@pytest.mark.parametrize(
    ("hook", "spoil", "said"),
    [
        (
            "on_train_batch_start",
            spoil_images,
            f"training loss is nan at step {DIGITS_STEPS + 2} (epoch 1), expected a finite number",
        ),
        (
            "on_before_optimizer_step",
            spoil_gradients,
            f"isn't finite at step {2 * DIGITS_STEPS} (epoch 1), expected a finite number",
        ),
    ],
)
def test_a_value_that_is_not_finite_stops_and_keeps_the_last_checkpoint(
    hook, spoil, said, recipe, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(Classification, hook, spoil)
    assert fit(recipe(), tmp_path / "run") == 3
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    network, _ = load_checkpoint(tmp_path / "run" / "last.ckpt")
    assert all(parameter.isfinite().all() for parameter in network.state_dict().values())


def test_a_full_disk_keeps_the_last_checkpoint(recipe, tmp_path, monkeypatch, capsys):
    """A limit on the file size simulates a full disk: the write fails midway, with the system's error."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    stop_in(monkeypatch, epoch=1, action=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1])))
    try:
        assert fit(recipe(), tmp_path / "run") == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    error = capsys.readouterr().err
    assert ".ckpt: can't be written" in error
    assert "Traceback" not in error
    for name in ("best.ckpt", "last.ckpt"):
        assert torch.load(tmp_path / "run" / name, weights_only=True)["epoch"] == 0
    assert not list((tmp_path / "run").glob(".*part"))


def test_a_failed_process_ends_its_children():
    launcher = _SubprocessScriptLauncher(LightningEnvironment(), num_processes=2, num_nodes=1)
    launcher.procs = [child] = [subprocess.Popen(["sleep", "60"])]
    trainer = SimpleNamespace(strategy=SimpleNamespace(launcher=launcher))
    EndTogether().on_exception(trainer, None, InputError("image 7: not a readable image"))
    assert child.wait(timeout=10) == -signal.SIGKILL


@pytest.mark.parametrize(("code", "error"), [(2, InputError), (3, DivergenceError)])
def test_a_waiting_process_ends_with_the_status_of_the_other(code, error):
    launcher = _SubprocessScriptLauncher(LightningEnvironment(), num_processes=3, num_nodes=1)
    launcher.procs = [refused, waiting] = [
        subprocess.Popen(["sh", "-c", f"sleep {seconds}; exit {code}"]) for seconds in (0, 60)
    ]
    trainer = SimpleNamespace(strategy=SimpleNamespace(launcher=launcher))
    with pytest.raises(error, match="another process of this run"):
        EndTogether().on_exception(trainer, None, RuntimeError("Connection closed by peer"))
    assert (refused.wait(timeout=10), waiting.wait(timeout=10)) == (code, -signal.SIGKILL)


def test_a_forked_process_has_an_exit_code():
    process = multiprocessing.get_context("fork").Process(target=sys.exit, args=(3,))
    process.start()
    assert exit_code(process) == 3


@pytest.mark.parametrize(
    "length",
    [
        {"max_epochs": 6, "max_steps": -1, "estimated_stepping_batches": 60},
        {"max_epochs": -1, "max_steps": 60, "estimated_stepping_batches": 60},
        {"max_epochs": 100, "max_steps": 60, "estimated_stepping_batches": 60},
    ],
)
def test_each_train_size_has_an_equal_part_of_the_training(length):
    task, sides = Classification("ffnet_nano", 2, train_sizes=[32, 40, 48]), []
    for epoch in range(6):
        task._trainer = SimpleNamespace(current_epoch=epoch, global_step=10 * epoch, **length)
        sides.append(task._resized(torch.zeros(1, 3, 64, 64)).shape[-1])
    assert sides == [32, 32, 40, 40, 48, 48]


def test_an_endless_training_stays_at_the_last_train_size():
    task, sides = Classification("ffnet_nano", 2, train_sizes=[32, 40, 48]), []
    for epoch in range(6):
        task._trainer = SimpleNamespace(current_epoch=epoch, global_step=10 * epoch, max_epochs=-1, max_steps=-1)
        sides.append(task._resized(torch.zeros(1, 3, 64, 64)).shape[-1])
    assert sides == [32, 48, 48, 48, 48, 48]


@pytest.mark.parametrize(("device", "precision", "layout"), [
    ("cpu", "32-true", torch.channels_last),
    ("cuda", "bf16-mixed", torch.channels_last),
    ("cuda", "32-true", torch.contiguous_format),
])  # fmt: skip
def test_images_are_laid_out_as_is_fastest_on_the_device(device, precision, layout):
    assert fastest_layout(torch.device(device), precision) == layout


@pytest.mark.parametrize(("compile", "modes"), [(False, []), (True, [None]), ("reduce-overhead", ["reduce-overhead"])])
def test_a_network_is_compiled_on_request(compile, modes, monkeypatch):
    asked = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module, mode: asked.append(mode))
    Classification("ffnet_nano", 2, compile=compile)
    assert asked == modes
