"""Trainings that can't be: wrong settings, data and checkpoints are refused in one line."""

import shutil
from functools import partial

import pytest
import torch
from PIL import Image

from metamixer.cli import main
from metamixer.data import ImageData
from metamixer.errors import InputError
from short_runs import fit, write_digits_recipe


@pytest.fixture
def recipe(tmp_path):
    """Write a short recipe on the digits; return its path."""
    return partial(write_digits_recipe, tmp_path / "recipe.yaml")


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
        (["--data.batch_size", "0"], "batch_size 0, expected an integer from 1 to 1048576"),
        (["--data.batch_size", f"{10**20}"], f"batch_size {10**20}, expected an integer from 1 to 1048576"),
        (["--data.num_workers", "100000"], "num_workers 100000, expected an integer from 0 to 256"),
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
        (["--model.label_smoothing", "2"], "model.label_smoothing 2.0, expected 0 to 1"),
        (["--model.mixup", "-1"], "model.mixup -1.0, expected at least 0"),
        (["--model.cutmix", "-1"], "model.cutmix -1.0, expected at least 0"),
        (["--model.train_sizes", "[0]"], "model.train_sizes 0, expected an integer from 1 to"),
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
        (["--data.rot", "a"], "error: data.rot: ImageData has no such option; did you mean --data.root?"),
        (["--trainer.max_epochs", "x"], "error: trainer.max_epochs 'x', expected a whole number"),
        (["--data.augmentation.hflip", "2"], "augmentation.hflip 2.0, expected a probability"),
        (
            ["--out", "{root}/weights.pth/run"],
            "{root}/weights.pth/run: can't be made (Not a directory), expected another folder",
        ),
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


def test_a_test_split_without_one_of_the_classes_is_an_error(tmp_path):
    root = image_folder(tmp_path / "images")
    for split in ("train", "val"):
        shutil.copytree(root / split / "light", root / split / "white")
    shutil.copytree(root / "val", root / "test")
    data = ImageData(str(root), test_split="test", num_workers=0)
    assert [label for _, label in data.evaluation_dataset("test")] == [0] * 8 + [1] * 8 + [2] * 8
    shutil.rmtree(root / "test" / "dark")  # its other classes would have the labels 0 and 1
    with pytest.raises(InputError, match=r"class 'dark' \(1 such\) of the validation split has no images in the test "):
        data.evaluation_dataset("test")


def test_a_checkpoint_of_another_network_is_not_resumed(recipe, tmp_path, capsys):
    assert fit(recipe(), tmp_path / "run", "--trainer.max_epochs", "1") == 0
    assert fit(recipe(), tmp_path / "run", "--resume", "true", "--model.model_args.depths", "[1, 1, 2, 1]") == 2
    assert "last.ckpt: a checkpoint of another network" in capsys.readouterr().err


def test_a_checkpoint_of_another_network_is_not_started_from(recipe, tmp_path, capsys):
    assert fit(recipe(), tmp_path / "run", "--trainer.max_epochs", "1") == 0
    other = ["--model.initial", str(tmp_path / "run" / "last.ckpt"), "--model.model_args.depths", "[1, 1, 2, 1]"]
    assert fit(recipe(), tmp_path / "other", *other) == 2
    assert "last.ckpt: a checkpoint of another network" in capsys.readouterr().err
