"""Segmentation networks: equal to the published ones, trainable, fusable, for any image size."""

import numpy as np
import pytest
import timm
import torch

import metamixer
from metamixer.bench.complexity import measure
from metamixer.errors import InputError
from metamixer.models.segmentation.heads import FFNetHead
from metamixer.ops import IMAGE_WITH_STRIPS
from published_weights import GOLDEN, image, state_dict, zeros_as_initialization
from random_statistics import randomize

KEYS = "segmentation_keys.json"


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDEN / "segmentation.npz")


def prefixed(prefix, state):
    return {f"{prefix}.{key}": tensor for key, tensor in state.items()}


@pytest.fixture(scope="module")
def published():
    """The published weights of the backbone that both FFNet-seg share."""
    return state_dict("seg/backbone", KEYS)


def assert_published(actual, expected):
    np.testing.assert_allclose(actual.detach(), expected, rtol=0, atol=2e-5)


@torch.no_grad()
def test_imagenet_classifier_computes_what_the_published_one_does(golden, published, tmp_path):
    state = published | state_dict("seg/pretrain", KEYS)
    torch.save({"state_dict": state}, tmp_path / "ffnet_seg.pth.tar")
    with zeros_as_initialization():
        network = metamixer.load_published(timm.create_model("ffnet_seg").eval(), state)
    assert_published(network(image("seg/x", (1, 3, 64, 64))), golden["seg/pretrain/logits"])
    overlay = {"file": str(tmp_path / "ffnet_seg.pth.tar")}
    backbone = timm.create_model(
        "ffnet_seg", features_only=True, out_indices=(1, 2, 3), pretrained=True, pretrained_cfg_overlay=overlay
    )
    for i, feature in enumerate(backbone.eval()(image("seg/x", (1, 3, 64, 64)))):
        assert_published(feature, golden[f"seg/feat{i}"])


@torch.no_grad()
@pytest.mark.parametrize("variant", ["ade20k", "cityscapes"])
def test_ffnet_seg_computes_what_the_published_one_does(variant, golden, published):
    state = prefixed("backbone", published) | prefixed("decode_head", state_dict(f"seg/head/{variant}", KEYS))
    with zeros_as_initialization():
        network = metamixer.create_model(f"ffnet_seg_{variant}").eval()
    metamixer.load_published(network, {"state_dict": state})
    features = network.backbone(image("seg/x", (1, 3, 64, 64)))
    for i, feature in enumerate(features):
        assert_published(feature, golden[f"seg/feat{i}"])
    assert_published(
        network.head([torch.from_numpy(golden[f"seg/feat{i}"]) for i in range(3)]), golden[f"seg/head/{variant}/logits"]
    )
    assert_published(metamixer.fuse(network).head(features), network.head(features))


