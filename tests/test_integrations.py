"""Other packages take our backbones by name, without code of ours."""

import pytest
import segmentation_models_pytorch
import timm
import torch
from transformers import TimmBackbone, TimmBackboneConfig

import metamixer
from published_weights import image

NAMES = ("ffnet_nano", "ffnet_1")


@pytest.mark.parametrize("name", NAMES)
def test_segmentation_models_pytorch_builds_a_unet(name):
    unet = segmentation_models_pytorch.Unet(encoder_name=f"tu-{name}", encoder_weights=None, classes=5).train()
    masks = unet(image("pixels", (2, 3, 64, 96)))
    assert masks.shape == (2, 5, 64, 96)
    masks.square().mean().backward()
    assert not [name for name, parameter in unet.encoder.named_parameters() if parameter.grad is None]


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_transformers_wraps_a_backbone(name):
    config = TimmBackboneConfig(backbone=name, out_indices=[1, 3], use_pretrained_backbone=False)
    backbone = TimmBackbone(config).eval()
    feature_maps = backbone(image("pixels", (1, 3, 64, 96))).feature_maps
    info = metamixer.create_model(name, device="meta").feature_info
    assert [feature.shape for feature in feature_maps] == [(1, info[1]["num_chs"], 8, 12), (1, info[3]["num_chs"], 2, 3)]


@torch.no_grad()
@pytest.mark.parametrize("out_indices", [(0, 1, 2, 3), (0, 2), (1,), (-2, -1)])
def test_timm_gives_the_features_asked_for_and_prunes_the_rest(out_indices):
    torch.manual_seed(0)
    whole = timm.create_model("ffnet_nano", num_classes=7).eval()
    torch.manual_seed(0)
    backbone = timm.create_model("ffnet_nano", features_only=True, out_indices=out_indices, num_classes=7).eval()
    x = image("pixels", (1, 3, 64, 96))
    stages = whole.forward_intermediates(x, intermediates_only=True)
    torch.testing.assert_close(backbone(x), [stages[i] for i in out_indices], rtol=0, atol=0)
    assert backbone.feature_info.channels() == [whole.feature_info[i]["num_chs"] for i in out_indices]
    assert len(backbone.model.stages) == max(i % 4 for i in out_indices) + 1
