"""Checkpoints that networks and trainings start from, and the one that a full disk leaves."""

from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from PIL import Image
from torch import nn

import metamixer
from command_inputs import save_classifier
from metamixer.checkpoints.ours import load_checkpoint, load_initial, network_info, save_network
from metamixer.errors import InputError
from metamixer.mixer import TOKEN_MIXERS, FFNifiedAttention
from metamixer.models import registry
from metamixer.predictors.classifier import Classifier
from metamixer.tasks.classification import Classification
from shapes import SMALL


def test_loading_a_checkpoint_downloads_no_initial_weights(tmp_path):
    given = {"num_classes": 3, "pretrained": True, "cache_dir": "there"}
    info = network_info("ffnet_nano", given, task="classification")
    assert info["model_args"] == {"num_classes": 3}
    save_network(
        metamixer.create_model("ffnet_nano", num_classes=3),
        {**info, "model_args": given},
        tmp_path / "older.safetensors",
    )
    assert load_checkpoint(tmp_path / "older.safetensors")[0].num_classes == 3


def test_classifier_of_a_published_checkpoint_knows_imagenet(tmp_path):
    torch.manual_seed(0)
    network = metamixer.create_model("ffnet_nano")
    torch.save({"state_dict": network.state_dict()}, tmp_path / "nano.pth.tar")
    classifier = Classifier.load(model="ffnet_nano", checkpoint=tmp_path / "nano.pth.tar")
    assert len(classifier.classes) == 1000
    assert classifier.classes[0].startswith("tench")
    assert classifier([Image.new("RGB", (50, 70))]).shape == (1, 1000)


def test_a_training_may_start_from_a_published_file_by_its_url(monkeypatch):
    asked = []
    monkeypatch.setattr("metamixer.checkpoints.ours.load_published", lambda network, source: asked.append(source))
    load_initial(metamixer.create_model("ffnet_nano"), "https://host/ffnet.pth.tar")
    assert asked == ["https://host/ffnet.pth.tar"]


@pytest.mark.parametrize("name", ["ours.safetensors", "published.pth"])
def test_a_training_starts_from_finite_weights(name, tmp_path):
    network = metamixer.create_model("ffnet_nano")
    with torch.no_grad():
        next(network.parameters()).view(-1)[0] = float("nan")
    if name == "published.pth":
        torch.save(network.state_dict(), tmp_path / name)
    else:
        save_network(network, network_info("ffnet_nano", {}, task="classification"), tmp_path / name)
    with pytest.raises(InputError, match=rf"{name}: \S+ holds values that are NaN or infinite, expected"):
        load_initial(network, tmp_path / name, new_classifier=True)


def test_saving_to_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    checkpoint = save_classifier(tmp_path / "shapes.safetensors")
    before = checkpoint.read_bytes()

    def no_space(path, content):
        path.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", no_space)
    with pytest.raises(metamixer.InputError, match="No space left"):
        save_network(metamixer.create_model("ffnet_nano", num_classes=3), {}, checkpoint)
    assert checkpoint.read_bytes() == before
    assert list(checkpoint.parent.glob(".*part")) == []


class Own(FFNifiedAttention):
    """A user's mixer that looks at its own values while it is built."""

    look = staticmethod(float)

    def __init__(self, dim, kernel_size, operators):
        super().__init__(dim, kernel_size, operators)
        self.look(self.query.conv.weight.detach().sum())


def test_a_checkpoint_contains_the_name_of_a_mixer_passed_as_a_class(monkeypatch):
    mixers = {"mixers": ["pooling", Own, "pooling", "identity"]}
    with pytest.raises(InputError, match=r"model_args\.mixers <class .*Own'>, expected a name, such as one of .*code"):
        Classification("ffnet_nano", 3, model_args={**SMALL, **mixers})
    with pytest.raises(InputError, match=r"model_args\.backbone_args\.mixers .*Own.*, expected a name"):
        network_info("ffnet_head_ffnet_nano", {"backbone_args": mixers}, task="segmentation")
    with pytest.raises(InputError, match=r"model_args\.norm .*BatchNorm2d.*, expected a name"):
        network_info("ffnet_sr_nano", {"norm": nn.BatchNorm2d}, task="super_resolution")
    monkeypatch.setitem(TOKEN_MIXERS, "own", Own)
    task = Classification("ffnet_nano", 3, model_args={**SMALL, **mixers})
    assert task.model_args["mixers"] == ["pooling", "own", "pooling", "identity"]


