"""The equation value(act(key(query(x)))) and its mixers, on one- and two-dimensional data."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import metamixer
from metamixer.errors import InputError
from metamixer.mixer import (
    TOKEN_MIXERS,
    ConvNeXtFFN,
    FFNifiedAttention,
    MetaMixer,
    MixerBlock,
    NoTokenMixing,
    Pooling,
    Residual,
    SelfAttention,
    token_mixer,
)
from metamixer.ops import IMAGE, SERIES, ConvNorm, LayerScale, NormConv, ParallelConv, fused
from published_weights import image

DIM = 64
DATA = {"image": (IMAGE, (2, DIM, 9, 11)), "series": (SERIES, (2, DIM, 25))}
EVERY_MIXER = {
    **TOKEN_MIXERS,
    "channel mixer": lambda dim, kernel_size, operators: ConvNeXtFFN(dim, kernel_size, operators=operators),
}


@pytest.fixture(params=DATA)
def data(request):
    """The operators of a kind of data, and a batch."""
    operators, shape = DATA[request.param]
    return operators, image("mixer", shape)


@pytest.fixture(params=EVERY_MIXER)
def mixer(request, data):
    torch.manual_seed(0)
    return EVERY_MIXER[request.param](DIM, 7, data[0]).eval()


class Times(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return x * self.factor + 1


def test_equation():
    x = torch.arange(4.0)
    steps = [Times(factor) for factor in (2, 3, 5, 7)]
    query, key, act, value = steps
    assert torch.equal(MetaMixer(query, key, act, value)(x), (((x * 2 + 1) * 3 + 1) * 5 + 1) * 7 + 1)


def test_every_mixer_is_the_equation(mixer, data):
    x = data[1]
    assert isinstance(mixer, MetaMixer)
    expected = mixer.value(mixer.act(mixer.key(mixer.query(x))))
    torch.testing.assert_close(mixer(x), expected, rtol=1e-5, atol=1e-6)
    assert mixer(x).shape == x.shape


def test_every_parameter_learns(mixer, data):
    mixer.train()(data[1]).square().mean().backward()
    assert not [name for name, parameter in mixer.named_parameters() if not parameter.grad.abs().sum() > 0]


def test_fused_mixer_is_the_same_function(mixer, data):
    x = data[1]
    expected = mixer(x)
    deployed = fused(mixer)
    torch.testing.assert_close(deployed(x), expected, rtol=1e-5, atol=1e-6)
    assert not [module for module in deployed.modules() if isinstance(module, ConvNorm | NormConv | ParallelConv)]
    assert torch.equal(mixer(x), expected), "the original is untouched"


@pytest.mark.parametrize("head_dim", [16, 32, 64])
def test_attention_is_softmax_attention(head_dim, data):
    operators, x = data
    mixer = SelfAttention(DIM, head_dim=head_dim, operators=operators).eval()
    heads = DIM // head_dim
    query_key_value = mixer.query.projection(x).flatten(2).view(2, 3, heads, head_dim, -1).transpose(-2, -1)
    answer = F.scaled_dot_product_attention(*query_key_value.unbind(1))
    expected = mixer.value.projection(answer.transpose(-2, -1).reshape(x.shape))
    torch.testing.assert_close(mixer(x), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(MetaMixer.forward(mixer, x), expected, rtol=1e-5, atol=1e-6)


def test_attention_refuses_a_width_that_heads_do_not_divide():
    with pytest.raises(InputError, match="dim 40, expected a multiple of head_dim 32"):
        SelfAttention(40)


def test_keys_are_static_in_a_feed_forward_network_and_dynamic_in_attention():
    x, elsewhere = image("x", (1, DIM, 9, 9)), torch.zeros(1, DIM, 9, 9)
    elsewhere[..., 0, 0] = 1
    for mixer, is_dynamic in ((FFNifiedAttention(DIM, 3), False), (SelfAttention(DIM), True)):
        change = (mixer.eval()(x + elsewhere) - mixer(x))[..., -1, -1]
        assert bool(change.abs().max() > 0) == is_dynamic


class GatedMemory(nn.Module):
    """A user's dynamic key: it compares the query with an average of x, which the query passes on."""

    def forward(self, x):
        return x * x.mean(dim=tuple(range(2, x.ndim)), keepdim=True)


