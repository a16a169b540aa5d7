"""int8: calibration, bits of the weights, and the layers that lose most accuracy."""

import numpy as np
import pytest
import torch
from torch import nn

import metamixer
from metamixer.deployment.backends import build
from metamixer.deployment.description import Description
from metamixer.deployment.exporting import export
from metamixer.deployment.formats import FORMATS
from metamixer.deployment.program import Program
from metamixer.deployment.quantization import Quantization, layer_costs
from metamixer.system.machine import multiplies_int8
from random_statistics import randomize
from shapes import needs


@pytest.mark.parametrize("name", [pytest.param(name, marks=needs[name]) for name in ("onnx", "openvino")])
def test_int8_calibrates_in_a_fixed_batch(name, tmp_path):
    network = randomize(nn.Sequential(nn.Conv2d(3, 8, 3), nn.GELU(), nn.Flatten(), nn.Linear(288, 3)))
    example, path = torch.rand(4, 3, 8, 8), tmp_path / f"net{FORMATS[name].suffix}"
    quantization = Quantization(torch.rand(6, 3, 8, 8))
    assert export(network, path, format=name, example=example, dynamic=False, quantization=quantization).shape == (
        4,
        3,
        8,
        8,
    )


@needs["onnx"]
@pytest.mark.parametrize(("able", "largest"), [(True, 127), (False, 64)])
def test_onnx_weights_have_seven_bits_if_products_would_saturate(able, largest, monkeypatch):
    import onnx

    from metamixer.deployment.runtimes.onnx import convert

    monkeypatch.setattr("metamixer.deployment.runtimes.onnx.multiplies_int8", lambda: able)
    x = torch.rand(2, 3, 8, 8)
    model, _ = convert(Program(nn.Conv2d(3, 8, 3).eval(), x, Description("int8"), calibration=x))
    weights = [
        onnx.numpy_helper.to_array(tensor)
        for tensor in model.graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8
    ]
    assert max(np.abs(weight.astype(int)).max() for weight in weights) == largest


def test_layer_costs_name_the_layer_that_int8_hurts():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 4, 1)).eval()
    network[1].weight.data[0, 0] = 200.0
    x = torch.rand(4, 3, 8, 8)
    before = [layer.weight.clone() for layer in network]
    assert layer_costs(network, x)[-1][1] >= 0
    assert {name for name, _ in layer_costs(network, x)} == {"0", "1", "2"}
    assert all(torch.equal(layer.weight, weight) for layer, weight in zip(network, before, strict=True))


@needs["openvino"]
def test_int8_depthwise_convolutions_are_right_in_openvino():
    torch.manual_seed(0)
    network = randomize(metamixer.create_model("ffnet_nano", num_classes=10)).eval()
    images = torch.rand(16, 3, 32, 32)
    runtime = build("openvino", network, images[:1], precision="int8", calibration=images)
    with torch.no_grad():
        expected = network(images)
    found = torch.cat([runtime(image) for image in images.split(1)])
    tolerance = 0.08 if multiplies_int8() else 0.1  # weights of 7 bits
    assert (found - expected).abs().mean() < tolerance * expected.abs().max()
