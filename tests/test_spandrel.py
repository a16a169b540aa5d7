"""spandrel opens FFNet-SR's weights, ours and the published ones. Skipped if spandrel isn't installed."""

import pytest
import torch
from safetensors.torch import save_file

import metamixer

spandrel = pytest.importorskip("spandrel", reason="spandrel is not installed: pip install 'metamixer[spandrel]'")

KINDS = {
    "no norm": {"scale": 2},
    "LayerNorm": {"scale": 4, "norm": "layernorm2d"},
    "BatchNorm": {"scale": 3, "norm": "batchnorm2d", "expansion_ratio": 3},
    "kernels of 5": {"scale": 2, "token_kernel": 5, "channel_kernel": 5},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("published", [False, True])
@torch.no_grad()
def test_opens_weights(kind, published, tmp_path):
    from metamixer.checkpoints.spandrel import register

    register()
    register()
    network = metamixer.create_model("ffnet_sr_nano", dim=16, depth=2, **KINDS[kind]).eval()
    state = {
        network.published_name(name) if published else name: tensor for name, tensor in network.state_dict().items()
    }
    save_file(state, tmp_path / "weights.safetensors")
    opened = spandrel.ModelLoader().load_from_file(tmp_path / "weights.safetensors")
    assert (opened.architecture.id, opened.scale) == ("FFNetSR", KINDS[kind]["scale"])
    x = torch.rand(1, 3, 12, 10)
    torch.testing.assert_close(opened(x), network(x).clamp(0, 1))


@pytest.mark.parametrize("mixer", ["identity", "pooling", "depthwise"])
@pytest.mark.parametrize("published", [False, True])
def test_leaves_other_mixers_alone(mixer, published):
    from metamixer.checkpoints.spandrel import is_ffnet_sr

    network = metamixer.create_model("ffnet_sr_nano", dim=16, depth=2, mixer=mixer)
    assert not is_ffnet_sr(
        {network.published_name(name) if published else name: tensor for name, tensor in network.state_dict().items()}
    )
