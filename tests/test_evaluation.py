"""Evaluating a network on data sets with some of its classes, or with corrupted images."""

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from timm.data import ImageNetInfo

import metamixer
from metamixer.cli import main
from metamixer.data import Preprocessing
from metamixer.data.images.class_names import match_classes
from metamixer.data.images.corrupted import CorruptedImageData
from metamixer.tasks.confusion import read_confusion
from metamixer.tasks.corruption import ALEXNET_ERRORS, mean_corruption_error
from random_statistics import randomize

SYNSETS = {"n01440764": 0, "n01614925": 22, "n02077923": 150}
"""Three of ImageNet's classes and their numbers."""
IMAGENET = ImageNetInfo("imagenet-1k")
PREPROCESSING = Preprocessing(size=32, crop_pct=1.0)


@pytest.fixture(scope="module")
def network():
    return randomize(metamixer.create_model("ffnet_nano"))


@pytest.fixture
def recipe(tmp_path, network):
    """Write a recipe that evaluates the network on a folder; return its path."""
    torch.save({"state_dict": network.state_dict()}, tmp_path / "nano.pth.tar")

    def write(task, data, root):
        content = {
            "out": str(tmp_path / "run"),
            "model": {
                "class_path": task,
                "init_args": {"model": "ffnet_nano", "initial": str(tmp_path / "nano.pth.tar")},
            },
            "data": {
                "class_path": data,
                "init_args": {"root": str(root), "num_workers": 0, "preprocessing": {"size": 32, "crop_pct": 1.0}},
            },
            "trainer": {"accelerator": "cpu", "logger": False},
        }
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(content))
        return str(tmp_path / "recipe.yaml")

    return write


def write_images(root, synsets, *, each=4, seed=0):
    """Write noise images, one folder per class."""
    generator = np.random.default_rng(seed)
    for synset in synsets:
        (root / synset).mkdir(parents=True)
        for i in range(each):
            Image.fromarray(generator.integers(0, 256, (36, 36, 3), dtype=np.uint8)).save(root / synset / f"{i}.png")


@torch.inference_mode()
def accuracy(network, folder):
    """Fraction of images whose true class has the largest logit among the classes in the folder."""
    numbers = sorted(SYNSETS[path.name] for path in folder.iterdir())
    right = []
    for path in sorted(folder.rglob("*.png")):
        logits = network(PREPROCESSING.transform()(Image.open(path))[None])[0]
        right.append(numbers[logits[numbers].argmax()] == SYNSETS[path.parent.name])
    return sum(right) / len(right)


def table(printed):
    """Lightning's printed table of results: name -> value."""
    rows = [[cell.strip() for cell in line.split("│")[1:3]] for line in printed.splitlines() if "│" in line]
    return {name: float(value) for name, value in rows}


def test_only_the_classes_of_the_data_are_compared(recipe, network, tmp_path, capsys):
    write_images(tmp_path / "imagenet-a", SYNSETS)
    assert main(["test", "--config", recipe("Classification", "ImageData", tmp_path / "imagenet-a")]) == 0
    expected = accuracy(network, tmp_path / "imagenet-a")
    assert 0 < expected < 1
    assert table(capsys.readouterr().out)["test/top1"] == pytest.approx(expected)


def test_a_class_that_the_network_does_not_know_is_an_error(recipe, tmp_path, capsys):
    write_images(tmp_path / "data", ["n01440764", "n99999999"], each=1)
    assert main(["test", "--config", recipe("Classification", "ImageData", tmp_path / "data")]) == 2
    assert "class 'n99999999' (and 0 more of 2) is none of the network's 1000 classes" in capsys.readouterr().err


