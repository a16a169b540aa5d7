"""FFNet-3D: equal to the published network, differentiable, foldable, strict about its files and its input."""

import json

import numpy as np
import pytest
import torch

import published_weights
from metamixer import create_model, fuse, list_models, load_published
from metamixer.errors import InputError
from metamixer.models import FFNet3D
from metamixer.models.ffnet_3d import VARIANTS
from metamixer.sparse import SparseVoxels
from published_weights import GOLDEN
from random_statistics import randomize

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
    """Two small scenes of six features a voxel."""
    features = published_weights.image("points/feat", (len(NUMBERS["points/batch"]), 6))
    return SparseVoxels.of(features, torch.from_numpy(NUMBERS["points/grid_coord"]), torch.from_numpy(NUMBERS["points/batch"]))


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


def test_names_keys_of_another_network():
    with pytest.raises(InputError, match=r"2 missing: seg_head\.bias|2 missing: seg_head\.weight"):
        load_published(FFNet3D(6, 13, **SMALL), published())


def test_has_the_published_number_of_parameters():
    with torch.device("meta"):
        network = create_model("ffnet_3d")
    assert sum(parameter.numel() for parameter in network.parameters()) == 103_211_136


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "ffnet_3d"])
def test_variants_learn_everywhere_and_fold(scenes, name):
    assert name in list_models("points")
    network = create_model(name, in_chans=6, num_classes=5, drop_path_rate=0.2)
    network(scenes).square().mean().backward()
    idle = [key for key, parameter in network.named_parameters() if parameter.grad is None or not parameter.grad.isfinite().all()]
    assert not idle
    randomize(network)
    deploy = fuse(network)
    norms = [type(module).__name__ for module in deploy.modules() if isinstance(module, torch.nn.BatchNorm1d)]
    assert len(norms) == len(network.downsamples), "only the norms behind a pooling stay"
    with torch.inference_mode():
        torch.testing.assert_close(deploy(scenes), network(scenes), rtol=1e-4, atol=1e-4)


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


def test_refuses_what_does_not_fit(scenes):
    with pytest.raises(InputError, match="6 features, expected 4"):
        create_model("ffnet_3d_nano", in_chans=4)(scenes)
    with pytest.raises(InputError, match="act 'tanh'"):
        FFNet3D(act="tanh")
    with pytest.raises(InputError, match="mixer 'conv'"):
        FFNet3D(mixer="conv")
    with pytest.raises(InputError, match="one stage less"):
        FFNet3D(depths=(1, 1))
