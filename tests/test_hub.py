"""`export --format hub`: a folder that timm, segmentation_models_pytorch and `metamixer.load` open."""

import json
from pathlib import Path

import pytest
import segmentation_models_pytorch
import timm
import torch

import metamixer
from metamixer.checkpoints.ours import network_info, save_network
from metamixer.cli import main
from metamixer.data import Preprocessing
from pictures import save_small_upscaler
from random_statistics import randomize

CLASSES = ["cat", "dog", "horse"]
X = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return randomize(metamixer.create_model("ffnet_nano", num_classes=3)).eval()


@pytest.fixture(scope="module")
def folder(network, tmp_path_factory):
    root = tmp_path_factory.mktemp("hub")
    preprocessing = Preprocessing(size=32, crop_pct=1.0, mean=(0.1, 0.2, 0.3)).as_dict()
    arguments = {"classes": CLASSES, "preprocessing": preprocessing}
    info = network_info("ffnet_nano", {"num_classes": 3}, task="classification", **arguments)
    save_network(network, info, root / "net.safetensors")
    assert main(["export", str(root / "net.safetensors"), "--format", "hub", "--out", str(root / "folder")]) == 0
    return root / "folder"


@torch.no_grad()
def test_timm_opens_the_folder_with_classes_and_preprocessing(folder, network):
    opened = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    torch.testing.assert_close(opened(X), network(X), rtol=0, atol=0)
    config = opened.pretrained_cfg
    assert config["label_names"] == CLASSES
    assert [*config["input_size"], *config["mean"]] == [3, 32, 32, 0.1, 0.2, 0.3]


@torch.no_grad()
def test_timm_and_smp_take_the_weights_by_checkpoint_path(folder, network):
    whole = timm.create_model("ffnet_nano", num_classes=3, checkpoint_path=str(folder / "model.safetensors")).eval()
    torch.testing.assert_close(whole(X), network(X), rtol=0, atol=0)
    file = str(folder / "backbone.safetensors")
    unet = segmentation_models_pytorch.Unet("tu-ffnet_nano", encoder_weights=None, checkpoint_path=file).eval()
    last = unet.encoder(X)[-1]
    torch.testing.assert_close(last, network.forward_intermediates(X, intermediates_only=True)[-1], rtol=0, atol=1e-6)


def test_metamixer_loads_the_folder(folder, network):
    classifier = metamixer.load(folder)
    assert type(classifier).__name__ == "Classifier" and classifier.classes == CLASSES
    with torch.no_grad():
        torch.testing.assert_close(classifier.run(X), network(X), rtol=1e-4, atol=1e-4)


def test_the_present_folder_is_a_target_and_files_beside_it_stay(tmp_path, monkeypatch):
    save_small_upscaler(tmp_path / "x2.safetensors")
    (tmp_path / "hub").mkdir()
    (tmp_path / ".hub.part").mkdir()
    (tmp_path / ".hub.part" / "mine.txt").write_text("mine")
    monkeypatch.chdir(tmp_path / "hub")
    command = ["export", "../x2.safetensors", "--format", "hub", "--overwrite", "--out"]
    for out in (".", str(tmp_path / "hub")):
        assert main([*command, out]) == 0
        assert sorted(path.name for path in Path().iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert (tmp_path / ".hub.part" / "mine.txt").read_text() == "mine"


def test_other_tasks_have_the_layout_too(tmp_path, capsys):
    save_small_upscaler(tmp_path / "x2.safetensors")
    command = ["export", str(tmp_path / "x2.safetensors"), "--format", "hub", "--out", str(tmp_path / "x2")]
    assert main(command) == 0
    assert sorted(path.name for path in (tmp_path / "x2").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(f"wrote {tmp_path / 'x2'}") and said[1].startswith("next: metamixer.load(")
    assert metamixer.load(tmp_path / "x2").scale == 2
    assert main([*command, "--overwrite", "--json", "-"]) == 0
    assert sorted(json.loads(capsys.readouterr().out)["files"]) == ["README.md", "config.json", "model.safetensors"]
    assert main(command) == 2
    assert "config.json: exists, expected another name or folder, or --overwrite" in capsys.readouterr().err


def test_a_deploy_form_is_refused(tmp_path, folder, capsys):
    assert main(["fuse", str(folder / "model.safetensors"), "--out", str(tmp_path / "fused.safetensors")]) == 0
    assert main(["export", str(tmp_path / "fused.safetensors"), "--format", "hub", "--out", str(tmp_path / "hub")]) == 2
    assert "a deploy form, expected the checkpoint it was fused from" in capsys.readouterr().err
    assert not (tmp_path / "hub").exists()


def test_the_card_of_the_zoo_s_weights_names_data_and_license(tmp_path):
    assert main(["export", "ffnet_3d_nano_semantickitti", "--format", "hub", "--out", str(tmp_path / "hub")]) == 0
    card = (tmp_path / "hub/README.md").read_text()
    assert "license: cc-by-nc-sa-4.0" in card and "Training data: SemanticKITTI" in card
