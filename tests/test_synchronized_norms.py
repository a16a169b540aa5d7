"""`trainer.sync_batchnorm`: what can be tested without several GPUs, all but the exchange between them."""

import copy

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

import metamixer
from metamixer.cli import main
from metamixer.models.tasks import TASKS
from metamixer.ops.series import SharedNorm
from metamixer.ops.synchronized import separate_norms, synchronize_norms
from metamixer.ops.voxels import BatchNorm as VoxelNorm
from metamixer.training.norms import SynchronizedNorms
from random_statistics import randomize
from short_runs import write_digits_recipe

NETWORKS = {
    "ffnet_nano": ("classification", nn.BatchNorm2d, {"num_classes": 3}),
    "ffnet_ts": ("forecasting", SharedNorm, {"variables": 3, "lookback": 32, "horizon": 8}),
    "ffnet_3d_nano": ("points", VoxelNorm, {"in_chans": 6, "num_classes": 3}),
}
"""Network -> its task, a kind of norm in it, and keywords."""


def norms(network):
    return {name: module for name, module in network.named_modules() if isinstance(module, _BatchNorm)}


@pytest.fixture(params=NETWORKS)
def case(request):
    task, kind, arguments = NETWORKS[request.param]
    torch.manual_seed(0)
    network = randomize(metamixer.create_model(request.param, **arguments)).double()
    x = TASKS[task].example(network, {"model_args": arguments}, 64 if task == "classification" else None)
    x = x.double() if isinstance(x, torch.Tensor) else x.with_features(x.features.double())
    return network, kind, x, TASKS[task].outputs


def test_norms_compute_the_same_in_one_process_and_come_back(case):
    network, kind, x, outputs = case
    together = synchronize_norms(copy.deepcopy(network))
    assert all(isinstance(norm, nn.SyncBatchNorm) for norm in norms(together).values())
    assert any(isinstance(norm, kind) for norm in norms(together).values())
    assert [*together.state_dict()] == [*network.state_dict()]
    results = []
    for each in (network, together):
        torch.manual_seed(0)  # dropout
        y = outputs(each.train(), x)
        y.square().mean().backward()
        results.append((y, [parameter.grad for parameter in each.parameters()], [*each.state_dict().values()]))
    torch.testing.assert_close(results[1], results[0], rtol=1e-6, atol=1e-8)
    with torch.no_grad():
        torch.testing.assert_close(outputs(metamixer.fuse(together), x), outputs(metamixer.fuse(network), x))
    back = separate_norms(together)
    assert {name: type(norm) for name, norm in norms(back).items()} == {
        name: type(norm) for name, norm in norms(network).items()
    }


def test_a_norm_of_timm_keeps_its_activation():
    norm, x = BatchNormAct2d(3), torch.randn(2, 3, 4, 4)
    expected = norm(x)
    together = synchronize_norms(nn.Sequential(norm))
    assert isinstance(together[0], nn.SyncBatchNorm)
    assert torch.equal(together(x), expected)
    assert (expected >= 0).all()
    assert type(separate_norms(together)[0]) is BatchNormAct2d


def test_the_option_converts_with_our_plugin_and_needs_gpus(tmp_path, monkeypatch, capsys):
    recipe = write_digits_recipe(tmp_path / "recipe.yaml")
    words = ["fit", "--config", recipe, "--out", str(tmp_path / "run"), "--trainer.sync_batchnorm", "true"]
    two = ["--trainer.accelerator", "cpu", "--trainer.devices", "2", "--trainer.strategy", "ddp_spawn"]
    assert main([*words, *two]) == 2
    assert capsys.readouterr().err.endswith(
        "trainer.sync_batchnorm true, expected false on CPUs: PyTorch has it for GPUs only\n"
    )
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr("metamixer.training.command_line.expect_gpus", check := Seen())
    assert main([*words, "--trainer.fast_dev_run", "1"]) == 0
    assert isinstance(check.trainer._accelerator_connector._layer_sync, SynchronizedNorms)


class Seen:
    def __call__(self, trainer):
        self.trainer = trainer
