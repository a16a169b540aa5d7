"""Convolutions with norms and parallel branches fuse into one convolution, whatever the norm's statistics."""

from dataclasses import replace

import pytest
import torch
from timm.layers import BatchNormAct2d, LayerNorm2d, StdConv2d
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

import metamixer
from metamixer.mixer import ConvNeXtFFN, FFNifiedAttention, MetaMixer, Residual
from metamixer.models.ffnet.parts import Head
from metamixer.ops import (
    IMAGE,
    IMAGE_WITH_STRIPS,
    SERIES,
    ConvNorm,
    LayerScale,
    NormConv,
    Operators,
    ParallelConv,
    output_layer,
    same_padding,
)
from metamixer.ops.acceleration import is_parallel_depthwise_norm
from published_weights import image
from random_statistics import randomize

DIM = 12
STRIPS = replace(IMAGE, parallel_kernels=lambda size: ((1, size), (size, 1), size - 4))


def identity_beside(operators):
    return ParallelConv(operators.norm_conv(DIM, DIM), nn.Identity())


def plain_beside_norms(operators):
    convolution = operators.conv(DIM, DIM, 5, 1, same_padding(5), groups=DIM)
    return ParallelConv(convolution, operators.conv_norm(DIM, DIM, 3, groups=DIM), nn.Identity())


EVERY_DIMENSION = {
    "conv-norm 3": lambda operators: operators.conv_norm(DIM, 20, 3),
    "conv-norm 1": lambda operators: operators.conv_norm(DIM, 20, 1),
    "conv-norm, stride 2": lambda operators: operators.conv_norm(DIM, 20, 3, stride=2),
    "conv-norm, 3 groups": lambda operators: operators.conv_norm(DIM, 24, 3, groups=3),
    "norm-conv": lambda operators: operators.norm_conv(DIM, 20),
    "depthwise 7 beside 3": lambda operators: operators.depthwise(DIM, 7),
    "depthwise 7 beside 3, stride 2, wider": lambda operators: operators.depthwise_norm(DIM, 2 * DIM, 7, stride=2),
    "depthwise 3 with norm": lambda operators: operators.depthwise_norm(DIM, DIM, 3),
    "identity beside norm-conv": identity_beside,
    "identity beside grouped convolutions": plain_beside_norms,
}
CASES = {
    **{f"{name}, 2D": (make, IMAGE) for name, make in EVERY_DIMENSION.items()},
    **{f"{name}, 1D": (make, SERIES) for name, make in EVERY_DIMENSION.items()},
    "depthwise 9 beside 1x9, 9x1 and 5": (lambda operators: operators.depthwise(DIM, 9), STRIPS),
}


def batch(operators):
    return image("ops", (2, DIM, *(17, 14)[: operators.spatial_dims]))


@pytest.mark.parametrize("name", CASES)
def test_fuses_into_one_convolution(name):
    make, operators = CASES[name]
    module, x = randomize(make(operators)), batch(operators)
    expected = module(x)
    deployed = module.fuse()
    assert isinstance(deployed, nn.Conv1d | nn.Conv2d)
    torch.testing.assert_close(deployed(x), expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())
    assert torch.equal(module(x), expected), "the original is untouched"


def test_norm_before_a_padded_convolution_cannot_fold():
    with pytest.raises(ValueError, match=r"padding \(1, 1\), expected 0"):
        NormConv(nn.BatchNorm2d(DIM), nn.Conv2d(DIM, DIM, 3, padding=1))


