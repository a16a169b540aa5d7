"""What every network of `list_models()` guarantees, for every task. A new network is tested once it is in that list.

Large networks are made smaller here, with the same kinds of layers. Anything specific to one network is tested in its
own file.
"""

import copy
import functools
import pickle

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

import metamixer
from metamixer.checkpoints.ours import network_info, save_network
from metamixer.deployment.samples import example_of
from metamixer.models.registry import task_of
from metamixer.models.tasks import (
    CLASSIFICATION,
    DETECTION,
    FORECASTING,
    POINTS,
    RESTORATION,
    SEGMENTATION,
    SUPER_RESOLUTION,
    TASKS,
    ZERO_SHOT,
)
from metamixer.ops import LayerScale, ParallelConv
from metamixer.ops.series import SharedNorm
from metamixer.ops.sparse import SparseVoxels
from random_statistics import randomize

CLASSES = 5
BACKBONE = {"depths": (1, 0, 0, 1), "dims": (8, 16, 32, 64), "stem_dim": 8}
"""A block with the kernels of the first two stages, and one with those of the last two."""
SMALL = {
    CLASSIFICATION: {"num_classes": CLASSES, **BACKBONE},
    DETECTION: {"num_classes": CLASSES, "backbone_args": BACKBONE, "channels": 16, "hidden_dim": 32},
    SEGMENTATION: {"num_classes": CLASSES},
    SUPER_RESOLUTION: {"dim": 24, "depth": 1},
    RESTORATION: {"dim": 24, "depth": 1},
    FORECASTING: {"dims": (16,), "kernel_sizes": (13,)},
    ZERO_SHOT: {"dim": 16, "depth": 1, "context": 64, "horizon": 32},
    POINTS: {
        "num_classes": CLASSES,
        "depths": (1, 1, 1),
        "dims": (16, 16, 32),
        "decoder_depths": (1, 1),
        "decoder_dims": (16, 16),
    },
}
"""Task -> arguments that make its networks small."""
FFNET_HEAD = {"backbone_args": BACKBONE, "head_args": {"dim": 16, "out_dim": 32, "depth": 1}}
UPERNET = {"backbone_args": BACKBONE, "dim": 16, "auxiliary_dim": 8}
OF_ONE = {
    "ffnet_seg_ade20k": FFNET_HEAD,
    "ffnet_seg_cityscapes": FFNET_HEAD,
    "ffnet_head_ffnet_1": FFNET_HEAD,
    **{f"upernet_ffnet_{i}": UPERNET for i in (1, 2, 3, 4)},
    "unet_mobilenetv3_small": {"dims": (32, 16, 16, 8, 8)},
}
"""Network -> arguments that only this network takes."""
KINDS = {
    "attention": (
        "ffnet_nano",
        {"depths": (1, 1, 1, 1), "mixers": ("ffnified", "pooling", "identity", "attention")},
    ),
    "layer scale, large kernels": (
        "ffnet_nano",
        {"layer_scale": 1e-6, "channel_kernels": (7, 7, 7, 7), "drop_path_rate": 0.2},
    ),
    "super-resolution, LayerNorm": ("ffnet_sr_nano", {"norm": "layernorm2d"}),
    "super-resolution, BatchNorm": ("ffnet_sr_nano", {"norm": "batchnorm2d"}),
    "super-resolution, large kernels": (
        "ffnet_sr_nano",
        {"norm": "batchnorm2d", "token_kernel": 7, "channel_kernel": 7},
    ),
    "super-resolution, large token kernels": ("ffnet_sr_nano", {"token_kernel": 7}),
    "super-resolution, x3": ("ffnet_sr_nano", {"scale": 3}),
    "super-resolution, x4, two blocks": ("ffnet_sr_nano", {"scale": 4, "depth": 2}),
    "super-resolution, pooling": ("ffnet_sr_nano", {"mixer": "pooling"}),
    "super-resolution, identity": ("ffnet_sr_nano", {"mixer": "identity"}),
    "restoration, gray": ("ffnet_restore", {"in_chans": 1}),
    "restoration, x2": ("ffnet_restore", {"scale": 2}),
    "restoration, BatchNorm": ("ffnet_restore", {"norm": "batchnorm2d"}),
    "forecasting, affine": ("ffnet_ts", {"affine": True}),
    "forecasting, subtract last": ("ffnet_ts", {"centre": "last"}),
    "forecasting, decomposition": ("ffnet_ts", {"decomposition": 25}),
    "forecasting, two stages": (
        "ffnet_ts",
        {"lookback": 90, "depths": (1, 2), "dims": (16, 24), "kernel_sizes": (13, 9), "parallel_kernel_sizes": (5, 3)},
    ),
    "forecasting, individual head": ("ffnet_ts", {"head": "individual"}),
    "forecasting, no reversible norm": ("ffnet_ts", {"centre": None, "variables": 3}),
    "forecasting, odd lookback": ("ffnet_ts", {"lookback": 51, "patch_size": 4, "patch_stride": 4}),
    "forecasting, one variable": ("ffnet_ts", {"variables": 1}),
    "points, stochastic depth": ("ffnet_3d", {"drop_path_rate": 0.2}),
}
"""Other forms of networks, by their arguments."""
CASES = {name: (name, {}) for name in metamixer.list_models()} | KINDS
EXPORTABLE = [case for case, (name, _) in CASES.items() if task_of(name).exportable]
NORMS_STAY = {"unet_mobilenetv3_small": "of timm's backbone", "points": "after a pooling, one per stage"}
"""Network or task whose deploy form still has norms -> which norms."""
LOOSER = {DETECTION: 1e-4, FORECASTING: 1e-4, ZERO_SHOT: 1e-4, POINTS: 1e-4}
"""Tolerance of the deploy form, as a fraction of the largest output; 1e-5 for the other tasks."""


