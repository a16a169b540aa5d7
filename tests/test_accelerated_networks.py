"""Networks that the GPU kernels accelerate train and predict as before, in Triton's interpreter."""

import copy
import importlib.util

import lightning as L
import pytest
import timm
import torch
from torch import nn

from metamixer.mixer import FFNifiedAttention
from metamixer.models import create_model
from metamixer.ops import SERIES, accelerate, fused, kernels
from metamixer.ops.small_maps import use_matrices
from metamixer.ops.synchronized import synchronize_norms
from metamixer.tasks import Classification

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton isn't made for this platform"),
    pytest.mark.usefixtures("operators"),
]

SMALL = {"depths": (1, 0, 0, 1), "dims": (2, 2, 2, 2), "stem_dim": 2, "num_classes": 3}


def expect_same_training(fast, plain, x):
    """Outputs and gradients of both modules agree."""
    actual, expected = fast(x), plain(x)
    torch.testing.assert_close(actual, expected)
    for y in (actual, expected):
        y.square().sum().backward()
    for ours, theirs in zip(fast.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-7, atol=1e-9)


@pytest.fixture
def pair():
    """A small FFNet with all kinds of layers, and its accelerated copy, prepared as `fit` does."""
    torch.manual_seed(0)
    network = create_model("ffnet_nano", **SMALL, layer_scale=0.5).double()
    for parameter in network.parameters():
        if parameter.ndim == 4:
            nn.init.normal_(parameter, std=0.3)
    return network, accelerate(use_matrices(copy.deepcopy(network)))


def test_a_network_trains_as_before(pair):
    network, fast = pair
    assert list(network.state_dict()) == list(fast.state_dict())
    names = {type(module).__name__ for module in fast.modules()}
    assert {"DepthwiseConv2d", "PointwiseConv2d", "ParallelDepthwiseNorm", "AcceleratedFFNifiedAttention"} <= names
    expect_same_training(fast, network, torch.randn(2, 3, 48, 32, dtype=torch.float64))
    for ours, theirs in zip(fast.buffers(), network.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_network_predicts_as_before_fused_or_not(pair):
    network, fast = (model.eval() for model in pair)
    x = torch.randn(2, 3, 64, 32, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(fast(x), network(x))
        torch.testing.assert_close(accelerate(fused(copy.deepcopy(network)))(x), network(x))


def test_fit_takes_the_kernels_on_request(operators, monkeypatch):
    task = Classification("ffnet_nano", 3, model_args={name: SMALL[name] for name in ("depths", "dims", "stem_dim")})
    task.trainer = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    task.configure_model()
    assert "DepthwiseConv2d" not in {type(module).__name__ for module in task.network.modules()}
    monkeypatch.setenv(kernels.SWITCH, "fit")
    task.configure_model()
    assert "DepthwiseConv2d" in {type(module).__name__ for module in task.network.modules()}


def test_autocast_checkpointing_and_compile(operators):
    torch.manual_seed(0)
    network = accelerate(create_model("ffnet_nano", **SMALL | {"depths": (1, 0, 0, 0)}))
    x = torch.randn(2, 3, 32, 32)
    with torch.autocast("cpu", torch.float16):
        low = network(x)
    network.set_grad_checkpointing()
    high = network(x)
    torch.testing.assert_close(low.float(), high, rtol=0.05, atol=0.05)
    high.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    network.eval().set_grad_checkpointing(False)
    stage, maps = network.stages[0], network.stem(x).detach()
    torch.testing.assert_close(torch.compile(stage, backend="aot_eager")(maps), stage(maps))


def test_gradients_are_shared_among_processes(operators, tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        mixer = FFNifiedAttention(2, 3).double()
        shared = nn.parallel.DistributedDataParallel(accelerate(copy.deepcopy(mixer)))
        x = torch.randn(2, 2, 4, 5, dtype=torch.float64)
        expect_same_training(shared, mixer, x)
    finally:
        torch.distributed.destroy_process_group()


def test_synchronized_norms_stay_so(operators, monkeypatch):
    """The kernels know the statistics of this process only."""
    monkeypatch.setattr(operators, "moments", None)
    mixer = FFNifiedAttention(2, 7).double()
    fast = synchronize_norms(accelerate(copy.deepcopy(mixer)))
    expect_same_training(fast, mixer, torch.randn(2, 2, 4, 5, dtype=torch.float64))


def test_timms_networks_take_the_kernels():
    network = timm.create_model("convnext_atto", depths=(1, 1, 1, 1), dims=(4, 4, 4, 4), num_classes=3).double()
    fast = accelerate(copy.deepcopy(network))
    assert [type(block.conv_dw).__name__ for stage in fast.stages for block in stage.blocks] == ["DepthwiseConv2d"] * 4
    expect_same_training(fast, network, torch.randn(2, 3, 32, 32, dtype=torch.float64))


class ReparamLargeKernelConv(nn.Module):
    """The layer of RepLKNet, as its authors write it: a 31x31 and a 5x5 branch, each with its norm."""

    def __init__(self, channels):
        super().__init__()
        self.lkb_origin, self.small_conv = (
            nn.Sequential(
                nn.Conv2d(channels, channels, size, padding=size // 2, groups=channels, bias=False),
                nn.BatchNorm2d(channels),
            )
            for size in (31, 5)
        )

    def forward(self, x):
        return self.lkb_origin(x) + self.small_conv(x)


def test_replknet_takes_the_kernels():
    layer = ReparamLargeKernelConv(2).double()
    fast = accelerate(copy.deepcopy(layer))
    assert {type(branch[0]).__name__ for branch in fast.children()} == {"DepthwiseConv2d"}
    assert kernels.takes(torch.empty(1, 2, 56, 56), fast.lkb_origin[0].kernel_size)
    expect_same_training(fast, layer, torch.randn(2, 2, 2, 1, dtype=torch.float64))


def test_series_take_the_kernels(operators):
    mixer = FFNifiedAttention(2, 51, SERIES).double()
    fast = accelerate(copy.deepcopy(mixer))
    assert type(fast.key).__name__ == "ParallelDepthwiseNorm"
    x = torch.randn(2, 2, 20, dtype=torch.float64)
    expect_same_training(fast, mixer, x)
    with torch.no_grad():
        deployed = accelerate(fused(mixer.eval()))
        assert type(deployed.key).__name__ == "DepthwiseConv1d"
        torch.testing.assert_close(deployed(x), mixer(x))


def test_switched_off_nothing_changes(monkeypatch):
    monkeypatch.setenv(kernels.SWITCH, "off")
    mixer = FFNifiedAttention(2)
    assert type(accelerate(mixer)) is FFNifiedAttention


def test_an_accelerated_network_runs_without_kernels(monkeypatch):
    network = accelerate(FFNifiedAttention(2, 7).eval())
    x = torch.randn(1, 2, 9, 9)
    expected = network(x)
    monkeypatch.setattr(kernels, "INTERPRETED", False)
    torch.testing.assert_close(network(x), expected, rtol=1e-4, atol=1e-5)
