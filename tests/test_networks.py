"""What every image network guarantees. The tests of the deploy form use small networks with every kind of layer."""

import copy

import pytest
import timm
import torch
from timm.utils import reparameterize_model
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import metamixer
from metamixer.errors import InputError
from published_weights import image
from random_statistics import randomize

CLASSES = 7
NARROW = {"depths": (1, 1, 1, 1), "dims": (8, 16, 32, 64), "stem_dim": 8}
SMALL = {
    "static mixers": {},
    "attention": {"mixers": ("ffnified", "pooling", "identity", "attention")},
    "layer scale, large kernels": {"layer_scale": 1e-6, "channel_kernels": (7, 7, 7, 7), "drop_path_rate": 0.2},
}


def pixels(height, width, batch=2):
    return image("pixels", (batch, 3, height, width))


@pytest.fixture(scope="module", params=metamixer.list_models("classification"))
def network(request):
    """Every image network, narrow, with weights as after training. Shared by the tests, so none may change it."""
    return randomize(metamixer.create_model(request.param, num_classes=CLASSES, **NARROW))


@pytest.fixture(params=SMALL)
def small(request):
    """A small network with every kind of layer."""
    return randomize(metamixer.create_model("ffnet_nano", num_classes=CLASSES, **NARROW, **SMALL[request.param]))


def unused_parameters(network):
    return [
        name for name, parameter in network.named_parameters() if parameter.grad is None or not parameter.grad.any()
    ]


def assert_same(actual, expected, tolerance=1e-5):
    """Compare relative to the largest value."""
    assert (actual - expected).abs().max() <= tolerance * expected.abs().max()


