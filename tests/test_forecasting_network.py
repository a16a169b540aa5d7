"""FFNet-TS equals the published network, fuses, exports, and uses no future values."""

import copy

import numpy as np
import pytest
import torch

import metamixer
from metamixer.errors import InputError
from published_weights import GOLDEN, image, state_dict
from random_statistics import randomize

SMALL = {"dims": (16,), "kernel_sizes": (13,)}
GOLDEN_NETWORKS = {
    "etth1_96": {},
    "etth1_720": {"horizon": 720},
    "ettm1_96": {"expansion_ratio": 12},
    "affine": {**SMALL, "affine": True},
    "subtract_last": {**SMALL, "centre": "last"},
    "decomposition": {**SMALL, "decomposition": 25},
    "two_blocks_two_stages": {
        "lookback": 90,
        "depths": (1, 2),
        "dims": (16, 24),
        "kernel_sizes": (13, 9),
        "parallel_kernel_sizes": (5, 3),
    },
}
KINDS = {
    name: GOLDEN_NETWORKS[name] for name in ("affine", "subtract_last", "decomposition", "two_blocks_two_stages")
} | {
    "individual head": {**SMALL, "head": "individual"},
    "no reversible norm, 3 variables": {**SMALL, "centre": None, "variables": 3},
    "patches side by side, odd lookback": {**SMALL, "lookback": 51, "patch_size": 4, "patch_stride": 4},
    "one variable": {**SMALL, "variables": 1},
}

pytestmark = pytest.mark.filterwarnings("ignore:left out .* keys of modules that the published network never uses")


def ffnet_ts(**settings):
    torch.manual_seed(0)
    return metamixer.create_model("ffnet_ts", **settings)


def published(name):
    return state_dict(f"ts/{name}", "forecasting_keys.json")


def window(network, batch=3):
    return image("window", (batch, network.lookback, network.variables))


@pytest.fixture(params=KINDS)
def network(request):
    """A small network of each kind, with weights as after training."""
    return randomize(ffnet_ts(**KINDS[request.param]))


@torch.no_grad()
@pytest.mark.parametrize("name", GOLDEN_NETWORKS)
def test_computes_what_the_published_network_does(name):
    network = metamixer.load_published(ffnet_ts(**GOLDEN_NETWORKS[name]), published(name)).eval()
    golden = np.load(GOLDEN / "forecasting.npz")[f"ts/{name}/out"]
    x = image(f"ts/{name}", (3, network.lookback, 7))
    np.testing.assert_allclose(network(x), golden, rtol=0, atol=2e-5)
    np.testing.assert_allclose(metamixer.fuse(network)(x), golden, rtol=0, atol=2e-5)


class TestPublishedCheckpoints:
    def test_names_what_it_leaves_out(self, recwarn):
        metamixer.load_published(ffnet_ts(**GOLDEN_NETWORKS["affine"]), published("affine"))
        (warning,) = [str(warning.message) for warning in recwarn]
        assert warning.startswith(
            "left out 41 keys of modules that the published network never uses: model.downsample_layers.1,"
        )
        assert {"model.te_patch", "model.lat_layer", "model.smooth_layer", "model.up_sample_conv"} <= set(
            warning.split(": ")[1].split(", ")
        )

    def test_is_read_from_a_file(self, tmp_path):
        torch.save(published("affine"), tmp_path / "checkpoint.pth")
        network = metamixer.load_published(ffnet_ts(**GOLDEN_NETWORKS["affine"]), tmp_path / "checkpoint.pth").eval()
        golden = np.load(GOLDEN / "forecasting.npz")["ts/affine/out"]
        np.testing.assert_allclose(network(image("ts/affine", (3, 96, 7))).detach(), golden, rtol=0, atol=2e-5)

    @pytest.mark.parametrize(
        ("key", "value", "message"),
        [
            ("model.head.linear.bias", None, r"1 missing: model\.head\.linear\.bias"),
            ("model.tail.weight", torch.zeros(2), r"1 unexpected: model\.tail\.weight"),
            (
                "model.head.linear.bias",
                torch.zeros(7),
                r"1 of another shape: model\.head\.linear\.bias \[7\] instead of \[96\]",
            ),
        ],
    )
    def test_refuses_keys_that_do_not_match_and_leaves_the_network(self, key, value, message):
        network = ffnet_ts(**GOLDEN_NETWORKS["affine"])
        before = copy.deepcopy(network.state_dict())
        state = {**published("affine"), key: value}
        with pytest.raises(InputError, match=message):
            metamixer.load_published(network, {name: tensor for name, tensor in state.items() if tensor is not None})
        assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


