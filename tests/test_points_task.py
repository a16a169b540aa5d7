"""Training and testing on point clouds: from a recipe to labeled files; loss, metrics and schedule."""

import csv

import numpy as np
import pytest
import torch
import yaml

from metamixer import cli, create_model
from metamixer.data import PointAugmentation
from metamixer.errors import InputError
from metamixer.tasks.confusion import class_ious, read_confusion, segmentation_measures
from metamixer.tasks.lovasz import lovasz_softmax
from metamixer.tasks.optimization.points import PointOptimization
from published_weights import GOLDEN, image
from rooms import ROOM, write_rooms


@pytest.fixture
def clouds(tmp_path):
    return write_rooms(tmp_path)


SMALL = {"depths": [1, 1, 1], "dims": [16, 32, 64], "decoder_depths": [1, 1], "decoder_dims": [32, 32]}
RECIPE = {
    "model": {
        "class_path": "PointSegmentation",
        "init_args": {
            "model": "ffnet_3d_nano",
            "num_classes": 2,
            "votes": 2,
            "model_args": {"in_chans": 6, **SMALL},
            "optimization": {"lr": 0.01, "block_lr": 0.01},
        },
    },
    "data": {
        "class_path": "CloudData",
        "init_args": {
            "batch_size": 2,
            "num_workers": 0,
            "preprocessing": {"grid_size": 0.1, "features": ["position", "colour"]},
            "augmentation": {"crop": 300, "mix": 0.5},
        },
    },
    "checkpoint": {"monitor": "val/miou"},
    "trainer": {"max_epochs": 8, "enable_progress_bar": False, "log_every_n_steps": 1, "check_val_every_n_epoch": 8},
}


def test_learns_tests_labels_and_fuses(clouds, tmp_path_factory, capsys):
    runs = tmp_path_factory.mktemp("runs")
    recipe, out = clouds / "recipe.yaml", runs / "run"
    recipe.write_text(yaml.safe_dump({**RECIPE, "out": str(out)}))
    arguments = ["--config", str(recipe), "--data.description", str(clouds / "clouds.yaml")]
    assert cli.main(["fit", *arguments]) == 0
    assert cli.main(["test", *arguments]) == 0
    assert next(csv.reader((out / "test_confusion.csv").open())) == ["class", "floor, tiled", "wall"], (
        "names are quoted"
    )
    counts = read_confusion(out / "test_confusion.csv").numpy()
    assert counts.shape == (2, 2) and counts.sum() == 2 * ROOM - 20
    assert np.trace(counts) > 0.9 * counts.sum(), "a floor and a wall of two colours are soon told apart"
    assert cli.main(["fuse", str(out / "best.ckpt"), "--out", str(out / "deploy.safetensors")]) == 0
    assert "parity on random voxels" in capsys.readouterr().out
    for name in ("best.ckpt", "deploy.safetensors"):
        labelled = runs / f"labelled_{name}"
        assert (
            cli.main(["points", str(clouds), "--checkpoint", str(out / name), "--out", str(labelled), "--votes", "2"])
            == 0
        )
        assert sorted(path.suffix for path in labelled.iterdir()) == [".csv", *[".jpg"] * 3, *[".npz"] * 3]
        found = np.load(labelled / "room2.npz")
        assert found["prediction"].shape == (2 * ROOM,)
        known = found["label"] >= 0
        assert (found["prediction"] == found["label"])[known].mean() > 0.9
        rows = list(csv.DictReader((labelled / "counts.csv").open()))
        assert sum(int(row["points"]) for row in rows) == 3 * 2 * ROOM
    assert "800 points" in capsys.readouterr().out
    description = (clouds / "clouds.yaml").read_text()
    (clouds / "clouds.yaml").write_text(description.replace("['floor, tiled', wall]", "{1: wall, 0: 'floor, tiled'}"))
    assert cli.main(["test", *arguments]) == 2
    assert (
        "class 0 of the data is 'wall', expected 'floor, tiled', the class that the checkpoint was trained on"
        in capsys.readouterr().err
    )


def test_lovasz_loss_is_the_published_one():
    numbers = np.load(GOLDEN / "points.npz")
    logits = image("lovasz/logits", (50, 5)).requires_grad_()
    loss = lovasz_softmax(logits, torch.from_numpy(numbers["lovasz/labels"]))
    torch.testing.assert_close(loss, torch.tensor(numbers["lovasz/loss"]), rtol=0, atol=1e-6)
    loss.backward()
    assert logits.grad.any()
    nobody = lovasz_softmax(logits, torch.full((50,), -1))
    assert nobody == 0 and nobody.requires_grad


def test_measures():
    counts = torch.tensor([[6, 2, 0], [0, 2, 0], [0, 0, 0]])
    ious = class_ious(counts)
    torch.testing.assert_close(ious[:2], torch.tensor([6 / 8, 2 / 4]))
    assert ious[2].isnan()
    measures = segmentation_measures(counts)
    assert measures["miou"] == pytest.approx(0.625) and measures["accuracy"] == pytest.approx(0.8)
    assert measures["mean_accuracy"] == pytest.approx((6 / 8 + 1) / 2)


def test_two_rates_in_one_cycle():
    network = create_model("ffnet_3d_nano", num_classes=2)
    optimization = PointOptimization(lr=0.006, block_lr=0.0006, warmup=0.1)
    optimizer = optimization.optimizer(network)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(network.parameters()))
    scheduler, rates = optimization.scheduler(optimizer, steps=100, steps_per_epoch=10), []
    for _ in range(100):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    highest = np.max(rates, axis=0)
    in_blocks = {
        id(parameter) for name, parameter in network.named_parameters() if name.startswith(("encoder.", "decoder."))
    }
    blocks = [id(group["params"][0]) in in_blocks for group in optimizer.param_groups]
    np.testing.assert_allclose(highest, np.where(blocks, 0.0006, 0.006), rtol=0.01)
    np.testing.assert_allclose(rates[0], highest / 10, rtol=0.02)
    assert (np.array(rates[-1]) < highest / 1000).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (lambda: PointAugmentation(crop=0), "augmentation.crop 0, expected a number above 0"),
        (lambda: PointAugmentation(scale=(1.1,)), r"augmentation.scale \[1.1\], expected two numbers"),
        (lambda: PointAugmentation(mix=2.0), "augmentation.mix 2.0, expected 0 to 1"),
        (lambda: PointOptimization(warmup=2.0), "optimization.warmup 2.0, expected 0 to 1"),
        (lambda: PointOptimization(lr=0.0), "optimization.lr 0.0, expected a number above 0"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(InputError, match=message):
        settings()


def test_a_task_that_does_not_fit_its_data_is_refused(clouds, capsys):
    recipe = clouds / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({**RECIPE, "out": str(clouds / "run")}))
    arguments = ["fit", "--config", str(recipe), "--data.description", str(clouds / "clouds.yaml")]
    assert cli.main([*arguments, "--model.init_args.num_classes", "3"]) == 2
    assert "model.num_classes 3, expected 2" in capsys.readouterr().err
    assert cli.main([*arguments, "--model.init_args.model_args", "{in_chans: 4}"]) == 2
    assert "in_chans 4, expected 6, the data's (position, colour)" in capsys.readouterr().err