class TestEveryNetwork:
    @torch.no_grad()
    @pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 47), (96, 64)])
    def test_shapes_at_any_size(self, network, height, width):
        x = pixels(height, width)
        assert network(x).shape == (2, CLASSES)
        last, features = network.forward_intermediates(x)
        assert torch.equal(last, network.forward_features(x))
        for feature, info in zip(features, network.feature_info, strict=True):
            stride = info["reduction"]
            assert feature.shape == (2, info["num_chs"], -(-height // stride), -(-width // stride))

    def test_the_training_form_has_no_unused_parameter(self, network):
        name = network.pretrained_cfg["architecture"]
        dense = randomize(timm.create_model(name, features_only=True, feature_norms=True, **NARROW)).train()
        sum(feature.pow(3).sum() for feature in dense(pixels(64, 64))).backward()
        assert not unused_parameters(dense)

    @torch.no_grad()
    def test_timm_fuses_it_too(self, network):
        assert_same(reparameterize_model(network)(pixels(64, 96)), network(pixels(64, 96)))


@torch.no_grad()
@pytest.mark.parametrize("name", ["fastvit_t8", "repvit_m0_9", "repvgg_a0"])
def test_fuses_timms_networks_repeatedly(name):
    network = randomize(timm.create_model(name, num_classes=CLASSES))
    expected = network(pixels(64, 64))
    deployed = metamixer.fuse(network)
    assert sum(p.numel() for p in deployed.parameters()) < sum(p.numel() for p in network.parameters())
    assert_same(deployed(pixels(64, 64)), expected, tolerance=1e-4)
    assert_same(metamixer.fuse(deployed)(pixels(64, 64)), expected, tolerance=1e-4)


@pytest.mark.parametrize(
    ("name", "size", "millions", "giga_macs"),
    [
        ("ffnet_1", 256, 13.7, 2.98),
        ("ffnet_2", 256, 26.9, 6.00),
        ("ffnet_3", 256, 48.3, 10.15),
        ("ffnet_3", 384, 48.3, 22.83),
        ("ffnet_4", 384, 79.2, 43.12),
    ],
)
def test_size_in_deploy_form_is_the_papers(name, size, millions, giga_macs):
    """Paper, table 2, which truncates 2.98 to 2.9 and 10.15 to 10.1."""
    deployed = metamixer.fuse(timm.create_model(name, device="meta"))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        deployed(torch.empty(1, 3, size, size, device="meta"))
    assert round(sum(parameter.numel() for parameter in deployed.parameters()) / 1e6, 1) == millions
    assert round(counter.get_total_flops() / 2e9, 2) == giga_macs


def test_deploy_form_of_ffnet_1_keeps_45_pointwise_convolutions():
    deployed = metamixer.fuse(timm.create_model("ffnet_1", device="meta"))
    assert sum(isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) for module in deployed.modules()) == 45


class TestSmallNetworks:
    @torch.no_grad()
    @pytest.mark.parametrize("fused", [False, True])
    def test_exports_for_any_size(self, small, fused):
        network = metamixer.fuse(small) if fused else small
        # torch.export specializes dimensions of size 1; with 32 pixels the last stage has one.
        height, width = (torch.export.Dim(name, min=33) for name in ("height", "width"))
        shapes = {"x": {0: torch.export.Dim("batch"), 2: height, 3: width}}
        program = torch.export.export(network, (pixels(64, 64),), dynamic_shapes=shapes)
        assert_same(program.module()(pixels(96, 77, batch=3)), network(pixels(96, 77, batch=3)))

    @torch.no_grad()
    @pytest.mark.parametrize("fused", [False, True])
    def test_scripts(self, small, fused):
        network = metamixer.fuse(small) if fused else small
        assert_same(torch.jit.script(network)(pixels(64, 96)), network(pixels(64, 96)))

    @torch.no_grad()
    def test_runs_in_bfloat16(self, small):
        expected = small(pixels(64, 64))
        logits = copy.deepcopy(small).to(torch.bfloat16)(pixels(64, 64).to(torch.bfloat16))
        assert logits.dtype == torch.bfloat16
        assert_same(logits.float(), expected, tolerance=0.1)

    @torch.no_grad()
    def test_memory_format_changes_nothing(self, small):
        expected = small(pixels(64, 64))
        network = copy.deepcopy(small).to(memory_format=torch.channels_last)
        x = pixels(64, 64).to(memory_format=torch.channels_last)
        assert_same(network(x), expected)
        assert network.forward_features(x).is_contiguous(memory_format=torch.channels_last)

    def test_gradient_checkpointing_changes_neither_gradients_nor_statistics(self, small):
        results = []
        for enable in (False, True):
            network = copy.deepcopy(small).train()
            network.set_grad_checkpointing(enable)
            torch.manual_seed(0)
            network(pixels(64, 64, batch=4)).square().sum().backward()
            results.append([*(parameter.grad for parameter in network.parameters()), *network.buffers()])
        for plain, checkpointed in zip(*results, strict=True):
            torch.testing.assert_close(checkpointed, plain)

    def test_another_classifier_for_transfer(self, small):
        small.reset_classifier(3)
        assert small(pixels(64, 64)).shape == (2, 3)
        small.reset_classifier(0)
        assert small(pixels(64, 64)).shape == (2, small.num_features)


def test_stochastic_depth_grows_with_depth_and_needs_no_device():
    network = metamixer.create_model("ffnet_nano", drop_path_rate=0.2, device="meta")
    rates = [block.token_mixer.drop_path for stage in network.stages for block in stage.blocks]
    assert [getattr(rate, "p", 0) for rate in rates] == pytest.approx([0.2 * i / 8 for i in range(9)])


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 4, 64, 64), r"shape \[1, 4, 64, 64\], expected \(batch, 3, height, width\)"),
        ((3, 64, 64), r"shape \[3, 64, 64\], expected \(batch, 3, height, width\)"),
        ((1, 3, 31, 64), "image of 31x64 pixels, expected at least 32x32"),
        ((1, 3, 64, 31), "image of 64x31 pixels, expected at least 32x32"),
    ],
)
@pytest.mark.parametrize("features_only", [False, True])
def test_refuses_an_image_that_does_not_fit(shape, message, features_only):
    network = timm.create_model("ffnet_nano", features_only=features_only)
    with pytest.raises(InputError, match=message):
        network(torch.zeros(shape))


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(InputError, match="model 'ffnet1': no such model; did you mean ffnet_1"):
        metamixer.create_model("ffnet1")
    with pytest.raises(InputError, match="expected a name that `metamixer models` lists"):
        metamixer.create_model("zzz")


def test_refuses_numbers_and_words_that_do_not_fit():
    with pytest.raises(InputError, match="expected one entry per stage"):
        metamixer.create_model("ffnet_nano", depths=(1, 1))
    with pytest.raises(InputError, match="global_pool 'max', expected 'avg' or ''"):
        metamixer.create_model("ffnet_nano", global_pool="max")
    with pytest.raises(InputError, match="output_fmt 'NLC', expected 'NCHW'"):
        metamixer.create_model("ffnet_nano").forward_intermediates(pixels(32, 32), output_fmt="NLC")


def test_builds_timms_own_networks_too():
    assert type(metamixer.create_model("test_convnext", num_classes=CLASSES)).__name__ == "ConvNeXt"
