"""A training run from the command line: its files, how it resumes, how it stops."""

import csv
import os
import resource
import shutil
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
import yaml
from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher
from PIL import Image

from metamixer.checkpoints.ours import load_checkpoint
from metamixer.cli import main
from metamixer.data import DigitsData, ImageData
from metamixer.errors import DivergenceError, InputError
from metamixer.tasks import Classification
from metamixer.tasks.task import fastest_layout
from metamixer.training.command_line import EndTogether

EPOCHS = 3
STEPS = 4


@pytest.fixture
def recipe(tmp_path):
    """Write a short recipe on the digits with every source of randomness; return its path."""

    def write(data="DigitsData", **init_args):
        content = {
            "seed_everything": 1,
            "model": {
                "class_path": "Classification",
                "init_args": {
                    "model": "ffnet_nano",
                    "num_classes": 10,
                    "model_args": {
                        "depths": [1, 1, 1, 1],
                        "dims": [8, 16, 32, 32],
                        "stem_dim": 8,
                        "drop_path_rate": 0.2,
                        "drop_rate": 0.1,
                    },
                    "optimization": {"warmup_epochs": 1},
                    **init_args,
                },
            },
            "data": {"class_path": data, "init_args": {"batch_size": 16}},
            "trainer": {
                "accelerator": "cpu",
                "max_epochs": EPOCHS,
                "limit_train_batches": STEPS,
                "limit_val_batches": 2,
                "log_every_n_steps": 1,
                "enable_progress_bar": False,
                "enable_model_summary": False,
                "callbacks": [{"class_path": "MovingAverage", "init_args": {"decay": 0.9}}],
            },
        }
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(content))
        return str(tmp_path / "recipe.yaml")

    return write


def fit(recipe, out, *options):
    return main(["fit", "--config", recipe, "--out", str(out), *options])


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


def states(run):
    """The averaged weights that are saved, and the weights with which training continues."""
    checkpoint = torch.load(run / "last.ckpt", weights_only=True)
    return {
        **checkpoint["state_dict"],
        **{f"current.{key}": value for key, value in checkpoint["current_model_state"].items()},
    }


def test_a_run_leaves_checkpoints_configuration_and_logs_and_can_be_drawn(recipe, tmp_path, capsys):
    run = tmp_path / "run"
    assert fit(recipe(), run) == 0
    assert {"best.ckpt", "last.ckpt", "config.yaml", "logs"} <= {path.name for path in run.iterdir()}
    assert not list(run.glob(".*part"))
    with next(run.glob("logs/*/metrics.csv")).open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows if row["train/loss"]] == list(range(EPOCHS))
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


def test_a_resumed_run_does_not_need_its_initial_weights(recipe, tmp_path):
    path, run = recipe(), tmp_path / "run"
    assert fit(path, tmp_path / "first", "--trainer.max_epochs", "1") == 0
    initial = (tmp_path / "first" / "last.ckpt").rename(tmp_path / "initial.ckpt")
    start = ["--model.initial", str(initial)]
    assert fit(path, run, *start, "--trainer.max_epochs", "1") == 0
    initial.unlink()
    assert fit(path, run, *start, "--resume", "true", "--trainer.max_epochs", "2") == 0
    assert str(initial) in (run / "config.yaml").read_text()


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
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"] == STEPS + 2


def test_a_mode_that_contradicts_the_tasks_metric_is_refused(recipe, tmp_path, capsys):
    assert fit(recipe(), tmp_path / "run", "--checkpoint.mode", "min") == 2
    assert "checkpoint.mode 'min' for val/top1, the task's metric, expected 'max'" in capsys.readouterr().err


@pytest.mark.parametrize("instructions", [True, False])
def test_emulated_bfloat16_is_warned_of(instructions, recipe, tmp_path, monkeypatch, recwarn):
    monkeypatch.setattr("metamixer.training.command_line.computes_bfloat16", lambda: instructions)
    options = ("--trainer.precision", "bf16-mixed", "--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1")
    assert fit(recipe(), tmp_path / "run", *options) == 0
    warned = [str(warning.message) for warning in recwarn if "no instructions for bfloat16" in str(warning.message)]
    assert len(warned) == (not instructions), warned


def test_resuming_without_a_checkpoint_is_an_error(recipe, tmp_path, capsys):
    assert fit(recipe(), tmp_path / "run", "--resume", "true") == 2
    assert "last.ckpt: no such file, expected the checkpoint to resume from" in capsys.readouterr().err


def spoil_images(self, batch, batch_idx):
    if self.current_epoch == 1 and batch_idx == 2:
        batch[0].fill_(float("nan"))


def spoil_gradients(self, optimizer):
    if self.global_step == 2 * STEPS - 1:
        self.network.head.fc.bias.grad.fill_(float("inf"))


