"""FFNet-3D: equal to the published network, differentiable, fusable, strict about its files and input."""

import json

import numpy as np
import pytest
import torch

import published_weights
from metamixer import cli, create_model, fuse, load_published
from metamixer.data import PointPreprocessing
from metamixer.data.points.class_names import S3DIS_CLASSES, SCANNET200_CLASSES, SCANNET_CLASSES
from metamixer.errors import InputError
from metamixer.models import FFNet3D
from metamixer.models.ffnet_3d import VARIANTS
from metamixer.ops.sparse import SparseVoxels
from metamixer.predictors.point_segmenter import PointSegmenter
from published_weights import GOLDEN

CONFIG = json.loads((GOLDEN / "points_keys.json").read_text())["config"]
SMALL = {
    "depths": CONFIG["enc_depths"],
    "dims": CONFIG["enc_channels"],
    "decoder_depths": CONFIG["dec_depths"],
    "decoder_dims": CONFIG["dec_channels"],
}
NUMBERS = np.load(GOLDEN / "points.npz")


@pytest.fixture(scope="module")
def scenes() -> SparseVoxels:
    """Two small scenes with six features per voxel."""
    features = published_weights.image("points/feat", (len(NUMBERS["points/batch"]), 6))
    return SparseVoxels.of(
        features, torch.from_numpy(NUMBERS["points/grid_coord"]), torch.from_numpy(NUMBERS["points/batch"])
    )


def published() -> dict[str, torch.Tensor]:
    return published_weights.state_dict("points/small", "points_keys.json")


@pytest.mark.parametrize("act", ["relu", "gelu"])
def test_equals_the_published_network(scenes, act):
    network = load_published(FFNet3D(6, act=act, **SMALL), published()).eval()
    with torch.inference_mode():
        features = network(scenes)
    expected = torch.from_numpy(NUMBERS[f"points/small_{act}/feat_out"])
    torch.testing.assert_close(features, expected, rtol=0, atol=2e-5)


def test_reads_a_published_segmenter_with_its_head(scenes):
    state = {f"module.backbone.{key}": value for key, value in published().items()}
    state |= {"module.seg_head.weight": torch.randn(13, 16), "module.seg_head.bias": torch.randn(13)}
    network = load_published(FFNet3D(6, 13, act="relu", **SMALL), state).eval()
    with torch.inference_mode():
        logits = network(scenes)
    features = torch.from_numpy(NUMBERS["points/small_relu/feat_out"])
    expected = features @ state["module.seg_head.weight"].T + state["module.seg_head.bias"]
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("classes", "act", "name"),
    [(S3DIS_CLASSES, "relu", "clutter"), (SCANNET_CLASSES, "gelu", "wall"), (SCANNET200_CLASSES, "gelu", "mattress")],
)
def test_published_files_label_clouds_with_their_sets_classes(scenes, tmp_path, monkeypatch, classes, act, name):
    monkeypatch.setitem(VARIANTS, "ffnet_3d", SMALL)
    bias = torch.zeros(len(classes))
    bias[classes.index(name)] = 1e4
    head = {"module.seg_head.weight": torch.randn(len(classes), 16), "module.seg_head.bias": bias}
    torch.save(
        {"state_dict": {f"module.backbone.{key}": value for key, value in published().items()} | head},
        tmp_path / "net.pth",
    )
    segmenter = PointSegmenter.load(tmp_path / "net.pth", model="ffnet_3d")
    assert segmenter.classes == list(classes) and segmenter.preprocessing == PointPreprocessing(
        0.02, ("colour", "normal")
    )
    features = torch.from_numpy(NUMBERS[f"points/small_{act}/feat_out"])
    with torch.inference_mode():
        logits = segmenter.network(scenes)
    torch.testing.assert_close(logits, features @ head["module.seg_head.weight"].T + bias, rtol=1e-4, atol=1e-3)
    np.savez(tmp_path / "room.npz", coord=np.eye(3), color=np.eye(3), normal=np.eye(3))
    arguments = ["--model", "ffnet_3d", "--checkpoint", str(tmp_path / "net.pth"), "--out", str(tmp_path / "out")]
    assert cli.main(["points", str(tmp_path / "room.npz"), *arguments]) == 0
    assert f"room.npz,{name},3,1.000000" in (tmp_path / "out/counts.csv").read_text()