@torch.no_grad()
def test_upernet_computes_what_the_published_one_does(golden):
    with zeros_as_initialization():
        network = metamixer.create_model("upernet_ffnet_2").eval()
    state = prefixed("backbone", state_dict("det/ffnet_2"))
    for head in ("decode_head", "auxiliary_head"):
        state |= prefixed(head, state_dict(f"upernet/{head}", KEYS))
    metamixer.load_published(network, state)
    features = [
        image(f"upernet/feat{i}", (1, dim, 32 // 2**i, 40 // 2**i)) for i, dim in enumerate((88, 176, 352, 704))
    ]
    assert_published(network.head(features)[:, :8], golden["upernet/logits"])
    assert_published(network.auxiliary_head(features[2])[:, :8], golden["upernet/aux_logits"])


def test_a_published_checkpoint_must_fit_in_both_directions():
    network = metamixer.create_model("ffnet_head_ffnet_nano")
    state = dict(network.state_dict())
    state["decode_head.bogus"] = state.pop("head.classifier.bias")
    with pytest.raises(InputError, match=r"1 missing: decode_head\.conv_seg\.bias; 1 unexpected: decode_head\.bogus"):
        metamixer.load_published(network, state)


@pytest.mark.parametrize(
    ("name", "size", "millions", "giga_macs"),
    [
        ("ffnet_seg_ade20k", (512, 512), 68.48, 74.57),
        ("upernet_ffnet_2", None, 58.40, None),
        ("upernet_ffnet_3", None, 80.47, None),
        ("upernet_ffnet_4", None, 113.38, None),
    ],
)
def test_size_is_the_papers(name, size, millions, giga_macs):
    """Paper, segmentation tables: 68 M and 74 G; 58, 80 and 113 M; training form."""
    with torch.device("meta"):
        network = metamixer.create_model(name).eval()
        assert round(sum(parameter.numel() for parameter in network.parameters()) / 1e6, 2) == millions
        if size:
            assert round(measure(network, torch.empty(1, 3, *size)).macs / 1e9, 2) == giga_macs


def test_macs_on_cityscapes_are_the_papers_with_150_classes():
    """Paper: 577 G at 1024x2048, which is for ADE20K's 150 classes; with Cityscapes' 19 classes it is 573 G."""
    with torch.device("meta"):
        network = metamixer.create_model("ffnet_seg_cityscapes", num_classes=150).eval()
        assert round(measure(network, torch.empty(1, 3, 1024, 2048)).macs / 1e9, 2) == 577.04


def test_the_auxiliary_head_is_for_training_alone():
    network = metamixer.create_model("upernet_ffnet_1", backbone="ffnet_nano", dim=16, auxiliary_dim=8)
    assert network.auxiliary_head is not None
    assert metamixer.fuse(network).auxiliary_head is None


def test_gradient_checkpointing_changes_no_gradient():
    gradients = []
    for enable in (False, True):
        torch.manual_seed(0)
        network = metamixer.create_model("ffnet_head_ffnet_nano", num_classes=5).train()
        network.set_grad_checkpointing(enable)
        torch.manual_seed(0)
        network(image("pixels", (2, 3, 64, 64))).square().mean().backward()
        gradients.append([parameter.grad for parameter in network.parameters()])
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(checkpointed, plain)


@torch.no_grad()
@pytest.mark.parametrize("kernel_size", [3, 5, 9])
def test_strips_and_square_fold_into_one_convolution(kernel_size):
    conv = randomize(IMAGE_WITH_STRIPS.depthwise(6, kernel_size))
    sizes = [branch.conv.kernel_size for branch in conv.branches]
    assert sizes[:3] == [(kernel_size, kernel_size), (1, kernel_size), (kernel_size, 1)]
    assert sizes[3:] == ([(kernel_size - 4, kernel_size - 4)] if kernel_size > 3 else [])
    x = image("pixels", (1, 6, 13, 11))
    expected = conv(x)
    torch.testing.assert_close(conv.fuse()(x), expected, rtol=1e-5, atol=1e-5)


def test_the_head_works_on_any_timm_backbone():
    network = metamixer.create_model(
        "ffnet_head_ffnet_nano", num_classes=3, backbone="test_convnext2", head_args={"depth": 1}
    )
    assert isinstance(network.head, FFNetHead)
    assert network(image("pixels", (1, 3, 64, 64))).shape == (1, 3, 64, 64)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backbone": "ffnet_9"}, "backbone 'ffnet_9': no such model"),
        (
            {"backbone": "vit_tiny_patch16_224"},
            r"backbone 'vit_tiny_patch16_224': no features at strides \(8, 16, 32\)",
        ),
        ({"num_classes": 1}, "num_classes 1, expected at least 2"),
    ],
)
def test_refuses_input_that_does_not_fit(arguments, message):
    with pytest.raises(InputError, match=message):
        metamixer.create_model("ffnet_head_ffnet_nano", **arguments)


def test_says_how_to_install_what_upernet_needs(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "segmentation_models_pytorch", None)
    with pytest.raises(InputError, match=r"pip install 'metamixer\[segmentation\]'"):
        metamixer.create_model("upernet_ffnet_1")
