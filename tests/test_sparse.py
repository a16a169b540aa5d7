"""Submanifold convolution in plain PyTorch: equal to dense convolution, differentiable, deterministic, strict about its
input.
"""

from functools import partial

import pytest
import torch
from torch.nn import functional as F

from metamixer.errors import InputError
from metamixer.ops.sparse import LARGEST_COORDINATE, SparseVoxels, VoxelGrid
from metamixer.ops.submanifold import pool_max, pool_mean, submanifold_convolution, unpool
from metamixer.ops.voxels import AveragePool, SubmanifoldConv3d

SIZE = 9


@pytest.fixture
def voxels() -> SparseVoxels:
    """A third of the cells of two small cubes, in random order."""
    generator = torch.Generator().manual_seed(0)
    occupied = torch.rand(2, SIZE, SIZE, SIZE, generator=generator) < 0.3
    cells = occupied.nonzero()
    cells = cells[torch.randperm(len(cells), generator=generator)]
    features = torch.randn(len(cells), 4, generator=generator, dtype=torch.float64)
    return SparseVoxels.of(features, cells[:, 1:], cells[:, 0])


def test_the_gradient_of_the_maximum_does_not_depend_on_what_memory_holds(monkeypatch):
    """It was halved where the memory of the result happened to hold the result, such as zeros."""
    monkeypatch.setattr(torch.Tensor, "new_empty", lambda x, *size, **kind: x.new_zeros(*size, **kind))
    x = torch.tensor([[0.0], [-1.0]], requires_grad=True)
    pool_max(SparseVoxels.of(x, torch.tensor([[0, 0, 0], [1, 0, 0]]))).features.sum().backward()
    assert x.grad.tolist() == [[1.0], [0.0]]


def dense(voxels: SparseVoxels) -> torch.Tensor:
    """(scenes, C, x, y, z), zeros where there is no voxel."""
    x = torch.zeros(2, SIZE, SIZE, SIZE, voxels.features.shape[1], dtype=voxels.features.dtype)
    x = x.index_put((voxels.grid.batch, *voxels.grid.coordinates.T), voxels.features)
    return x.permute(0, 4, 1, 2, 3)


def at_voxels(x: torch.Tensor, voxels: SparseVoxels) -> torch.Tensor:
    """(scenes, C, x, y, z) -> (N, C)."""
    return x.permute(0, 2, 3, 4, 1)[(voxels.grid.batch, *voxels.grid.coordinates.T)]


