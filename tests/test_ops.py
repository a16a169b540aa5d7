"""Convolutions with norms and parallel branches fuse into one convolution, whatever the norm's statistics."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from metamixer.mixer import ConvNeXtFFN, MetaMixer, Residual
from metamixer.ops import IMAGE, SERIES, LayerScale, NormConv, ParallelConv, output_layer, same_padding
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


def test_norm_without_statistics_cannot_fold():
    operators = replace(IMAGE, norm=lambda dim: nn.BatchNorm2d(dim, track_running_stats=False))
    with pytest.raises(ValueError, match="BatchNorm2d: no running statistics"):
        operators.conv_norm(DIM, DIM, 3).fuse()


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


def test_operators_create_on_a_device_with_a_dtype():
    module = IMAGE.on("meta", torch.bfloat16).depthwise(DIM, 7)
    assert {(tensor.device.type, tensor.dtype) for tensor in module.parameters()} == {("meta", torch.bfloat16)}


def test_fusing_keeps_dtype_and_frozen_weights():
    module = randomize(IMAGE.conv_norm(DIM, DIM, 3)).to(torch.bfloat16).requires_grad_(False)
    deployed = module.fuse()
    assert deployed.weight.dtype == deployed.bias.dtype == torch.bfloat16
    assert not deployed.weight.requires_grad