def filters(*kernel_size, dilation=1, stride=1, groups=1, **settings):
    """A convolution of DIM channels, padded so that all have the same size of result."""
    padding = tuple(dilation * (size // 2) for size in kernel_size)
    return nn.Conv2d(DIM, DIM, kernel_size, stride, padding, dilation, groups, **settings)


PARALLEL = {
    "the larger one last": (1, lambda: [filters(3, 3), filters(7, 7)]),
    "dilated": (1, lambda: [filters(7, 7, groups=DIM), filters(3, 3, dilation=3, groups=DIM)]),
    "depthwise beside full, without bias": (1, lambda: [filters(5, 5, bias=False), filters(3, 3, groups=DIM)]),
    "six groups beside two": (1, lambda: [filters(5, 5, groups=2), filters(3, 3, groups=6)]),
    "identity first": (1, lambda: [nn.Identity(), filters(3, 3, groups=3)]),
    "even, of one size": (1, lambda: [nn.Conv2d(DIM, DIM, 2, 2), nn.Conv2d(DIM, DIM, 4, 2, 1)]),
    "strips": (2, lambda: [filters(1, 9), filters(9, 1)]),
    "dilated over more": (2, lambda: [filters(3, 3), filters(5, 5, dilation=2)]),
    "even beside odd": (2, lambda: [nn.Conv2d(DIM, DIM, 3, 2, 1), nn.Conv2d(DIM, DIM, 4, 2, 1)]),
    "a full one beside depthwise ones": (
        2,
        lambda: [filters(3, 3, groups=DIM), filters(1, 1), filters(5, 5, groups=DIM), nn.Identity()],
    ),
    "reflected edges": (2, lambda: [filters(3, 3), filters(3, 3, padding_mode="reflect")]),
    "padding in words": (2, lambda: [filters(3, 3), nn.Conv2d(DIM, DIM, 5, padding="same")]),
    "computed weights": (2, lambda: [filters(3, 3), weight_norm(filters(3, 3))]),
    "a norm of its own beside": (2, lambda: [filters(3, 3), ConvNorm(filters(3, 3), nn.GroupNorm(2, DIM))]),
    "no convolution": (2, lambda: [nn.GELU(), nn.Identity()]),
}


def assert_fuses_to_the_same(module, x):
    expected = module(x)
    deployed = metamixer.fuse(module)
    torch.testing.assert_close(deployed(x), expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())
    assert metamixer.fuse(deployed) is deployed
    return deployed


@pytest.mark.parametrize("name", PARALLEL)
def test_branches_that_do_not_fit_into_one_another_stay_apart(name):
    count, make = PARALLEL[name]
    deployed = assert_fuses_to_the_same(randomize(ParallelConv(*make())), batch(IMAGE)[..., :16, :])
    assert (len(deployed.branches) if isinstance(deployed, ParallelConv) else 1) == count


OTHER_NORMS = {
    "without statistics": lambda dim: nn.BatchNorm2d(dim, track_running_stats=False),
    "of each image": lambda dim: nn.InstanceNorm2d(dim, affine=True, track_running_stats=True),
    "of groups": lambda dim: nn.GroupNorm(2, dim),
    "of each position": LayerNorm2d,
    "with an activation": BatchNormAct2d,
}


@pytest.mark.parametrize("name", OTHER_NORMS)
@pytest.mark.parametrize("make", [lambda o: o.conv_norm(DIM, DIM, 3), lambda o: o.depthwise(DIM, 7)])
def test_other_norms_stay_as_they_are(name, make):
    module = make(replace(IMAGE, norm=OTHER_NORMS[name]))
    deployed = assert_fuses_to_the_same(randomize(module), batch(IMAGE))
    norms = [type(OTHER_NORMS[name](DIM))] * (1 if isinstance(module, ConvNorm) else 2)
    assert [type(part.norm) for part in deployed.modules() if isinstance(part, ConvNorm)] == norms
    assert_fuses_to_the_same(randomize(NormConv(OTHER_NORMS[name](DIM), nn.Conv2d(DIM, 20, 1))), batch(IMAGE))


def test_a_norm_without_weights_folds():
    operators = replace(IMAGE, norm=lambda dim: nn.BatchNorm2d(dim, affine=False))
    assert isinstance(assert_fuses_to_the_same(randomize(operators.conv_norm(DIM, DIM, 3)), batch(IMAGE)), nn.Conv2d)


class Activated(ConvNorm):
    """A user's layer that inherits `fuse`, but is another function."""

    def forward(self, x):
        return super().forward(x).relu()


class Standardized(nn.Conv2d):
    """A user's convolution that changes what PyTorch's `forward` calls."""

    def _conv_forward(self, x, weight, bias):
        return super()._conv_forward(x, weight - weight.mean((1, 2, 3), keepdim=True), bias)


class LowRank(nn.Linear):
    def forward(self, x):
        return super().forward(x) + x.mean(1, keepdim=True)


CLASSIFIERS = {
    "plain": (True, lambda: nn.Linear(DIM, 5)),
    "without bias": (True, lambda: nn.Linear(DIM, 5, bias=False)),
    "computed weights": (False, lambda: weight_norm(nn.Linear(DIM, 5))),
    "another forward": (False, lambda: LowRank(DIM, 5)),
}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_only_a_plain_classifier_takes_up_its_norm(name):
    folds, make = CLASSIFIERS[name]
    head = Head(DIM, 5)
    head.fc = make()
    deployed = assert_fuses_to_the_same(randomize(head), batch(IMAGE))
    assert isinstance(deployed.norm, nn.Identity) == folds


OTHER_LAYERS = {
    "transposed": lambda: ConvNorm(nn.ConvTranspose2d(DIM, DIM, 2, 2, bias=False), nn.BatchNorm2d(DIM)),
    "computed weights": lambda: ConvNorm(weight_norm(filters(3, 3)), nn.BatchNorm2d(DIM)),
    "standardized weights": lambda: ConvNorm(StdConv2d(DIM, DIM, 3, padding=1), nn.BatchNorm2d(DIM)),
    "another forward": lambda: Activated(filters(3, 3), nn.BatchNorm2d(DIM)),
    "another _conv_forward": lambda: ConvNorm(Standardized(DIM, DIM, 3, padding=1), nn.BatchNorm2d(DIM)),
}


@pytest.mark.parametrize("name", OTHER_LAYERS)
def test_other_layers_keep_their_norm(name):
    deployed = assert_fuses_to_the_same(randomize(OTHER_LAYERS[name]()), batch(IMAGE))
    assert isinstance(deployed, ConvNorm) and isinstance(deployed.norm, nn.BatchNorm2d)


def test_kernels_of_two_sizes_have_no_parallel_branches():
    for operators in (IMAGE, IMAGE_WITH_STRIPS):
        assert operators.depthwise(DIM, (1, 9)).kernel_size == (1, 9)
        assert operators.depthwise_norm(DIM, DIM, (1, 9)).fuse()(batch(operators)).shape == batch(operators).shape


def test_the_kernels_of_a_gpu_take_branches_whose_first_is_the_largest():
    small, large = (IMAGE.conv_norm(DIM, DIM, size, groups=DIM) for size in (3, 7))
    assert is_parallel_depthwise_norm(ParallelConv(large, small))
    assert not is_parallel_depthwise_norm(ParallelConv(small, large))


@pytest.mark.parametrize("operators", [IMAGE, SERIES])
def test_layer_scale_folds_into_the_last_layer(operators):
    scale = LayerScale(DIM, 1e-6, spatial_dims=operators.spatial_dims)
    module, x = randomize(Residual(ConvNeXtFFN(DIM, 7, operators=operators), scale=scale)), batch(operators)
    expected = module(x)
    deployed = module.fuse()
    assert isinstance(deployed.scale, nn.Identity)
    torch.testing.assert_close(deployed(x), expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(module(x), expected), "the original is untouched"


def test_layer_scale_stays_where_the_last_layer_is_not_linear():
    mixer = MetaMixer(nn.Identity(), nn.Conv2d(DIM, DIM, 1), nn.Identity(), nn.GELU())
    module, x = randomize(Residual(mixer, scale=LayerScale(DIM, 0.5))), batch(IMAGE)
    expected = module(x)
    assert output_layer(mixer) is None
    assert torch.equal(module.fuse()(x), expected)


class Skipping(FFNifiedAttention):
    def forward(self, x):
        query = self.query(x)
        return query + self.value(self.act(self.key(query)))


class SkippingWithOutput(Skipping):
    """The same, and only its last layer computes the output."""

    def __init__(self, *args):
        super().__init__(*args)
        self.last = nn.Conv2d(DIM, DIM, 1)

    def forward(self, x):
        return self.last(super().forward(x))

    def output_layer(self):
        return self.last


def tied():
    conv = filters(3, 3)
    return MetaMixer(IMAGE.projection(DIM), conv, nn.GELU(), conv)


def tied_by_weight():
    mixer = MetaMixer(IMAGE.projection(DIM), filters(3, 3), nn.GELU(), filters(3, 3))
    mixer.key.weight = mixer.value.weight
    return mixer


def enlarging():
    return MetaMixer(nn.Identity(), nn.Conv2d(DIM, DIM, 2, 2), nn.GELU(), nn.ConvTranspose2d(DIM, DIM, 2, 2))


class Gate(LayerScale):
    """A user's layer scale of another kind."""

    def forward(self, x):
        return x * self.gamma.tanh()


@pytest.mark.parametrize(
    ("mixer", "scale", "folds"),
    [
        (lambda: Skipping(DIM, 3), LayerScale, False),
        (lambda: SkippingWithOutput(DIM, 3), LayerScale, True),
        (tied, LayerScale, False),
        (tied_by_weight, LayerScale, True),
        (enlarging, LayerScale, False),
        (lambda: filters(3, 3), LayerScale, True),
        (lambda: FFNifiedAttention(DIM, 3), Gate, False),
    ],
)
def test_layer_scale_folds_only_into_what_computes_the_output_alone(mixer, scale, folds):
    module, x = randomize(Residual(mixer(), scale=scale(DIM, 0.5))), batch(IMAGE)[..., :16, :]
    deployed = assert_fuses_to_the_same(module, x)
    assert isinstance(deployed.scale, nn.Identity) == folds


@pytest.mark.parametrize("dims", [1, 3])
def test_layer_scales_of_ones_own_data_scale_channels(dims):
    operators = Operators(nn.Conv3d, nn.BatchNorm3d, nn.AvgPool3d, spatial_dims=dims)
    scale = operators.on(dtype=torch.float64).layer_scale(DIM, 0.5)
    with torch.no_grad():
        scale.gamma.copy_(torch.arange(float(DIM)).view_as(scale.gamma))
    scaled = scale(torch.ones(2, DIM, *[DIM] * dims))
    assert torch.equal(scaled[1].flatten(1)[:, 0], torch.arange(float(DIM)).double())


def test_operators_create_on_a_device_with_a_dtype():
    module = IMAGE.on("meta", torch.bfloat16).depthwise(DIM, 7)
    assert {(tensor.device.type, tensor.dtype) for tensor in module.parameters()} == {("meta", torch.bfloat16)}


def test_fusing_keeps_dtype_and_frozen_weights():
    module = randomize(IMAGE.conv_norm(DIM, DIM, 3)).to(torch.bfloat16).requires_grad_(False)
    deployed = module.fuse()
    assert deployed.weight.dtype == deployed.bias.dtype == torch.bfloat16
    assert not deployed.weight.requires_grad
