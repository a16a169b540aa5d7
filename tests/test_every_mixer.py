"""Every mixer in every family of networks: it runs, all parameters get gradients, and the fused form is equal."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import metamixer
from metamixer.errors import InputError
from metamixer.mixer import (
    TOKEN_MIXERS,
    ConvNeXtFFN,
    FFNifiedAttention,
    MetaMixer,
    MixerBlock,
    SelfAttention,
    token_mixer,
)
from metamixer.models.ffnet_ts.mixers import variable_operators
from metamixer.models.ffnet_ts.zero import TokenNorm
from metamixer.ops import IMAGE, IMAGE_WITH_STRIPS, SERIES, ConvNorm, NormConv, ParallelConv, fused
from metamixer.ops.sparse import SparseVoxels
from metamixer.ops.voxels import ATTENTION_WINDOW, VOXELS
from published_weights import image
from random_statistics import randomize

DIM = 32


class NearValues(MetaMixer):
    """A user's mixer: a depthwise key with a large kernel, and a 3x3 depthwise value."""

    def __init__(self, dim, kernel_size, operators):
        super().__init__(
            query=operators.conv_norm(dim, dim, 1),
            key=operators.depthwise(dim, kernel_size),
            act=operators.elementwise(nn.SiLU()),
            value=operators.spatial(dim, 3),
        )


MIXERS = {**TOKEN_MIXERS, "a user's": NearValues}


def cloud(channels=6, *, cells=10, density=0.2, seed=0) -> SparseVoxels:
    """Two random scenes."""
    generator = torch.Generator().manual_seed(seed)
    voxels = (torch.rand(2, cells, cells, cells, generator=generator) < density).nonzero()
    features = torch.randn(len(voxels), channels, generator=generator)
    return SparseVoxels.of(features, voxels[:, 1:], voxels[:, 0])


def features(x):
    """The output of a network or layer as one tensor."""
    return x.features if isinstance(x, SparseVoxels) else x


NARROW = {"depths": (1, 1, 1, 1), "dims": (32, 32, 32, 32), "stem_dim": 8, "token_kernels": (3, 3, 7, 7)}
HEAD = {"dim": 32, "depth": 1, "out_dim": 32, "expansion_ratio": 1}
POINTS = {"depths": (1, 1), "dims": (32, 32), "decoder_depths": (1,), "decoder_dims": (32,), "expansion_ratio": 1}
SERIES_NETWORK = {"dims": (32,), "kernel_sizes": (9,), "lookback": 24, "horizon": 8, "variables": 3}
FAMILIES = {
    "images": ("ffnet_nano", {**NARROW, "num_classes": 3, "layer_scale": 0.5}),
    "detection": ("cascade_mask_rcnn_ffnet_nano", {"backbone_args": NARROW, "channels": 8, "hidden_dim": 8}),
    "segmentation": ("ffnet_head_ffnet_nano", {"num_classes": 3, "backbone_args": NARROW, "head_args": HEAD}),
    "segmentation, UPerNet": (
        "upernet_ffnet_1",
        {"backbone": "ffnet_nano", "num_classes": 3, "backbone_args": NARROW, "dim": 8, "auxiliary_dim": 8},
    ),
    "super-resolution": ("ffnet_sr_nano", {"dim": 32, "depth": 1, "token_kernel": 7}),
    "super-resolution, norms": ("ffnet_sr_nano", {"dim": 32, "depth": 1, "norm": "batchnorm2d"}),
    "forecasting": ("ffnet_ts", SERIES_NETWORK),
    "forecasting, zero-shot": ("ffnet_ts_zero", {"dim": 32, "depth": 1, "context": 64, "horizon": 32}),
    "points": ("ffnet_3d_nano", {**POINTS, "num_classes": 3}),
}