@pytest.mark.parametrize(
    ("model", "classes", "message"),
    [
        (None, 13, "net.pth: doesn't name its network"),
        ("ffnet_3d_nano", 13, "model 'ffnet_3d_nano', expected ffnet_3d, the only published point network"),
        ("ffnet_3d", 19, r"net\.pth: a head of 19 classes, expected one of 13 \(S3DIS\), 20 \(ScanNet\) or 200"),
        ("ffnet_3d", 0, r"net\.pth: no head, expected one of 13"),
    ],
)
def test_published_files_of_unknown_sets_are_refused(tmp_path, model, classes, message):
    head = {"seg_head.weight": torch.randn(classes, 16), "seg_head.bias": torch.randn(classes)} if classes else {}
    torch.save({"state_dict": published() | head}, tmp_path / "net.pth")
    with pytest.raises(InputError, match=message):
        PointSegmenter.load(tmp_path / "net.pth", model=model)


def test_names_keys_of_another_network():
    with pytest.raises(InputError, match=r"2 missing: seg_head\.bias|2 missing: seg_head\.weight"):
        load_published(FFNet3D(6, 13, **SMALL), published())


def test_has_the_published_number_of_parameters():
    with torch.device("meta"):
        network = create_model("ffnet_3d")
    assert sum(parameter.numel() for parameter in network.parameters()) == 103_211_136


def test_trains_on_a_scene_of_one_voxel_at_the_coarsest_stage():
    network = create_model("ffnet_3d_nano", in_chans=4, num_classes=3)
    coordinates = torch.tensor([[0, 0, 0], [1, 2, 3], [7, 7, 7]])
    first, *_, last = (downsample[2].running_mean for downsample in network.downsamples)
    logits = network(SparseVoxels.of(torch.randn(3, 4), coordinates, torch.zeros(3, dtype=torch.int64)))
    logits.square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())
    assert first.any(), "three voxels change the statistics"
    assert not last.any(), "one voxel doesn't"


def test_only_the_norms_after_a_pooling_stay():
    network = FFNet3D(6, 5, **SMALL)
    norms = [module for module in fuse(network).modules() if isinstance(module, torch.nn.BatchNorm1d)]
    assert len(norms) == len(network.downsamples)


def test_order_of_the_voxels_does_not_matter(scenes):
    network = create_model("ffnet_3d_nano", num_classes=5).eval()
    order = torch.randperm(len(scenes), generator=torch.Generator().manual_seed(0))
    mixed = SparseVoxels.of(scenes.features[order], scenes.grid.coordinates[order], scenes.grid.batch[order])
    with torch.inference_mode():
        torch.testing.assert_close(network(mixed), network(scenes)[order], rtol=1e-4, atol=1e-5)


def test_a_single_voxel_and_autocast():
    network = create_model("ffnet_3d_nano", num_classes=5).eval()
    voxel = SparseVoxels.of(torch.randn(1, 6), torch.tensor([[3, 0, 7]]))
    with torch.inference_mode():
        exact = network(voxel)
        with torch.autocast("cpu", torch.bfloat16):
            rough = network(voxel)
    assert exact.shape == (1, 5)
    torch.testing.assert_close(rough.float(), exact, rtol=0.05, atol=0.05)


def test_refuses_input_that_does_not_fit(scenes):
    with pytest.raises(InputError, match="6 features, expected 4"):
        create_model("ffnet_3d_nano", in_chans=4)(scenes)
    with pytest.raises(InputError, match="act 'tanh'"):
        FFNet3D(act="tanh")
    with pytest.raises(InputError, match="mixer 'conv'"):
        FFNet3D(mixers="conv")
    with pytest.raises(InputError, match="one stage less"):
        FFNet3D(depths=(1, 1))