def my_mixer(dim, kernel_size, operators):
    return MetaMixer(
        operators.conv_norm(dim, dim, 1), GatedMemory(), nn.Sigmoid(), operators.depthwise(dim, kernel_size)
    )


def test_a_user_writes_a_mixer_for_any_data(data):
    operators, x = data
    block = MixerBlock(
        token_mixer(my_mixer, DIM, kernel_size=7, operators=operators), ConvNeXtFFN(DIM, operators=operators)
    )
    expected = block.eval()(x)
    assert expected.shape == x.shape
    torch.testing.assert_close(metamixer.fuse(block)(x), expected, rtol=1e-5, atol=1e-5)


def test_a_network_accepts_a_users_mixer():
    network = metamixer.create_model("ffnet_nano", mixers=("ffnified", "pooling", my_mixer, "identity"), num_classes=3)
    kinds = [type(stage.blocks[0].token_mixer.mixer.key).__name__ for stage in network.stages]
    assert kinds == ["Conv2d", "AvgPool2d", "GatedMemory", "Identity"]
    network(image("x", (2, 3, 64, 64))).sum().backward()
    assert not [name for name, parameter in network.named_parameters() if parameter.grad is None]


def test_a_hybrid_is_one_line():
    network = metamixer.create_model("ffnet_nano", mixers=("ffnified", "ffnified", "ffnified", "attention"))
    attentive = [any(isinstance(module, SelfAttention) for module in stage.modules()) for stage in network.stages]
    assert attentive == [False, False, False, True]


def test_a_name_added_to_the_table_is_a_mixer(monkeypatch):
    monkeypatch.setitem(TOKEN_MIXERS, "mine", my_mixer)
    network = metamixer.create_model("ffnet_nano", mixers="mine")
    assert isinstance(network.stages[3].blocks[0].token_mixer.mixer.key, GatedMemory)


def test_refuses_an_unknown_mixer():
    names = "ffnified, attention, depthwise, convolution, pooling, identity"
    with pytest.raises(InputError, match=f"mixer 'atention', expected one of {names}, a function"):
        metamixer.create_model("ffnet_nano", mixers="atention")
    with pytest.raises(InputError, match="expected one entry per stage"):
        metamixer.create_model("ffnet_nano", mixers=("ffnified", "attention"))


@pytest.mark.parametrize("kind", [SelfAttention, NoTokenMixing, Pooling])
def test_a_mixers_class_works_like_its_name(kind, data):
    operators, x = data
    assert token_mixer(kind, DIM, kernel_size=3, operators=operators)(x).shape == x.shape


def test_refuses_what_builds_no_mixer():
    with pytest.raises(InputError, match=r"^mixer Pooling\(\), expected one of ffnified"):
        token_mixer(Pooling(DIM), DIM, kernel_size=3)
    with pytest.raises(InputError, match=r"returned None, expected an nn\.Module"):
        token_mixer(lambda dim, kernel_size, operators: None, DIM, kernel_size=3)


def test_layer_scale_and_stochastic_depth_of_a_block():
    x = image("x", (4, DIM, 5, 5))
    residual = Residual(Times(2), scale=LayerScale(DIM, 0.5), drop_path=0.5)
    torch.testing.assert_close(residual.eval()(x), x + (x * 2 + 1) * 0.5)
    torch.manual_seed(0)
    change = (residual.train()(x) - x).flatten(1).abs().sum(dim=1)
    assert 0 < (change == 0).sum() < 4
