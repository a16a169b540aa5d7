"""Series layers equal PyTorch's layers in every form, forward and backward, in any memory layout."""

import pytest
import torch
from torch import nn

import metamixer
from metamixer.mixer import TOKEN_MIXERS, token_mixer
from metamixer.ops import SERIES, series
from metamixer.ops.series import (
    BatchNorm1d,
    Conv1d,
    Dropout,
    SharedNorm,
    SwapAxes,
    by_windows,
    grouped_product,
    toeplitz_product,
)
from published_weights import image

CONVOLUTIONS = {
    "depthwise 51 over 48": ((12, 12, 51, 1, 25, 1, 12), 48),
    "depthwise 51 over 48 without bias": ((12, 12, 51, 1, 25, 1, 12, False), 48),
    "depthwise 5 over 48": ((12, 12, 5, 1, 2, 1, 12), 48),
    "depthwise 5 over 1": ((12, 12, 5, 1, 2, 1, 12), 1),
    "depthwise 3 over 400": ((12, 12, 3, 1, 1, 1, 12), 400),
    "depthwise 5, longer": ((12, 12, 5, 1, 3, 1, 12), 48),
    "depthwise 5, dilated": ((12, 12, 5, 1, 4, 2, 12), 48),
    "depthwise 4": ((12, 12, 4, 1, 2, 1, 12), 48),
    "depthwise 5, two filters a channel": ((12, 24, 5, 1, 2, 1, 12), 48),
    "depthwise 5, stride 2": ((12, 12, 5, 2, 2, 1, 12), 48),
    "pointwise, 3 groups": ((12, 24, 1, 1, 0, 1, 3), 48),
    "pointwise, 3 groups, without bias": ((12, 24, 1, 1, 0, 1, 3, False), 48),
    "pointwise, 3 groups, padded": ((12, 24, 1, 1, 1, 1, 3), 48),
    "pointwise, 1 group": ((12, 24, 1), 48),
}
LAYOUTS = {"by batch": lambda x: x.contiguous(), "by channel": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1)}

layouts = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)


def assert_same_layer(ours, reference, x):
    """Compare the output, the gradient of the input and the gradients of the parameters."""
    ours.load_state_dict(reference.state_dict())
    results = []
    for layer in (ours, reference):
        inputs = x.clone(memory_format=torch.preserve_format).requires_grad_()
        output = layer(inputs)
        output.mul(image("weight of the output", tuple(output.shape))).sum().backward()
        results.append([output, inputs.grad, *[parameter.grad for parameter in layer.parameters()], *layer.buffers()])
    for actual, expected in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


@layouts
@pytest.mark.parametrize(("arguments", "length"), CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_convolution_is_pytorchs(arguments, length, layout):
    torch.manual_seed(0)
    assert_same_layer(Conv1d(*arguments), nn.Conv1d(*arguments), layout(image("series", (5, 12, length))))


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("depthwise 51 over 48", toeplitz_product),
        ("depthwise 5 over 48", toeplitz_product),
        ("depthwise 5, dilated", None),
        ("depthwise 3 over 400", None),
        ("pointwise, 3 groups", grouped_product),
        ("pointwise, 1 group", None),
    ],
)
def test_form_is_chosen_by_size(name, form, monkeypatch):
    used = []
    for function in (toeplitz_product, grouped_product):
        monkeypatch.setattr(
            series, function.__name__, lambda *args, function=function: used.append(function) or function(*args)
        )
    arguments, length = CONVOLUTIONS[name]
    Conv1d(*arguments)(image("series", (5, 12, length)))
    assert used == ([form] if form else [])


