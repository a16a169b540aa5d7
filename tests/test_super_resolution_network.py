"""FFNet-SR equals the published network, with every norm and scale; its receptive field is correct."""

import numpy as np
import pytest
import torch
from timm.layers import LayerNorm2d
from torch import nn
from torch.nn import functional as F

import metamixer
from metamixer.errors import InputError
from metamixer.mixer import FFNifiedAttention, MetaMixer, Residual
from metamixer.models.ffnet_sr import NormAfter
from metamixer.models.receptive_field import has_known_reach, receptive_field
from metamixer.tasks.super_resolution import frequency_loss
from published_weights import GOLDEN, image, state_dict
from random_statistics import randomize

SMALL = {"dim": 24, "depth": 3}
GOLDEN_NETWORKS = {
    "ffnet_sr_light_x2": ("ffnet_sr_light", {"scale": 2}),
    "ffnet_sr_x2": ("ffnet_sr", {"scale": 2}),
    "ln_x4": ("ffnet_sr", {"scale": 4, "norm": "layernorm2d", **SMALL}),
    "bn_x3": ("ffnet_sr", {"scale": 3, "norm": nn.BatchNorm2d, **SMALL}),
}
KINDS = {
    "no norm": {},
    "LayerNorm": {"norm": LayerNorm2d},
    "BatchNorm": {"norm": nn.BatchNorm2d},
    "BatchNorm, large kernels": {"norm": "batchnorm2d", "token_kernel": 7, "channel_kernel": 7},
    "large kernels": {"token_kernel": 7},
    "pooling": {"mixer": "pooling"},
    "identity": {"mixer": "identity"},
}


def published(name):
    return state_dict(f"sr/{name}", "super_resolution_keys.json")


def small_image(height=20, width=24, batch=2):
    return image("small image", (batch, 3, height, width)).sigmoid()


@pytest.fixture(params=KINDS)
def network(request):
    """A small network of each kind, with weights as after training."""
    torch.manual_seed(0)
    return randomize(metamixer.create_model("ffnet_sr_nano", **{**SMALL, **KINDS[request.param]}))


@pytest.mark.parametrize("name", GOLDEN_NETWORKS)
@torch.no_grad()
def test_computes_what_the_published_network_does(name):
    model, settings = GOLDEN_NETWORKS[name]
    network = metamixer.load_published(metamixer.create_model(model, **settings).eval(), {"params": published(name)})
    expected = np.load(GOLDEN / "super_resolution.npz")[f"sr/{name}/out"]
    np.testing.assert_allclose(network(image(f"sr/{name}", (1, 3, 24, 20)).sigmoid()), expected, rtol=0, atol=2e-5)


def test_frequency_loss_is_the_published_one():
    expected = np.load(GOLDEN / "super_resolution.npz")["loss/fft"]
    a, b = (image(f"loss/{name}", (2, 3, 24, 24)) for name in "ab")
    np.testing.assert_allclose(frequency_loss(a, b), expected, rtol=1e-5)


def test_refuses_a_checkpoint_of_another_network():
    network = metamixer.create_model("ffnet_sr_light")
    with pytest.raises(InputError, match=r"144 unexpected: body\.36\."):
        metamixer.load_published(network, {"params": published("ffnet_sr_x2")})


def test_the_small_network_stays_small():
    parameters = sum(parameter.numel() for parameter in metamixer.create_model("ffnet_sr_nano", scale=4).parameters())
    assert parameters <= 200_000


@torch.no_grad()
def test_exports_for_any_size(network):
    shapes = {"x": {0: torch.export.Dim("batch"), 2: torch.export.Dim("height"), 3: torch.export.Dim("width")}}
    program = torch.export.export(network, (small_image(),), dynamic_shapes=shapes)
    torch.testing.assert_close(program.module()(small_image(31, 17, batch=3)), network(small_image(31, 17, batch=3)))


@torch.no_grad()
def test_the_receptive_field_is_correct(network):
    """A changed pixel changes the result within the receptive field, and not beyond."""
    reach = receptive_field(network)
    x = small_image(1 + 2 * reach + 4, 5, batch=1)
    changed = x.clone()
    changed[:, :, 0] += 1
    difference = (network(changed) - network(x)).abs().amax(dim=(0, 1, 3)).reshape(-1, network.scale).amax(dim=1)
    assert difference[reach] > 0
    assert not difference[reach + 1 :].any()


def test_attention_has_no_receptive_field():
    with pytest.raises(InputError, match="mixer 'attention': every pixel depends on the whole image"):
        receptive_field(metamixer.create_model("ffnet_sr_nano", dim=32, depth=1, mixer="attention", norm="batchnorm2d"))


class Dilated(FFNifiedAttention):
    def __init__(self, dim, kernel_size, operators):
        super().__init__(dim, kernel_size, operators)
        self.key = nn.Conv2d(dim, dim, 3, padding=4, dilation=4, groups=dim)