def outputs(network: nn.Module, family: str) -> torch.Tensor:
    """All outputs of a network as one vector, before any selection such as NMS."""
    if family == "points":
        return network(cloud()).flatten()
    if family == "forecasting, zero-shot":
        return network(image("series", (2, 64))).flatten()
    if family == "forecasting":
        return network(image("window", (2, 24, 3))).flatten()
    if family.startswith("super-resolution"):
        return network(image("small", (2, 3, 12, 10))).flatten()
    x = image("image", (2, 3, 64, 64))
    if family.startswith("segmentation"):
        return torch.cat([logits.flatten() for logits in network.forward_heads(x)])
    if family == "detection":
        return torch.cat([level.flatten() for level in network.forward_features(x)])
    return network(x).flatten()


@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize("family", FAMILIES)
def test_runs_trains_and_fuses(family, mixer):
    name, settings = FAMILIES[family]
    torch.manual_seed(0)
    network = randomize(
        metamixer.create_model(name, mixers=MIXERS[mixer] if mixer == "a user's" else mixer, **settings)
    )
    expected = outputs(network, family)
    expected.square().mean().backward()
    parts = network.pyramid if family == "detection" else network
    idle = [key for key, value in parts.named_parameters() if value.grad is None or not value.grad.abs().sum() > 0]
    assert not idle
    deployed = metamixer.fuse(network)
    if family != "forecasting, zero-shot":  # its norms have no statistics
        assert not [module for module in deployed.modules() if isinstance(module, ConvNorm | NormConv | ParallelConv)]
    with torch.inference_mode():
        if getattr(deployed, "auxiliary_head", False) is None:
            expected = expected[: deployed.head(deployed.backbone(image("image", (2, 3, 64, 64)))).numel()]
        tolerance = 1e-4 * expected.abs().max().item()
        torch.testing.assert_close(outputs(deployed, family), expected, rtol=1e-4, atol=tolerance)


@pytest.mark.parametrize("family", ["images", "detection", "segmentation", "segmentation, UPerNet", "points"])
def test_a_list_names_the_mixer_of_each_stage(family):
    name, settings = FAMILIES[family]
    stages = 2 if family == "points" else 4
    mixers = ["ffnified"] * (stages - 1) + [NearValues]
    network = metamixer.create_model(name, mixers=mixers, **settings)
    assert sum(isinstance(module, NearValues) for module in network.modules()) == 1
    with pytest.raises(InputError, match=f"expected one entry per stage, {stages} in all"):
        metamixer.create_model(name, mixers=["ffnified"] * 5, **settings)


THREE_STAGES = {"depths": (1,) * 3, "dims": (8,) * 3, "token_kernels": (3,) * 3, "channel_kernels": (3,) * 3}


@torch.no_grad()
def test_the_number_of_stages_and_the_expansion_may_be_chosen():
    backbone = metamixer.create_model("ffnet_nano", features_only=True, **THREE_STAGES)
    assert [feature.shape[2] for feature in backbone(image("image", (1, 3, 64, 64)))] == [16, 8, 4]
    one = {"depths": (1,), "dims": (16,), "decoder_depths": (), "decoder_dims": ()}
    assert metamixer.create_model("ffnet_3d_nano", num_classes=3, **one)(cloud()).shape == (len(cloud()), 3)
    forecaster = metamixer.create_model("ffnet_ts", **SERIES_NETWORK, expansion_ratio=3.0)
    assert forecaster.stages[0].blocks[0].channel_mixer.mixer.key.out_channels == 3 * 96
    assert forecaster(image("window", (2, 24, 3))).shape == (2, 8, 3)


