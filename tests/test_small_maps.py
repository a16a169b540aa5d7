"""Depthwise convolutions as matrix products: the same function and gradients."""

import copy

import pytest
import torch
from torch import nn

from metamixer import create_model
from metamixer.ops.small_maps import MatrixConv2d, use_matrices


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "filters", "bias"),
    [
        ((4, 4), 7, 1, 1, False),
        ((4, 4), 7, 2, 2, False),
        ((2, 3), 3, 1, 1, True),
        ((5, 3), 7, 2, 2, True),
        ((9, 13), 7, 2, 2, False),
    ],
)
def test_small_maps_give_the_same_results_and_gradients(size, kernel, stride, filters, bias):
    torch.manual_seed(0)
    conv = nn.Conv2d(6, 6 * filters, kernel, stride, kernel // 2, groups=6, bias=bias)
    matrix = use_matrices(copy.deepcopy(conv))
    assert type(matrix) is MatrixConv2d
    x = torch.randn(3, 6, *size).to(memory_format=torch.channels_last)
    assert matrix._pays(size, torch.float32)
    inputs = [x.clone().requires_grad_() for _ in range(2)]
    outputs = [layer(given) for layer, given in zip((conv, matrix), inputs, strict=True)]
    torch.testing.assert_close(outputs[1], outputs[0])
    direction = torch.randn_like(outputs[0])
    for output in outputs:
        output.backward(direction)
    torch.testing.assert_close(inputs[1].grad, inputs[0].grad)
    for expected, found in zip(conv.parameters(), matrix.parameters(), strict=True):
        torch.testing.assert_close(found.grad, expected.grad)


def test_a_network_keeps_its_keys_and_its_function():
    network = create_model("ffnet_nano", num_classes=5)
    changed = use_matrices(copy.deepcopy(network))
    assert any(isinstance(module, MatrixConv2d) for module in changed.modules())
    assert list(changed.state_dict()) == list(network.state_dict())
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(changed(x), network(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", [nn.Conv2d(6, 6, 7, padding=3), nn.Conv2d(6, 6, (1, 7), padding=(0, 3), groups=6)])
def test_other_convolutions_stay_as_they_are(layer):
    assert type(use_matrices(layer)) is nn.Conv2d


def test_larger_maps_stay_with_the_library():
    conv = use_matrices(nn.Conv2d(4, 4, 3, padding=1, groups=4))
    assert not conv._pays((8, 8), torch.float32)
    strided = use_matrices(nn.Conv2d(4, 8, 7, stride=2, padding=3, groups=4))
    assert strided._pays((14, 14), torch.float32)  # a result of 7x7
    assert not strided._pays((26, 26), torch.float32)
    assert not strided._pays((8, 8), torch.float64)


def test_inference_stays_with_the_library():
    conv = use_matrices(nn.Conv2d(4, 4, 3, padding=1, groups=4))
    x = torch.randn(1, 4, 2, 2)
    assert conv._trains_on_cpu(x)
    with torch.no_grad():
        assert not conv._trains_on_cpu(x)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "small"), [(6, 7, 1, True), (13, 7, 1, False), (16, 3, 2, True), (30, 7, 2, False)]
)
def test_under_autocast_a_convolution_and_its_gradients_are_near_the_exact_ones(size, kernel, stride, small):
    torch.manual_seed(0)
    conv = nn.Conv2d(6, 6 * stride, kernel, stride, kernel // 2, groups=6)
    matrix = use_matrices(copy.deepcopy(conv))
    assert matrix._pays((size, size), torch.bfloat16) == small
    x = torch.randn(3, 6, size, size).contiguous(memory_format=torch.channels_last)
    inputs = [x.clone().requires_grad_() for _ in range(2)]
    exact = conv(inputs[0])
    with torch.autocast("cpu", torch.bfloat16):
        found = matrix(inputs[1])
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), exact, rtol=0.02, atol=0.05)
    direction = torch.randn_like(exact)
    exact.backward(direction)
    found.backward(direction.bfloat16())
    for given, expected in [(inputs[1], inputs[0]), *zip(matrix.parameters(), conv.parameters(), strict=True)]:
        scale = expected.grad.abs().max()
        torch.testing.assert_close(given.grad / scale, expected.grad / scale, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_result_is_channels_last_as_the_input(dtype):
    """Else every layer behind it would work in the slower layout."""
    conv = use_matrices(nn.Conv2d(6, 6, 7, padding=3, groups=6))
    x = torch.randn(3, 6, 4, 4).contiguous(memory_format=torch.channels_last).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        y = conv(x)
    assert y.dtype == dtype
    assert y.is_contiguous(memory_format=torch.channels_last)
    (grad,) = torch.autograd.grad(y.sum(), x)
    assert grad.is_contiguous(memory_format=torch.channels_last)


def test_a_second_derivative_is_refused_instead_of_wrong():
    layer = MatrixConv2d(2, 2, 7, padding=3, groups=2)
    x = torch.randn(1, 2, 6, 6, requires_grad=True)
    (grad,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.square().sum().backward()
