"""Checkpoints that networks and trainings start from, and the one that a full disk leaves."""

from pathlib import Path

import pytest
import torch
from PIL import Image

import metamixer
from command_inputs import save_classifier
from metamixer.checkpoints.ours import load_checkpoint, load_initial, network_info, save_network
from metamixer.errors import InputError
from metamixer.predictors.classifier import Classifier


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