@pytest.mark.parametrize("way", ["--ckpt_path", "--model.initial"])
def test_a_checkpoints_own_class_names_are_used(way, recipe, tmp_path, capsys):
    """The classes have the same number: without names, b would count as a."""
    path = ["--config", recipe("Classification", "ImageData", tmp_path / "data"), "--model.num_classes", "3"]
    write_images(tmp_path / "data" / "train", "abc")
    write_images(tmp_path / "data" / "val", "abc")
    training = [
        "--model.initial",
        "null",
        "--trainer.max_epochs",
        "1",
        "--data.batch_size",
        "4",
        "--checkpoint.monitor",
        "val/loss",
    ]
    assert main(["fit", *path, *training, "--out", str(tmp_path / "trained")]) == 0
    measured = ["--model.initial", "null", way, str(tmp_path / "trained" / "last.ckpt")]
    for name in "a", "c":
        write_images(tmp_path / "part" / "val", [name])
    capsys.readouterr()
    told = ["--data.root", str(tmp_path / "part"), "--out", str(tmp_path / "told"), "--data.test_split", "val"]
    assert main(["test", *path, *measured, *told]) == 0
    shown = table(capsys.readouterr().out)
    of_classes = [shown["test/accuracy/a"], shown["test/accuracy/c"]]
    assert "test/accuracy/b" not in shown, "it has no images"
    assert shown["test/balanced_accuracy"] == pytest.approx(sum(of_classes) / 2)
    counts = read_confusion(tmp_path / "told/test_confusion.csv")
    assert counts.sum(dim=1).tolist() == [4, 0, 4]
    assert [counts[0, 0] / 4, counts[2, 2] / 4] == pytest.approx(of_classes)
    write_images(tmp_path / "other" / "val", "def")
    assert main(["validate", *path, *measured, "--data.root", str(tmp_path / "other")]) == 2
    assert "class 'd' (and 2 more of 3) is none of the network's 3 classes" in capsys.readouterr().err
    write_images(tmp_path / "part" / "val", ["e"])
    assert main(["validate", *path, *measured, "--data.root", str(tmp_path / "part")]) == 2
    assert "class 'e' (and 0 more of 3) is none of the network's 3 classes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("data", "network", "num_classes", "numbers"),
    [
        ("ab", None, 2, None),
        ("ab", "ab", 2, None),
        ("ba", "ab", 2, [1, 0]),
        (IMAGENET.label_names(), None, 1000, None),
        (IMAGENET.label_descriptions(), None, 1000, None),
        (IMAGENET.label_descriptions(), IMAGENET.label_names(), 1000, None),
        (["n01440764", "n01614925"], IMAGENET.label_descriptions(), 1000, [0, 22]),
        (["tench, Tinca tinca", "crane", "crane2"], None, 1000, [0, 134, 517]),
    ],
)
def test_classes_are_found_by_name(data, network, num_classes, numbers):
    assert match_classes(data, network, num_classes) == numbers


def test_each_corruption_is_averaged_over_its_severities(recipe, network, tmp_path, capsys):
    for i, name in enumerate(("fog", "jpeg.75")):
        for severity in range(1, 4):
            write_images(tmp_path / "imagenet-c" / name / str(severity), SYNSETS, each=2, seed=10 * i + severity)
    assert (
        main(["test", "--config", recipe("CorruptionRobustness", "CorruptedImageData", tmp_path / "imagenet-c")]) == 0
    )
    results = table(capsys.readouterr().out)
    errors = {}
    for name in ("fog", "jpeg.75"):
        errors[name] = 1 - np.mean([accuracy(network, folder) for folder in (tmp_path / "imagenet-c" / name).iterdir()])
        assert results[f"test/error/{name}"] == pytest.approx(errors[name])
    loaders = CorruptedImageData(str(tmp_path / "imagenet-c"), num_workers=2).test_dataloader()
    assert not any(loader.persistent_workers for loader in loaders), (
        "the workers of 15 corruptions would live side by side"
    )
    assert results["test/mean_error"] == pytest.approx(np.mean(list(errors.values())))
    assert "test/mce" not in results


def test_mean_corruption_error_is_relative_to_alexnet():
    assert mean_corruption_error(ALEXNET_ERRORS) == pytest.approx(1)
    halved = {name: error / 2 for name, error in ALEXNET_ERRORS.items()}
    assert mean_corruption_error({**halved, "speckle_noise": 1.0}) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ([], "no folders in it, expected CORRUPTION/SEVERITY/CLASS/IMAGE"),
        (["fog"], "no folders in it, expected SEVERITY/CLASS/IMAGE"),
        (["fog/1"], "no class folders for split"),
    ],
)
def test_an_incomplete_folder_of_corruptions_is_an_error(folders, message, recipe, tmp_path, capsys):
    (tmp_path / "imagenet-c").mkdir()
    for folder in folders:
        (tmp_path / "imagenet-c" / folder).mkdir(parents=True)
    assert (
        main(["test", "--config", recipe("CorruptionRobustness", "CorruptedImageData", tmp_path / "imagenet-c")]) == 2
    )
    assert message in capsys.readouterr().err