@pytest.mark.parametrize("look", [float, bool, torch.Tensor.numpy, torch.Tensor.tolist])
def test_a_mixer_may_look_at_its_values_while_it_is_built(look, tmp_path, monkeypatch):
    monkeypatch.setattr(Own, "look", staticmethod(look))
    monkeypatch.setitem(TOKEN_MIXERS, "own", Own)
    args = {**SMALL, "mixers": "own"}
    saved = metamixer.create_model("ffnet_nano", **args)
    save_network(saved, network_info("ffnet_nano", args, task="classification"), tmp_path / "own.safetensors")
    network, info = load_checkpoint(tmp_path / "own.safetensors")
    assert torch.equal(network.head.fc.weight, saved.head.fc.weight) and info["model_args"]["mixers"] == "own"


@pytest.mark.parametrize("name", ["Tensor.item() cannot be called on meta", "can't convert meta device type tensor"])
def test_keywords_of_a_large_network_are_refused_before_it_is_built(name, tmp_path, monkeypatch):
    built = []
    monkeypatch.setattr(nn.Conv2d, "reset_parameters", lambda layer: built.append(layer.weight.device.type))
    args = {"backbone_args": {"dims": [32, 64, 128, 256]}, "head_args": {name: 1}}
    info = {**network_info("ffnet_head_ffnet_nano", args, task="segmentation"), "model_args": args}
    save_network(nn.Sequential(*(nn.Linear(1, 1) for _ in range(9))), info, tmp_path / "hostile.safetensors")
    with pytest.raises(InputError, match=r"hostile\.safetensors: ffnet_head_ffnet_nano can't be built"):
        load_checkpoint(tmp_path / "hostile.safetensors")
    assert set(built) <= {"meta"}


class OwnNetwork(nn.Linear):
    def __init__(self, width=3):
        super().__init__(width, 2)


def test_only_a_network_that_names_its_classifier_gets_a_new_one(tmp_path):
    info = network_info("own", {}, task="classification")
    save_network(OwnNetwork(), info, tmp_path / "own.safetensors")
    torch.save(OwnNetwork().state_dict(), tmp_path / "own.pth")
    for name in ("own.safetensors", "own.pth"):
        with pytest.raises(InputError, match="new_classifier True: OwnNetwork doesn't say which layer that is, exp"):
            load_initial(OwnNetwork(), tmp_path / name, new_classifier=True)


@patch.dict(registry._BUILDERS)
@patch.dict(registry._TASKS)
def test_an_own_network_is_registered_and_saved(tmp_path):
    for taken in ("resnet18", "ffnet_1", "ffnet_ts", "own.tag"):
        with pytest.raises(InputError, match=f"name '{taken}', expected one without a dot that neither"):
            metamixer.register(taken, OwnNetwork)
    with pytest.raises(InputError, match="network 'own': task 'chess', expected one of classification"):
        metamixer.register("own", OwnNetwork, task="chess")
    assert "own" not in metamixer.list_models()
    metamixer.register("own", OwnNetwork)
    metamixer.register("own", OwnNetwork, task="restoration")
    assert "own" in metamixer.list_models("restoration")
    network, path = metamixer.create_model("own", width=4), tmp_path / "own.safetensors"
    metamixer.save_checkpoint(network, path, model="own", model_args={"width": 4}, task="restoration")
    loaded, info = metamixer.load_checkpoint(path)
    assert torch.equal(loaded.weight, network.weight) and (info["task"], info["fused"]) == ("restoration", False)
    fused = metamixer.fuse(metamixer.create_model("ffnet_nano", **SMALL))
    metamixer.save_checkpoint(fused, path, model="ffnet_nano", model_args=SMALL)
    assert metamixer.load_checkpoint(path)[1]["fused"]
    with pytest.raises(InputError, match=r"own\.ckpt', expected a name that ends in \.safetensors"):
        metamixer.save_checkpoint(network, tmp_path / "own.ckpt", model="own")


@patch.dict(registry._BUILDERS)
@patch.dict(registry._TASKS)
def test_what_could_not_be_loaded_is_not_saved(tmp_path):
    metamixer.register("own", OwnNetwork)
    path, small = tmp_path / "other.safetensors", metamixer.create_model("ffnet_nano", **SMALL)
    for network, how, message in (
        (OwnNetwork(4), {"model": "own"}, r"{}: expected those of .* of another shape: weight \[2, 4\] instead"),
        (OwnNetwork(), {"model": "ffnet_nano", "model_args": SMALL}, "model 'ffnet_nano', .* has keys missing: stem"),
        (OwnNetwork(), {"model": "owm"}, "model 'owm': no such model"),
        (metamixer.fuse(small), {"model": "ffnet_nano"}, "of the given network, which has keys missing: "),
        (small, {"model": "ffnet_nano", "model_args": SMALL, "classes": ["a"]}, "1 names of classes, expected"),
    ):
        with pytest.raises(InputError, match=message):
            metamixer.save_checkpoint(network, path, **how)
    assert not path.exists()