@pytest.mark.parametrize(
    ("hook", "spoil", "said"),
    [
        (
            "on_train_batch_start",
            spoil_images,
            f"training loss is nan at step {STEPS + 2} (epoch 1), expected a finite number",
        ),
        (
            "on_before_optimizer_step",
            spoil_gradients,
            f"isn't finite at step {2 * STEPS} (epoch 1), expected a finite number",
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


def image_folder(root, *, each=8):
    for split in ("train", "val"):
        for i, name in enumerate(("dark", "light")):
            (root / split / name).mkdir(parents=True)
            for j in range(each):
                Image.new("RGB", (40, 40), (100 * i + j,) * 3).save(root / split / name / f"{j}.jpg")
    return root


def test_images_of_every_suffix_are_read(tmp_path):
    root = image_folder(tmp_path / "images")
    Image.new("RGB", (40, 40)).save(root / "train" / "dark" / "more.webp")
    assert len(ImageData(str(root), num_workers=0).training_dataset()) == 17


FOLDER = [
    "--data.root",
    "{root}",
    "--data.batch_size",
    "4",
    "--model.num_classes",
    "2",
    "--data.preprocessing.size",
    "32",
]


def fit_folder(recipe, root, out, *options):
    folder = [option.format(root=root) for option in FOLDER]
    return fit(recipe("ImageData"), out, *folder, *options)


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_truncated_image_is_named(workers, recipe, tmp_path, capsys):
    root = image_folder(tmp_path / "images")
    broken = root / "train" / "light" / "3.jpg"
    broken.write_bytes(broken.read_bytes()[:400])
    assert fit_folder(recipe, root, tmp_path / "run", "--data.num_workers", workers) == 2
    error = capsys.readouterr().err
    assert f"{broken}: not a readable image" in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data.root", "nowhere"], "nowhere: no such folder, expected one with a folder for each class"),
        (["--model.num_classes", "3"], "model.num_classes 3, expected 2, the data's number of classes"),
        (["--model.model", "ffnet_tiny"], "model 'ffnet_tiny': no such model; did you mean"),
        (["--data.preprocessing.size", "16"], "image of 16x16 pixels, expected at least 32x32"),
        (
            ["--data.preprocessing.mean", "[0.5]", "--data.preprocessing.std", "[0.5]"],
            "expected (batch, 3, height, width)",
        ),
        (["--model.initial", "{root}/absent.pth"], "absent.pth: no such file"),
        (["--model.nope", "7"], "nope"),
        (["--config", "{root}/absent.yaml"], "absent.yaml"),
        (["--ckpt_path", "{root}/text.ckpt"], "text.ckpt: not a readable checkpoint"),
        (["--ckpt_path", "{root}/text.safetensors"], "text.safetensors: not a checkpoint of a training run"),
        (["--ckpt_path", "{root}/weights.pth"], "weights.pth: not a checkpoint of a training run"),
        (["--data.train_split", "trian"], "no folder for split 'trian', expected {root}/trian; there are train, val"),
        (["--data.root", "{root}/train"], "no folders for splits 'train' and 'validation'"),
        (
            ["--data.preprocessing.interpolation", "bicubics"],
            "preprocessing.interpolation 'bicubics', expected one of nearest",
        ),
        (["--data.augmentation.auto_augment", "foo"], "augmentation.auto_augment 'foo': Unknown AA policy foo"),
        (["--data.batch_size", "0"], "batch_size 0, expected at least 1"),
        (["--data.batch_size", "1"], "a training batch of 1 image, expected at least 2 for mixup and CutMix"),
        (
            ["--trainer.max_epochs", "-1", "--trainer.limit_train_batches", "1.0"],
            "trainer.max_epochs -1, expected a number of epochs",
        ),
        (["--model.optimization.name", "adamwx"], "optimizer 'adamwx', expected one of timm's"),
        (
            ["--trainer.accelerator", "mps"],
            "trainer.accelerator 'mps' is not available; use --trainer.accelerator cpu",
        ),
        (["--trainer.gradient_clip_algorithm", "nope"], "nope"),
        (
            ["--model.model", "ffnet_nano.in1k"],
            "model 'ffnet_nano.in1k': no such weights, expected ffnet_nano.mini_imagenet or ffnet_nano.untrained",
        ),
        (["--model.optimization.lr", "0"], "optimization.lr 0.0, expected a number above 0"),
        (["--model.optimization.warmup_epochs", "-1"], "optimization.warmup_epochs -1.0, expected at least 0"),
        (["--model.optimization.betas", "[0.9, 1]"], "optimization.betas [0.9, 1.0], expected two numbers, at least 0"),
        (["--data.preprocessing.std", "[0.2]"], "preprocessing.mean of 3 and std of 1 values, expected 1 or 3 of each"),
        (["--data.preprocessing.std", "[0.2, 0, 0.2]"], "preprocessing.std [0.2, 0.0, 0.2], expected values above 0"),
        (["--data.preprocessing.crop_pct", "0"], "preprocessing.crop_pct 0.0, expected more than 0"),
        (
            ["--data.augmentation.scale", "[1, 0.1]"],
            "augmentation.scale 1.0, 0.1, expected two numbers above 0, the smaller one first",
        ),
        (["--data.augmentation.hflip", "2"], "augmentation.hflip 2.0, expected a probability"),
        (["--out", "{root}/weights.pth/run"], "{root}/weights.pth/run: can't be read or written (Not a directory)"),
    ],
)
def test_wrong_settings_are_one_line(options, message, recipe, tmp_path, capsys):
    root = image_folder(tmp_path / "images")
    for name in ("text.ckpt", "text.safetensors"):
        (root / name).write_text("no weights")
    torch.save({"weight": torch.zeros(2)}, root / "weights.pth")
    options, message = [option.format(root=root) for option in options], message.format(root=root)
    assert fit_folder(recipe, root, tmp_path / "run", "--data.num_workers", "0", *options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_a_label_without_a_class_is_an_error(recipe, tmp_path, monkeypatch, capsys):
    root = image_folder(tmp_path / "images")
    for split in ("train", "val"):
        shutil.copytree(root / split / "light", root / split / "white")
    monkeypatch.setattr(ImageData, "classes", None)
    assert (
        fit_folder(recipe, root, tmp_path / "run", "--data.num_workers", "0", "--trainer.num_sanity_val_steps", "0")
        == 2
    )
    assert "label 2 in the data, expected 0 to 1: model.num_classes 2" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["test", "validate"])
def test_untrained_weights_are_not_evaluated(command, recipe, tmp_path, capsys):
    assert main([command, "--config", recipe(), "--out", str(tmp_path / "never")]) == 2
    assert (
        "never/best.ckpt: no such file, expected a checkpoint there, or one given by --ckpt_path"
        in capsys.readouterr().err
    )


def test_a_folder_without_classes_is_an_error(recipe, tmp_path, capsys):
    for split in ("train", "val"):
        (tmp_path / "images" / split).mkdir(parents=True)
        Image.new("RGB", (40, 40)).save(tmp_path / "images" / split / "0.jpg")
    assert fit_folder(recipe, tmp_path / "images", tmp_path / "run") == 2
    assert "no class folders" in capsys.readouterr().err


@pytest.mark.parametrize(("split", "other"), [("train", "validation"), ("val", "training")])
def test_splits_of_different_classes_are_an_error(split, other, recipe, tmp_path, capsys):
    root = image_folder(tmp_path / "images")
    (root / split / "grey").mkdir()
    Image.new("RGB", (40, 40)).save(root / split / "grey" / "0.jpg")
    classes = "3" if split == "val" else "2"
    assert fit_folder(recipe, root, tmp_path / "run", "--model.num_classes", classes) == 2
    assert "class 'grey' (1 such) of the" in (error := capsys.readouterr().err)
    assert f"no images in the {other} split" in error


def test_a_checkpoint_of_another_network_is_not_resumed(recipe, tmp_path, capsys):
    assert fit(recipe(), tmp_path / "run", "--trainer.max_epochs", "1") == 0
    assert fit(recipe(), tmp_path / "run", "--resume", "true", "--model.model_args.depths", "[1, 1, 2, 1]") == 2
    assert "last.ckpt: a checkpoint of another network" in capsys.readouterr().err


def test_a_checkpoint_of_another_network_is_not_started_from(recipe, tmp_path, capsys):
    assert fit(recipe(), tmp_path / "run", "--trainer.max_epochs", "1") == 0
    other = ["--model.initial", str(tmp_path / "run" / "last.ckpt"), "--model.model_args.depths", "[1, 1, 2, 1]"]
    assert fit(recipe(), tmp_path / "other", *other) == 2
    assert "last.ckpt: a checkpoint of another network" in capsys.readouterr().err


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


def test_two_processes_share_an_epoch(recipe, tmp_path):
    """Distributed data parallel on two CPU processes: each sees half of the data; both end with the same weights."""
    command = [sys.executable, "-m", "metamixer", "fit", "--config", recipe(), "--out", str(tmp_path / "run")]
    options = [
        "--trainer.devices",
        "2",
        "--trainer.strategy",
        "ddp",
        "--trainer.max_epochs",
        "1",
        "--trainer.limit_train_batches",
        "1.0",
        "--data.batch_size",
        "64",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run([*command, *options], env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr[-3000:]
    checkpoint = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    per_process = -(-len(DigitsData().training_dataset()) // 2)
    assert checkpoint["global_step"] == per_process // 64


@pytest.mark.parametrize(("device", "precision", "layout"), [
    ("cpu", "32-true", torch.channels_last),
    ("cuda", "bf16-mixed", torch.channels_last),
    ("cuda", "32-true", torch.contiguous_format),
])  # fmt: skip
def test_images_are_laid_out_as_is_fastest_on_the_device(device, precision, layout):
    assert fastest_layout(torch.device(device), precision) == layout