class ZeroStart(FFNifiedAttention):
    """A user's mixer that initializes its values."""

    def __init__(self, dim, kernel_size, operators):
        super().__init__(dim, kernel_size, operators)
        self.init_weights()

    @torch.no_grad()
    def init_weights(self):
        for parameter in self.value.parameters():
            parameter.zero_()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_mixer_may_initialize_its_own_weights(family):
    name, settings = FAMILIES[family]
    network = metamixer.create_model(name, mixers=ZeroStart, **settings)
    mixers = [module for module in network.modules() if isinstance(module, ZeroStart)]
    assert mixers and not any(parameter.any() for mixer in mixers for parameter in mixer.value.parameters())
    assert all(parameter.any() for name, parameter in mixers[0].query.named_parameters() if name.endswith("weight"))


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("ffnet_ts", {"mixers": ["pooling", "pooling"]}, "expected one entry per stage, 1 in all"),
        ("ffnet_sr_nano", {"mixers": ["pooling", "pooling"]}, "expected one entry per stage, 1 in all"),
        ("ffnet_head_ffnet_nano", {"head_args": {"mixers": "none"}}, "mixer 'none', expected one of ffnified"),
        ("ffnet_ts", {"mixers": 3}, "mixer 3, expected one of ffnified"),
        ("ffnet_1", {"mixers": "attention"}, "dim 80, expected a multiple of head_dim 32"),
        ("resnet18", {"mixers": "pooling"}, "mixers 'pooling', expected none for resnet18"),
        ("unet_mobilenetv3_small", {"mixers": "pooling"}, "mixers 'pooling', expected none for a U-Net"),
        ("upernet_ffnet_1", {"backbone": "resnet18", "mixers": "pooling"}, "expected none for backbone 'resnet18'"),
        ("cascade_mask_rcnn_ffnet_2", {"backbone": "resnet18", "mixers": "pooling"}, "expected none for backbone"),
        ("ffnet_3d_nano", {"kernel_size": 4, "mixers": "pooling"}, "kernel_size 4, expected an odd number"),
        ("ffnet_nano", {"token_kernels": (4, 3, 7, 7), "mixers": "pooling"}, "token_kernels 4, 3, 7, 7, expected odd"),
        ("ffnet_nano", {"channel_kernels": (3, 3, 3, (1, 6))}, r"channel_kernels 3, 3, 3, \(1, 6\), expected odd"),
        ("ffnet_sr_nano", {"token_kernel": 4}, "token_kernel 4, expected odd sizes"),
        ("ffnet_restore", {"channel_kernel": 2}, "channel_kernel 2, expected odd sizes"),
        ("ffnet_head_ffnet_nano", {"head_args": {"kernel_size": 8}}, "kernel_size 8, expected odd sizes"),
        ("ffnet_ts", {"parallel_kernel_sizes": (4,)}, "parallel_kernel_sizes 4, expected odd sizes"),
        ("ffnet_ts_zero", {"kernel_size": 32}, "kernel_size 32, expected odd sizes"),
        ("ffnet_ts_zero", {"channel_kernel_size": 4}, "channel_kernel_size 4, expected odd sizes"),
        ("ffnet_nano", {"dims": (32, 48, 96, 192)}, "dims with 48 after 32, expected a multiple of 32"),
        ("ffnet_nano", {"expansion_ratio": 0.01}, "expansion_ratio 0.01, expected at least 1 / 32"),
        ("ffnet_ts", {"expansion_ratio": 1.5}, "expansion_ratio 1.5, expected a whole number"),
        ("ffnet_nano", dict.fromkeys(THREE_STAGES, ()), "expected one entry per stage in each"),
        ("ffnet_ts", dict.fromkeys(("depths", "dims", "kernel_sizes"), ()), "expected one entry per stage in each"),
        ("ffnet_head_ffnet_nano", {"backbone_args": THREE_STAGES}, r"no features at strides \(8, 16, 32\)"),
    ],
)
def test_refuses_combinations_that_make_no_sense(name, settings, message):
    with pytest.raises(InputError, match=message):
        metamixer.create_model(name, **settings)