@functools.cache
def network_of(case: str) -> tuple[nn.Module, dict]:
    """A small network with weights as after training, and its info. Shared by the tests, so none may change it."""
    name, settings = CASES[case]
    task = task_of(name)
    args = {**SMALL[task], **OF_ONE.get(name, {}), **settings}
    torch.manual_seed(0)
    return randomize(metamixer.create_model(name, **args)), network_info(name, args, task=task.name)


@pytest.fixture(params=CASES)
def case(request):
    return request.param


def example(case: str, size: int | None = None):
    network, info = network_of(case)
    if TASKS[info["task"]] in (FORECASTING, ZERO_SHOT):
        size = None
    elif size is None:
        size = 64
    return example_of(network, info, size=size)


def outputs(network: nn.Module, case: str, x) -> Tensor:
    return task_of(CASES[case][0]).outputs(network, x)


def loss(network: nn.Module, case: str) -> Tensor:
    """A loss that depends on every output."""
    task = task_of(CASES[case][0])
    if task is DETECTION:
        image = example(case, 320)[0]
        boxes = torch.tensor([[2.0, 3.0, 190.0, 200.0], [120.0, 90.0, 319.0, 318.0]])
        masks = torch.zeros(2, 320, 320, dtype=torch.uint8)
        masks[:, 100:180, 130:170] = 1
        losses = network([image], [{"boxes": boxes, "labels": torch.tensor([0, 2]), "masks": masks}])
        return sum(losses.values())
    if task is SEGMENTATION:
        return sum(
            logits.square().sum() for logits in network.forward_heads(torch.cat([example(case), 1 - example(case)]))
        )
    x = example(case)
    x = torch.cat([x, 1 - x]) if isinstance(x, Tensor) else x  # norms need two images in the last stage
    return network(x).sub(1).square().sum()


