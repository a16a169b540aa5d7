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
        ((9, 20), 7, 2, 2, False),
    ],
)
def test_small_maps_give_the_same_results_and_gradients(size, kernel, stride, filters, bias):
    torch.manual_seed(0)
    conv = nn.Conv2d(6, 6 * filters, kernel, stride, kernel // 2, groups=6, bias=bias)
    matrix = use_matrices(copy.deepcopy(conv))
    assert type(matrix) is MatrixConv2d
    x = torch.randn(3, 6, *size).to(memory_format=torch.channels_last)
    assert matrix._pays(x)
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


def test_larger_maps_and_inference_stay_with_the_library():
    conv = use_matrices(nn.Conv2d(4, 4, 3, padding=1, groups=4))
    assert not conv._pays(torch.randn(1, 4, 8, 8))
    strided = use_matrices(nn.Conv2d(4, 8, 7, stride=2, padding=3, groups=4))
    assert strided._pays(torch.randn(1, 4, 24, 24))
    assert not strided._pays(torch.randn(1, 4, 26, 26))
    with torch.no_grad():
        assert not conv._pays(torch.randn(1, 4, 2, 2))