@pytest.mark.parametrize("name", ["ffnet_sr_nano", "ffnet_3d_nano", "ffnet_ts_zero"])
def test_the_keyword_of_earlier_versions_still_builds_the_network(name):
    mixers = {type(module) for module in metamixer.create_model(name, mixer="pooling").modules()}
    assert mixers == {type(module) for module in metamixer.create_model(name, mixers="pooling").modules()}
    with pytest.raises(InputError, match="mixer 'pooling', mixers 'identity': expected only mixers"):
        metamixer.create_model(name, mixer="pooling", mixers="identity")


DATA = {
    "image": (IMAGE, lambda: image("x", (2, DIM, 9, 11))),
    "image with strips": (IMAGE_WITH_STRIPS, lambda: image("x", (2, DIM, 9, 11))),
    "series": (SERIES, lambda: image("x", (2, DIM, 25))),
    "series of 3 variables": (variable_operators(3), lambda: image("x", (2, 3 * DIM, 25))),
    "voxels": (VOXELS, lambda: cloud(DIM)),
}
LAYERS = {
    "conv": lambda operators: operators.conv(DIM, 2 * DIM, 3, 1, 1),
    "conv in groups": lambda operators: operators.conv(DIM, 2 * DIM, 3, 1, 1, groups=4),
    "norm": lambda operators: operators.norm(DIM),
    "pool": lambda operators: operators.pool(3, 1, 1, count_include_pad=False),
    "pool with zeros": lambda operators: operators.pool(3, 1, 1),
    "act": lambda operators: operators.act(),
    "elementwise": lambda operators: operators.elementwise(nn.SiLU()),
    "drop_path": lambda operators: operators.drop_path(0.5),
    "layer_scale": lambda operators: operators.layer_scale(DIM, 0.1),
    "conv_norm": lambda operators: operators.conv_norm(DIM, 2 * DIM, 3),
    "conv_norm in groups": lambda operators: operators.conv_norm(DIM, 2 * DIM, 3, groups=4),
    "norm_conv": lambda operators: operators.norm_conv(DIM, 2 * DIM),
    "depthwise 3": lambda operators: operators.depthwise(DIM, 3),
    "depthwise 9": lambda operators: operators.depthwise(DIM, 9),
    "depthwise_norm 3, twice as wide": lambda operators: operators.depthwise_norm(DIM, 2 * DIM, 3),
    "depthwise_norm 9": lambda operators: operators.depthwise_norm(DIM, DIM, 9),
    "projection": lambda operators: operators.projection(DIM),
    "spatial": lambda operators: operators.spatial(DIM, 9),
    "spatial_norm": lambda operators: operators.spatial_norm(DIM, 9),
    "a smaller branch first": lambda operators: ParallelConv(
        operators.conv(DIM, DIM, 3, 1, 1), operators.conv_norm(DIM, DIM, 5)
    ),
    "depthwise beside full": lambda operators: ParallelConv(
        operators.conv(DIM, DIM, 5, 1, 2), operators.depthwise(DIM, 3)
    ),
    "identity in parallel": lambda operators: ParallelConv(operators.norm_conv(DIM, DIM), nn.Identity()),
}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("kind", DATA)
def test_every_operator_works_and_fuses_on_every_kind_of_data(kind, layer):
    operators, data = DATA[kind]
    module, x = randomize(LAYERS[layer](operators)), data()
    expected = features(module(x))
    deployed = fused(module)
    torch.testing.assert_close(features(deployed(x)), expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())
    assert not [part for part in deployed.modules() if isinstance(part, ConvNorm | NormConv | ParallelConv)]
    assert torch.equal(features(module(x)), expected), "the original is untouched"
    made = LAYERS[layer](operators.on("meta", torch.bfloat16))
    assert {(value.device.type, value.dtype) for value in made.parameters()} <= {("meta", torch.bfloat16)}