def assert_same(actual: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    """Compare relative to the largest value."""
    assert (actual - expected).abs().max() <= tolerance * expected.abs().max()


def test_every_parameter_learns(case):
    learner = copy.deepcopy(network_of(case)[0]).train()
    torch.manual_seed(0)
    loss(learner, case).backward()
    assert not [
        name for name, parameter in learner.named_parameters() if parameter.grad is None or not parameter.grad.any()
    ]
    assert all(parameter.grad.isfinite().all() for parameter in learner.parameters())


@torch.no_grad()
def test_deploy_form_is_the_same_function(case):
    network, info = network_of(case)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    x = example(case)
    expected = outputs(network, case, x)
    deployed = metamixer.fuse(network)
    tolerance = LOOSER.get(TASKS[info["task"]], 1e-5)
    assert_same(outputs(deployed, case, x), expected, tolerance)
    assert_same(outputs(metamixer.fuse(deployed), case, x), expected, tolerance)
    unfolded = (
        ParallelConv,
        LayerScale,
        SharedNorm,
        *(() if {info["model"], info["task"]} & NORMS_STAY.keys() else (_BatchNorm,)),
    )
    assert not [name for name, module in deployed.named_modules() if isinstance(module, unfolded)]
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


@torch.no_grad()
@pytest.mark.parametrize("fused", [False, True])
def test_a_file_restores_the_network(case, fused, tmp_path):
    network, info = network_of(case)
    network = metamixer.fuse(network) if fused else network
    save_network(network, {**info, "fused": fused}, tmp_path / "network.safetensors")
    other, known = metamixer.load_checkpoint(tmp_path / "network.safetensors")
    assert known["task"] == info["task"]
    assert torch.equal(outputs(other, case, example(case)), outputs(network, case, example(case)))


@pytest.mark.parametrize("name", [name for name in CASES if task_of(CASES[name][0]) not in (DETECTION, SEGMENTATION)])
def test_is_created_on_its_device_as_its_type(name):
    name, settings = CASES[name]
    args = {**SMALL[task_of(name)], **settings}
    network = metamixer.create_model(name, **args, device="meta", dtype=torch.bfloat16)
    assert {(value.device.type, value.dtype) for value in network.parameters()} == {("meta", torch.bfloat16)}


@torch.no_grad()
def test_copies_and_pickles(case):
    network, _ = network_of(case)
    expected = outputs(network, case, example(case))
    for other in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert torch.equal(outputs(other, case, example(case)), expected)


@torch.no_grad()
def test_takes_inputs_of_odd_sizes(case):
    network, info = network_of(case)
    task = TASKS[info["task"]]
    if task is DETECTION:
        for size in ((33, 47), (20, 150)):
            (found,) = network([torch.rand(3, *size)])
            assert found["boxes"].shape[1:] == (4,) and found["masks"].shape[1:] == (28, 28)
    elif task is FORECASTING:
        assert network(example(case)).shape == (1, network.horizon, network.variables)
    elif task is ZERO_SHOT:
        assert network(torch.rand(2, 48), horizon=5).shape == (2, 9, 5)
    elif task is POINTS:
        voxel = SparseVoxels.of(torch.rand(1, network.in_chans), torch.tensor([[3, 0, 7]]))
        assert network(voxel).shape == (1, CLASSES)
    elif task is SUPER_RESOLUTION:
        assert network(torch.rand(2, 3, 5, 9)).shape == (2, 3, 5 * network.scale, 9 * network.scale)
        assert network(torch.rand(1, 3, 1, 1)).shape == (1, 3, network.scale, network.scale)
    elif task is RESTORATION:
        shape = 1, network.in_chans, 6 * network.scale, 10 * network.scale
        assert network(torch.rand(1, network.in_chans, 6, 10)).shape == shape
    elif task is SEGMENTATION:
        assert network(torch.rand(2, 3, 75, 41)).shape == (2, CLASSES, 75, 41)
    else:
        assert network(torch.rand(2, 3, 33, 47)).shape == (2, CLASSES)


@torch.no_grad()
@pytest.mark.parametrize("case", EXPORTABLE)
def test_exports(case):
    network = metamixer.fuse(network_of(case)[0])
    x = example(case)
    program = torch.export.export(network, (x,)).module()
    assert_same(program(x), network(x), 1e-4)