def test_an_exported_graph_holds_plain_convolutions():
    layers = nn.Sequential(Conv1d(12, 12, 51, padding=25, groups=12), Conv1d(12, 24, 1, groups=3), Dropout(0.5)).eval()
    x = image("series", (5, 12, 48))
    program = torch.export.export(layers, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    operators = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert operators.count("aten.conv1d.default") == 2
    assert not [name for name in operators if "bmm" in name]
    torch.testing.assert_close(program.module()(x[:2]), layers(x[:2]), rtol=1e-4, atol=1e-5)


@layouts
@pytest.mark.parametrize("training", [True, False])
def test_norm_is_pytorchs(training, layout):
    norm, reference = (kind(12).train(training) for kind in (BatchNorm1d, nn.BatchNorm1d))
    assert_same_layer(norm, reference, layout(image("series", (5, 12, 48))))


@layouts
@pytest.mark.parametrize("training", [True, False])
def test_shared_norm_is_one_norm_of_every_variable(training, layout):
    class OneByOne(nn.BatchNorm1d):
        def forward(self, x):
            return super().forward(x.reshape(-1, self.num_features, x.shape[2])).reshape(x.shape)

    assert_same_layer(
        SharedNorm(4, variables=3).train(training),
        OneByOne(4).train(training),
        layout(image("series", (5, 12, 48)) + 2),
    )


@layouts
@pytest.mark.parametrize("p", [0.0, 0.15, 0.7, 1.0])
def test_dropout_drops_its_probability_and_keeps_the_mean(p, layout):
    torch.manual_seed(0)
    x = layout(torch.ones(100, 12, 101)).requires_grad_()
    y = Dropout(p)(x)
    kept = (y != 0).float()
    assert kept.mean().item() == pytest.approx(1 - p, abs=0.005)
    assert max(kept.mean(dim=dims).sub(1 - p).abs().max().item() for dims in ((0, 1), (0, 2), (1, 2))) < 0.1, (
        "in every row and column"
    )
    torch.testing.assert_close(y, kept / (1 - p) if p < 1 else kept)
    y.sum().backward()
    assert torch.equal(x.grad, y)
    assert y.stride() == x.stride()


def test_dropout_follows_the_seed_and_is_off_in_evaluation():
    x = image("series", (5, 12, 47))
    masks = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        masks.append(Dropout(0.5)(x))
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
    assert torch.equal(Dropout(0.5).eval()(x), x)


@layouts
def test_swapping_axes_twice_gives_the_channels_back(layout):
    x = layout(image("series", (5, 12, 48)))
    swapped = SwapAxes(3)(x)
    assert torch.equal(swapped, x.reshape(5, 3, 4, 48).transpose(1, 2).reshape(5, 12, 48))
    assert torch.equal(SwapAxes(4)(swapped), x)


class TestSomeWindowsAtATime:
    """A hidden layer of 24 channels by 48 patches for 5 windows, computed two windows at a time."""

    @pytest.fixture(autouse=True, params=[True, False], ids=["computed again", "kept"])
    def computed_again(self, monkeypatch, request) -> bool:
        monkeypatch.setattr(series, "HIDDEN_ELEMENTS", 2 * 24 * 48)
        monkeypatch.setattr(series, "KEPT_ELEMENTS", (4 if request.param else 5) * 24 * 48)
        return request.param

    @layouts
    def test_is_the_same_function_with_the_same_gradients(self, layout):
        torch.manual_seed(0)
        hidden = nn.Sequential(Conv1d(12, 24, 1, groups=3), nn.GELU(), Conv1d(24, 12, 1, groups=3))
        results = []
        for function in (hidden, lambda x: by_windows(hidden, x, hidden_channels=24)):
            x = layout(image("series", (5, 12, 48))).requires_grad_()
            y = function(x)
            results.append((y, *torch.autograd.grad(y.square().sum(), [x, *hidden.parameters()])))
        torch.testing.assert_close(results[1], results[0])

    def test_holds_no_more_memory(self, computed_again):
        seen = []
        x = image("series", (5, 12, 48)).requires_grad_()
        y = by_windows(lambda x: seen.append(len(x)) or x.sin(), x, hidden_channels=24)
        assert seen == [2, 2, 1]
        y.sum().backward()
        assert len(seen) == (6 if computed_again else 3)

    def test_dropout_has_one_mask_forward_and_backward(self):
        x = torch.ones(5, 12, 48, requires_grad=True)
        y = by_windows(Dropout(0.5), x, hidden_channels=24)
        y.sum().backward()
        assert torch.equal(x.grad, y)
        assert 0.4 < (y != 0).float().mean() < 0.6


@pytest.mark.parametrize("p", [2**-20, 1 - 2**-20])
def test_dropout_of_nearly_nothing_or_everything(p):
    x = torch.ones(4, 4096)
    torch.manual_seed(0)
    assert abs(float(Dropout(p).train()(x).count_nonzero() / x.numel()) - (1 - p)) < 0.01


def test_forecaster_trains_in_half_precision():
    network = metamixer.create_model("ffnet_ts", dims=(8,), kernel_sizes=(9,)).bfloat16().train()
    forecast = network(torch.rand(4, 96, 7, dtype=torch.bfloat16))
    forecast.sum().backward()
    assert forecast.dtype == torch.bfloat16
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


@torch.no_grad()
def test_an_empty_batch_has_an_empty_result():
    network = metamixer.create_model("ffnet_ts", dims=(8,), kernel_sizes=(9,)).eval()
    assert network(torch.rand(0, 96, 7)).shape == (0, 96, 7)
    for mixer in TOKEN_MIXERS:
        assert token_mixer(mixer, 32, kernel_size=9, operators=SERIES).eval()(torch.rand(0, 32, 5)).shape == (0, 32, 5)