def test_series_of_variables_keep_their_replaced_layers_elsewhere():
    mine = replace(variable_operators(3, parallel_kernels=lambda _: (5,)), norm=TokenNorm, pool=nn.MaxPool1d)
    moved = mine.on("meta", torch.bfloat16)
    assert isinstance(moved.norm(DIM), TokenNorm) and isinstance(moved.pool(3), nn.MaxPool1d)
    x = image("x", (2, 3 * DIM, 25))
    smaller = randomize(mine.on().depthwise(DIM, 3))
    assert len(smaller.branches) == 2
    torch.testing.assert_close(fused(smaller)(x), smaller(x), rtol=1e-4, atol=1e-4)


def test_norms_that_stay_beside_large_kernels():
    settings = {"dim": 8, "depth": 1, "token_kernel": 7, "norm": "layernorm2d"}
    network, x = randomize(metamixer.create_model("ffnet_sr_nano", **settings)), image("small", (1, 3, 12, 10))
    torch.testing.assert_close(metamixer.fuse(network)(x), network(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize("kind", DATA)
def test_every_block_is_the_equation_on_every_kind_of_data(kind, mixer):
    operators, data = DATA[kind]
    x = data()
    attention = token_mixer(MIXERS[mixer], DIM, kernel_size=7, operators=operators)
    scale = operators.layer_scale
    block = MixerBlock(
        attention, ConvNeXtFFN(DIM, 7, operators), scale=lambda: scale(DIM, 0.5), drop_path=0.5, operators=operators
    )
    randomize(block)
    plain = attention.value(attention.act(attention.key(attention.query(x))))
    torch.testing.assert_close(features(attention(x)), features(plain), rtol=1e-4, atol=1e-5)
    expected = features(block(x))
    deployed = metamixer.fuse(block)
    torch.testing.assert_close(features(deployed(x)), expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())
    assert isinstance(deployed.channel_mixer.scale, nn.Identity)
    assert torch.equal(features(block(x)), expected)


class TestAttentionOnVoxels:
    def test_attends_to_all_voxels_of_a_window_and_no_others(self):
        x = cloud(DIM, cells=12)
        mixer = SelfAttention(DIM, operators=VOXELS).eval()
        inputs = x.features.clone().requires_grad_()
        mixer(x.with_features(inputs)).features[0].sum().backward()
        windows = torch.cat([x.grid.batch[:, None], x.grid.coordinates // ATTENTION_WINDOW], dim=1)
        assert torch.equal(inputs.grad.abs().sum(dim=1) > 0, (windows == windows[0]).all(dim=1))

    def test_equals_attention_over_one_window_alone(self):
        x = cloud(DIM, cells=ATTENTION_WINDOW)
        mixer = randomize(SelfAttention(DIM, operators=VOXELS))
        scene = x.features[x.grid.batch == 1]
        query, key, value = (
            part[None, None] for part in features(mixer.query.projection(x))[x.grid.batch == 1].chunk(3, 1)
        )
        answer = nn.functional.scaled_dot_product_attention(query, key, value)[0, 0]
        expected = nn.functional.linear(answer, mixer.value.projection.weight, mixer.value.projection.bias)
        assert len(scene) == len(expected)
        torch.testing.assert_close(mixer(x).features[x.grid.batch == 1], expected, rtol=1e-4, atol=1e-5)

    @torch.inference_mode()
    def test_the_cost_of_a_large_cloud_is_not_quadratic(self):
        cells = torch.arange(50)
        coordinates = torch.stack(torch.meshgrid(cells, cells, cells[:40], indexing="ij"), dim=-1).reshape(-1, 3)
        x = SparseVoxels.of(torch.randn(len(coordinates), 4), coordinates)
        mixed = SelfAttention(4, head_dim=4, operators=VOXELS).eval()(x)
        assert len(mixed) == 100_000 and mixed.features.isfinite().all()


def test_a_fused_network_is_fused_once():
    network = metamixer.create_model("ffnet_nano", **NARROW).eval()
    deployed = metamixer.fuse(network)
    assert metamixer.fuse(deployed) is deployed
    assert not metamixer.fuse(deployed.train()).training
