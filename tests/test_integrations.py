"""Other packages use our backbones by name, without extra code."""

import pytest
import segmentation_models_pytorch
import timm
import torch
from transformers import (
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    RTDetrV2Config,
    RTDetrV2ForObjectDetection,
    TimmBackbone,
    TimmBackboneConfig,
)

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
    assert [feature.shape for feature in feature_maps] == [
        (1, info[1]["num_chs"], 8, 12),
        (1, info[3]["num_chs"], 2, 3),
    ]


@torch.no_grad()
@pytest.mark.parametrize("out_indices", [(0, 1, 2, 3), (0, 2), (1,), (-2, -1)])
def test_timm_returns_the_requested_features_and_prunes_the_rest(out_indices):
    torch.manual_seed(0)
    whole = timm.create_model("ffnet_nano", num_classes=7).eval()
    torch.manual_seed(0)
    backbone = timm.create_model("ffnet_nano", features_only=True, out_indices=out_indices, num_classes=7).eval()
    x = image("pixels", (1, 3, 64, 96))
    stages = whole.forward_intermediates(x, intermediates_only=True)
    torch.testing.assert_close(backbone(x), [stages[i] for i in out_indices], rtol=0, atol=0)
    assert backbone.feature_info.channels() == [whole.feature_info[i]["num_chs"] for i in out_indices]
    assert len(backbone.model.stages) == max(i % 4 for i in out_indices) + 1


def without_gradient(module):
    return [name for name, parameter in module.named_parameters() if parameter.grad is None or not parameter.grad.any()]


def test_transformers_trains_rt_detr_on_a_backbone():
    config = RTDetrV2Config(
        backbone_config=TimmBackboneConfig(backbone="ffnet_nano", out_indices=[1, 2, 3], use_pretrained_backbone=False),
        encoder_in_channels=[64, 128, 256],
        decoder_in_channels=[32, 32, 32],
        encoder_hidden_dim=32,
        d_model=32,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        decoder_layers=2,
        num_queries=10,
        num_denoising=4,
        num_labels=3,
        freeze_backbone_batch_norms=False,
    )
    detector = RTDetrV2ForObjectDetection(config).train()
    labels = [
        {"class_labels": torch.tensor([0, 2]), "boxes": torch.tensor([[0.3, 0.3, 0.2, 0.2], [0.6, 0.6, 0.3, 0.3]])}
    ] * 2
    detector(pixel_values=image("pixels", (2, 3, 64, 96)), labels=labels).loss.backward()
    assert not without_gradient(detector.model.backbone)
    with torch.no_grad():
        found = detector.eval()(pixel_values=image("pixels", (1, 3, 64, 96)))
    assert found.logits.shape == (1, 10, 3)
    assert found.pred_boxes.shape == (1, 10, 4)


def test_transformers_trains_mask2former_on_a_backbone():
    config = Mask2FormerConfig(
        backbone_config=TimmBackboneConfig(
            backbone="ffnet_nano", out_indices=[0, 1, 2, 3], use_pretrained_backbone=False
        ),
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=32,
        encoder_layers=1,
        decoder_layers=2,
        dim_feedforward=32,
        num_attention_heads=2,
        num_queries=5,
        num_labels=3,
    )
    segmenter = Mask2FormerForUniversalSegmentation(config).train()
    masks = [(image(f"mask{i}", (2, 64, 96)) > 0).float() for i in range(2)]
    pixels = image("pixels", (2, 3, 64, 96))
    segmenter(pixel_values=pixels, mask_labels=masks, class_labels=[torch.tensor([0, 2])] * 2).loss.backward()
    assert not without_gradient(segmenter.model.pixel_level_module.encoder)
    with torch.no_grad():
        found = segmenter.eval()(pixel_values=pixels)
    assert found.class_queries_logits.shape == (2, 5, 4)
    assert found.masks_queries_logits.shape == (2, 5, 16, 24)
