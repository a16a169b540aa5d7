"""Weight decay and learning rates, the same for every task; optimizer states with other groups."""

import copy

import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision

import metamixer
from metamixer.errors import InputError
from metamixer.tasks.optimization.detection import DetectionOptimization
from metamixer.tasks.optimization.parameter_groups import names_of_groups, regroup
from metamixer.tasks.optimization.points import PointOptimization
from metamixer.tasks.optimization.recipe import Optimization
from metamixer.tasks.optimization.segmentation import SegmentationOptimization

SCALED = {"depths": (1, 1, 1, 1), "dims": (8, 8, 16, 16), "layer_scale": 1e-6}
"""A small FFNet with layer scales, as in FFNet-3 and 4."""


@pytest.fixture(scope="module")
def network():
    """Shared by the tests, so none may change it."""
    return metamixer.create_model("ffnet_nano", num_classes=3, **SCALED)


RECIPES = {
    "classification": Optimization(),
    "fine-tuning": Optimization(layer_decay=0.8),
    "detection": DetectionOptimization(layer_decay=None),
    "segmentation": SegmentationOptimization(),
    "points": PointOptimization(),
}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_norms_biases_and_layer_scales_decay_in_no_task(recipe, network):
    decay = {
        id(each): group["weight_decay"] for group in recipe.optimizer(network).param_groups for each in group["params"]
    }
    assert len(decay) == len(list(network.parameters()))
    assert any(name.endswith(".scale.gamma") for name, _ in network.named_parameters())
    for name, parameter in network.named_parameters():
        exempt = name.endswith((".bias", ".scale.gamma")) or parameter.ndim == 1
        assert decay[id(parameter)] == (0 if exempt else 0.05), name


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_adamw_is_fused_and_lets_gradients_be_clipped(recipe):
    network = torch.nn.Linear(2, 1, bias=False)
    optimizer = recipe.optimizer(network)
    assert optimizer.param_groups[0]["fused"]
    network.weight.grad = torch.tensor([[3.0, 4.0]])
    MixedPrecision("bf16-mixed", "cpu").clip_gradients(optimizer, 1.0)
    torch.testing.assert_close(network.weight.grad, torch.tensor([[0.6, 0.8]]))


def test_float16s_loss_scale_is_divided_out_once():
    network = torch.nn.Linear(2, 1, bias=False)
    before = network.weight.detach().clone()
    optimizer = Optimization(lr=0.5, weight_decay=0.0).optimizer(network)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    scaler.scale(3 * network.weight.sum()).backward()
    scaler.step(optimizer)
    torch.testing.assert_close(network.weight.grad, torch.full((1, 2), 3.0))
    torch.testing.assert_close(network.weight, before - 0.5)


def test_rates_of_layers_are_timms(network):
    from timm.optim import param_groups_layer_decay

    timms = {
        id(parameter): group["lr_scale"]
        for group in param_groups_layer_decay(network, layer_decay=0.8)
        for parameter in group["params"]
    }
    for group in Optimization(lr=1.0, layer_decay=0.8).optimizer(network).param_groups:
        for parameter in group["params"]:
            assert group["lr"] == pytest.approx(timms[id(parameter)])


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_an_optimizer_state_of_0_1_0_loads_into_the_current_groups(recipe, network):
    """Version 0.1.0's checkpoints have other groups, without names."""
    named = dict(network.named_parameters())
    before = recipe.groups_before(network)
    assert sorted(name for names in before for name in names) == sorted(named)
    old = torch.optim.AdamW([{"params": [named[name] for name in names]} for names in before], lr=0.5)
    for number, parameter in enumerate(named.values()):
        parameter.grad = torch.full_like(parameter, number + 1.0)
    learned = copy.deepcopy(network.state_dict())
    old.step()
    network.load_state_dict(learned)
    schedule = torch.optim.lr_scheduler.LambdaLR(old, lambda step: 1.0)
    checkpoint = {"optimizer_states": [old.state_dict()], "lr_schedulers": [schedule.state_dict()]}
    regroup(checkpoint, before, recipe.groups(network))
    (state,), (schedule_state,) = checkpoint["optimizer_states"], checkpoint["lr_schedulers"]
    optimizer = recipe.optimizer(network)
    optimizer.load_state_dict(state)
    for number, parameter in enumerate(named.values()):
        torch.testing.assert_close(
            optimizer.state[parameter]["exp_avg"], torch.full_like(parameter, 0.1 * (number + 1))
        )
    assert [group["lr"] for group in optimizer.param_groups] == [0.5] * len(optimizer.param_groups)
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.0, 0.05}
    assert len(schedule_state["base_lrs"]) == len(optimizer.param_groups)
    assert [group["param_names"] for group in optimizer.state_dict()["param_groups"]] == names_of_groups(
        recipe.groups(network)
    )


def test_a_parameter_that_learns_only_since_resuming_is_named(network):
    groups = Optimization().groups(network)
    before = [[name for name in names if name != "head.fc.weight"] for names in names_of_groups(groups)]
    state = {"state": {}, "param_groups": [{"params": list(range(len(names)))} for names in before]}
    with pytest.raises(InputError, match=r"parameter head\.fc\.weight: frozen .* with --model\.initial"):
        regroup({"optimizer_states": [state]}, before, groups)