@pytest.mark.parametrize(
    ("out", "groups"), [(6, 1), (4, 4), (8, 4), (6, 2)], ids=["full", "depthwise", "wider", "groups"]
)
@pytest.mark.parametrize("kernel_size", [1, 3, 5, 7])
def test_equals_dense_convolution_with_its_gradients(voxels, kernel_size, out, groups):
    generator = torch.Generator().manual_seed(1)
    shape = (out, *[kernel_size] * 3, 4 // groups)
    weight = torch.randn(shape, dtype=torch.float64, generator=generator, requires_grad=True)
    bias = torch.randn(out, dtype=torch.float64, generator=generator, requires_grad=True)
    features = voxels.features.requires_grad_()
    ours = submanifold_convolution(voxels, weight, bias, groups=groups).features
    kernel = weight.permute(0, 4, 1, 2, 3)
    theirs = at_voxels(F.conv3d(dense(voxels), kernel, bias, padding=kernel_size // 2, groups=groups), voxels)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    target = torch.randn(ours.shape, dtype=torch.float64, generator=generator)
    gradients = (torch.autograd.grad((x * target).sum(), (features, weight, bias)) for x in (ours, theirs))
    for mine, other in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("kernel_size", [1, 3])
def test_a_layers_kernel_equals_dense_convolutions(voxels, kernel_size, groups):
    conv = SubmanifoldConv3d(4, 8, kernel_size, groups=groups, dtype=torch.float64)
    whole = F.conv3d(dense(voxels), conv.kernel(), conv.bias, padding=kernel_size // 2, groups=groups)
    torch.testing.assert_close(conv(voxels).features, at_voxels(whole, voxels), rtol=1e-12, atol=1e-12)
    assert torch.equal(conv.stored(conv.kernel()), conv.weight)


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_the_mean_of_a_neighborhood_counts_its_voxels_or_all_its_cells(voxels, kernel_size):
    x = dense(voxels.with_features(torch.cat([voxels.features, torch.ones_like(voxels.features[:, :1])], dim=1)))
    over_cells = at_voxels(F.avg_pool3d(x, kernel_size, 1, kernel_size // 2), voxels)
    ours = pool_mean(voxels, kernel_size, count_empty=True).features
    torch.testing.assert_close(ours, over_cells[:, :-1], rtol=1e-12, atol=1e-12)
    ours = pool_mean(voxels, kernel_size).features
    torch.testing.assert_close(ours, over_cells[:, :-1] / over_cells[:, -1:], rtol=1e-12, atol=1e-12)


def test_gradcheck():
    cells = torch.tensor([[0, 0, 0], [0, 0, 1], [1, 1, 1], [2, 1, 0], [5, 5, 5]])
    features = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 3, 3, 3, 2, dtype=torch.float64, requires_grad=True)
    grid = VoxelGrid.of(cells)
    assert torch.autograd.gradcheck(
        lambda x, w: submanifold_convolution(SparseVoxels(x, grid), w).features, (features, weight)
    )
    each = weight[..., :1].detach()[:2].requires_grad_()
    depthwise = partial(submanifold_convolution, groups=2)
    assert torch.autograd.gradcheck(lambda x, w: depthwise(SparseVoxels(x, grid), w).features, (features, each))
    assert torch.autograd.gradcheck(lambda x: pool_mean(SparseVoxels(x, grid), 3).features, (features,))
    assert torch.autograd.gradcheck(lambda x: unpool(pool_max(SparseVoxels(x, grid)), grid).features, (features,))


@pytest.mark.parametrize("groups", [1, 4])
def test_scenes_of_a_batch_do_not_see_each_other(voxels, groups):
    conv = SubmanifoldConv3d(4, 4, groups=groups, dtype=torch.float64)
    alone = voxels.grid.batch == 1
    scene = SparseVoxels.of(voxels.features[alone], voxels.grid.coordinates[alone])
    torch.testing.assert_close(conv(voxels).features[alone], conv(scene).features)


def test_pooling_takes_the_largest_and_unpooling_gives_it_back(voxels):
    pooled = pool_max(voxels)
    expected = F.max_pool3d(
        F.pad(dense(voxels).masked_fill(dense(voxels) == 0, -torch.inf), [0, 1] * 3, value=-torch.inf), 2
    )
    cells = (pooled.grid.batch, slice(None), *pooled.grid.coordinates.T)
    torch.testing.assert_close(pooled.features, expected[cells])
    assert len(pooled) == int((expected[:, 0] > -torch.inf).sum())
    back = unpool(pooled, voxels.grid)
    assert (back.features >= voxels.features).all()
    assert back.grid is voxels.grid


def test_neighbor_maps_are_computed_once_and_shared(voxels):
    assert voxels.grid.neighbors(3) is voxels.with_features(voxels.features).grid.neighbors(3)
    assert voxels.grid.pooled() is voxels.grid.pooled()


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_and_half_precision_stay_near_float(voxels, dtype, groups):
    voxels = voxels.with_features(voxels.features.float())
    conv = SubmanifoldConv3d(4, 8, groups=groups)
    expected = conv(voxels).features
    with torch.autocast("cpu", dtype):
        result = conv(voxels).features
    assert result.dtype == dtype
    torch.testing.assert_close(result.float(), expected, rtol=0.02, atol=0.02)
    result.float().square().sum().backward()
    assert conv.weight.grad.dtype == torch.float32 and conv.weight.grad.isfinite().all()
    half = SubmanifoldConv3d(4, 8, groups=groups, dtype=dtype)
    half.load_state_dict(conv.state_dict())
    torch.testing.assert_close(
        half(voxels.with_features(voxels.features.to(dtype))).features.float(), expected, rtol=0.02, atol=0.02
    )


@pytest.mark.parametrize("groups", [1, 4])
def test_deterministic_algorithms_give_the_same_bits_on_any_number_of_threads(voxels, groups):
    conv = SubmanifoldConv3d(4, 8, groups=groups, dtype=torch.float64)
    threads = torch.get_num_threads()
    torch.use_deterministic_algorithms(True)
    try:
        results = []
        for count in (1, 2, 2):
            torch.set_num_threads(count)
            conv.zero_grad()
            features = voxels.features.detach().clone().requires_grad_()
            pool_max(conv(voxels.with_features(features))).features.square().sum().backward()
            results.append((features.grad, conv.weight.grad))
    finally:
        torch.use_deterministic_algorithms(False)
        torch.set_num_threads(threads)
    for result in results[1:]:
        assert all(torch.equal(mine, other) for mine, other in zip(result, results[0], strict=True))


@pytest.mark.parametrize(
    ("coordinates", "message"),
    [
        ([[0, 0, 0], [1, 2, 3], [1, 2, 3]], r"voxel \[1, 2, 3\] of scene 0 occurs more than once"),
        ([[0, 0, 0], [0, -1, 0], [1, 0, 0]], "coordinate -1, expected 0 to"),
        (
            [[0, 0, 0], [0, LARGEST_COORDINATE + 1, 0], [1, 0, 0]],
            f"coordinate {LARGEST_COORDINATE + 1}, expected 0 to",
        ),
        ([[0.5, 0, 0]] * 3, "float32, expected .* integers"),
        ([[0, 0, 0]], "expected .* N 1"),
    ],
)
def test_refuses_wrong_voxels(coordinates, message):
    with pytest.raises(InputError, match=message):
        SparseVoxels.of(torch.zeros(3, 2), torch.tensor(coordinates))


def test_refuses_input_that_does_not_fit(voxels):
    with pytest.raises(InputError, match="no voxels"):
        SparseVoxels.of(torch.zeros(0, 2), torch.zeros(0, 3, dtype=torch.long))
    with pytest.raises(InputError, match="batch of shape"):
        SparseVoxels.of(torch.zeros(2, 2), torch.tensor([[0, 0, 0], [1, 0, 0]]), torch.zeros(3, dtype=torch.long))
    with pytest.raises(InputError, match="4 channels, expected 5"):
        SubmanifoldConv3d(5, 2, dtype=torch.float64)(voxels)
    with pytest.raises(InputError, match="kernel_size 4"):
        SubmanifoldConv3d(4, 2, 4)
    with pytest.raises(InputError, match="groups 3, expected a divisor of 4 and 6"):
        SubmanifoldConv3d(4, 6, groups=3)
    with pytest.raises(InputError, match="stride 2, padding None, expected 1 and 1"):
        SubmanifoldConv3d(4, 6, 3, 2)
    with pytest.raises(InputError, match="stride 2, padding 1, expected 1 and 1"):
        AveragePool(3, 2, 1)
    with pytest.raises(InputError, match="different grids"):
        voxels + SparseVoxels.of(voxels.features, voxels.grid.coordinates, voxels.grid.batch)
    with pytest.raises(InputError, match="weren't pooled"):
        unpool(voxels, voxels.grid)


def test_voxels_at_the_edges_of_the_keys():
    corners = torch.tensor([[0, 0, 0], [0, 0, LARGEST_COORDINATE], [0, 1, 0], [LARGEST_COORDINATE] * 3])
    pairs = VoxelGrid.of(corners).neighbors(5).both_ways()
    assert sorted((int(a), int(b)) for _, rows, others in pairs for a, b in zip(rows, others, strict=True)) == [
        (0, 2),
        (2, 0),
    ]


def test_another_type_or_device_is_that_of_the_features_alone(voxels):
    half = voxels.to(torch.bfloat16)
    assert half.features.dtype == torch.bfloat16 and half.grid is voxels.grid
    assert torch.equal((voxels.to("cpu") + voxels).features, 2 * voxels.features)
    assert voxels.to("meta", torch.float16).grid.coordinates.dtype == voxels.grid.coordinates.dtype
    with pytest.raises(TypeError):
        voxels.grid.to(torch.bfloat16)


def test_arithmetic_with_numbers_and_one_value_for_each_channel(voxels):
    x = voxels.features
    gate = torch.rand(x.shape[1])
    for result, expected in (
        (0.5 * voxels * gate, 0.5 * x * gate),
        (1 - voxels, 1 - x),
        (voxels - voxels * 2 + 1, x - x * 2 + 1),
        (3 + voxels, 3 + x),
    ):
        assert result.grid is voxels.grid and torch.equal(result.features, expected)
    other = SparseVoxels.of(x, voxels.grid.coordinates, voxels.grid.batch)
    with pytest.raises(InputError, match=r"a difference of .* voxels of different grids"):
        voxels - other