class Functional(FFNifiedAttention):
    """Its 7x7 kernel, which looks 5 pixels to the left and 1 to the right, is a parameter and no layer."""

    def __init__(self, dim, kernel_size, operators):
        super().__init__(dim, kernel_size, operators)
        self.kernel = nn.Parameter(torch.randn(dim, 1, 7, 7))

    def forward(self, x):
        return super().forward(F.conv2d(F.pad(x, (5, 1, 5, 1)), self.kernel, groups=len(self.kernel)))


class Squeezed(FFNifiedAttention):
    def forward(self, x):
        return super().forward(x) * x.mean((2, 3), keepdim=True).sigmoid()


class Coarse(FFNifiedAttention):
    def forward(self, x):
        return F.interpolate(super().forward(F.max_pool2d(x, 2)), scale_factor=2)


def layers(dim, kernel_size, operators):
    """A mixer without a class of its own."""
    return MetaMixer(nn.MaxPool2d(5, 1, 2), nn.Identity(), nn.ReLU(), nn.Identity())


def dilated(dim, kernel_size, operators):
    """A mixer of the package with a layer of another kind."""
    mixer = FFNifiedAttention(dim, kernel_size, operators)
    mixer.key = nn.Conv2d(dim, dim, 3, padding=4, dilation=4, groups=dim)
    return mixer


def shared(dim, kernel_size, operators):
    """One layer as key and as value."""
    mixer = FFNifiedAttention(dim, kernel_size, operators)
    mixer.value = mixer.key
    return mixer


@pytest.mark.parametrize(
    ("mixer", "reach"), [(Dilated, 5), (dilated, 5), (shared, 2), (Functional, 5 + 2), (layers, 2)]
)
def test_the_receptive_field_of_an_own_mixer_is_measured(mixer, reach):
    network = metamixer.create_model("ffnet_restore", dim=8, depth=2, mixers=mixer)
    rest = receptive_field(metamixer.create_model("ffnet_restore", dim=8, depth=2, mixers="identity"))
    assert receptive_field(network) == rest + 2 * 2 * reach, "two blocks at half the size"
    assert receptive_field(metamixer.fuse(network)) == receptive_field(network)


@pytest.mark.parametrize("norm", [None, "layernorm2d", "batchnorm2d"])
@pytest.mark.parametrize("mixer", metamixer.TOKEN_MIXERS)
def test_the_reach_of_packaged_mixers_is_known(mixer, norm):
    network = metamixer.create_model("ffnet_sr_nano", dim=8, depth=1, token_kernel=7, mixers=mixer, norm=norm)
    for form in (network, metamixer.fuse(network)):
        assert all(has_known_reach(part.mixer) for part in form.blocks.modules() if isinstance(part, Residual))


def test_of_an_own_mixer_the_output_layer_starts_small():
    def backwards(dim, kernel_size, operators):
        mixer = FFNifiedAttention(dim, kernel_size, operators)
        mixer._modules = dict(reversed(mixer._modules.items()))
        return mixer

    torch.manual_seed(0)
    mixer = metamixer.create_model("ffnet_sr_nano", dim=64, depth=1, mixers=backwards).blocks[0].token_mixer.mixer
    torch.testing.assert_close(mixer.value.weight.std(), torch.tensor(0.17 / 3), rtol=0.1, atol=0)
    torch.testing.assert_close(mixer.query.weight.std(), torch.tensor(1 / 8), rtol=0.1, atol=0)


def normalized(dim, kernel_size, operators):
    """A mixer of the package with a norm over the whole image."""
    return FFNifiedAttention(dim, kernel_size, NormAfter(nn.Conv2d, lambda dim: nn.GroupNorm(1, dim), nn.AvgPool2d))


@pytest.mark.parametrize(
    ("mixer", "name"), [(Squeezed, "Squeezed"), (Coarse, "Coarse"), (normalized, "FFNifiedAttention")]
)
def test_an_own_mixer_without_a_receptive_field_is_refused(mixer, name):
    with pytest.raises(InputError, match=f"mixer {name}: a pixel depends on pixels more than 61 away, or on"):
        receptive_field(metamixer.create_model("ffnet_sr_nano", dim=8, depth=1, mixers=mixer))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scale": 5}, "scale 5, expected one of 2, 3, 4"),
        ({"norm": "groupnorm"}, "norm 'groupnorm', expected None, 'layernorm2d', 'batchnorm2d'"),
        ({"norm": nn.InstanceNorm2d}, r"norm .*InstanceNorm2d.*, expected None"),
        ({"norm": "nonsense"}, "norm 'nonsense', expected None"),
    ],
)
def test_refuses_unknown_settings(settings, message):
    with pytest.raises(InputError, match=message):
        metamixer.create_model("ffnet_sr_nano", **settings)


@pytest.mark.parametrize("shape", [(1, 1, 8, 8), (3, 8, 8), (1, 4, 8, 8)])
def test_refuses_all_but_batches_of_color_images(shape):
    with pytest.raises(InputError, match=r"expected \(batch, 3, height, width\)"):
        metamixer.create_model("ffnet_sr_nano", depth=1)(torch.zeros(shape))