@torch.no_grad()
@pytest.mark.parametrize(("kind", "fused"), [*((kind, True) for kind in KINDS), ("two_blocks_two_stages", False)])
def test_exports_for_any_batch(kind, fused):
    network = randomize(ffnet_ts(**KINDS[kind]))
    network = metamixer.fuse(network) if fused else network
    program = torch.export.export(network, (window(network),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    x = window(network, batch=5)
    torch.testing.assert_close(program.module()(x), network(x), rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("centre", ["mean", "last"])
def test_scaling_and_shifting_a_series_scales_and_shifts_its_forecast(centre):
    network = randomize(ffnet_ts(**SMALL, centre=centre))
    x = window(network)
    scale, shift = torch.rand(7) * 9 + 1, torch.randn(7) * 100
    torch.testing.assert_close(network(x * scale + shift), network(x) * scale + shift, rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_permuting_variables_and_their_weights_permutes_the_forecast():
    network = randomize(ffnet_ts(**SMALL, head="individual", affine=True))
    order = torch.tensor([3, 0, 6, 2, 5, 1, 4])
    other = permute_variables(copy.deepcopy(network), order)
    x = window(network)
    torch.testing.assert_close(other(x[:, :, order]), network(x)[:, :, order], rtol=1e-4, atol=1e-4)


def permute_variables(network, order, dim=16):
    """Weights with permuted variables, depending on the meaning of each axis."""
    count = len(order)

    def channels(tensor, axis=0):
        """(variables * ..., ...): variable by variable."""
        return tensor.unflatten(axis, (count, -1)).index_select(axis, order).flatten(axis, axis + 1)

    def hidden_by_variable(tensor, copies):
        """(dim * copies * variables, ...): the hidden layer's variables, `copies` per variable, are the inner axis."""
        return tensor.unflatten(0, (dim, count, copies))[:, order].flatten(0, 2)

    attention, ffn = (residual.mixer for residual in network.stages[0].blocks[0].children())
    across, back = attention.query.key, attention.query.value[1].conv
    across.weight.copy_(hidden_by_variable(across.weight, 2)[:, order])
    across.bias.copy_(hidden_by_variable(across.bias, 2))
    for layer in (back, attention.key, attention.value, ffn.key, *[branch.conv for branch in ffn.query.conv.branches]):
        for tensor in layer.parameters():
            tensor.copy_(channels(tensor))
    for branch in ffn.query.conv.branches:
        for tensor in (branch.norm.weight, branch.norm.bias, branch.norm.running_mean, branch.norm.running_var):
            tensor.copy_(channels(tensor))
    values = ffn.value[1]
    values.weight.copy_(
        values.weight.unflatten(0, (dim, count))[:, order]
        .unflatten(2, (-1, count))[:, :, :, order]
        .flatten(2, 3)
        .flatten(0, 1)
    )
    values.bias.copy_(values.bias.unflatten(0, (dim, count))[:, order].flatten())
    for tensor in (*network.head.linear.parameters(), *network.reversible_norm.parameters()):
        tensor.copy_(tensor[order])
    return network


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depths": (1, 1)}, "expected one entry per stage in each"),
        ({"centre": "median"}, "centre 'median', expected 'mean', 'last' or None"),
        ({"head": "own"}, "head 'own', expected one of shared, individual"),
        ({"lookback": 3}, "lookback 3, patch_size 4, patch_stride 2: expected them in descending order"),
        ({"patch_stride": 0}, "patch_stride 0: expected them in descending order, at least 1"),
        ({"kernel_sizes": (50,)}, "kernel_sizes 50, expected odd sizes"),
        ({"horizon": 0}, "horizon 0, expected at least 1"),
        ({"decomposition": 24}, "decomposition 24, expected an odd number"),
        ({"decomposition": -1}, "decomposition -1, expected an odd number"),
    ],
)
def test_refuses_settings_that_do_not_fit(settings, message):
    with pytest.raises(InputError, match=message):
        ffnet_ts(**settings)


@pytest.mark.parametrize("shape", [(2, 96, 6), (2, 95, 7), (96, 7)])
@pytest.mark.parametrize("decomposition", [None, 25])
def test_refuses_a_window_that_does_not_fit(shape, decomposition):
    with pytest.raises(InputError, match=r"expected \(batch, 96 steps, 7 variables\)"):
        ffnet_ts(decomposition=decomposition)(torch.zeros(shape))


def test_an_unknown_keyword_is_refused():
    with pytest.raises(TypeError, match="bogus"):
        ffnet_ts(bogus=1)
