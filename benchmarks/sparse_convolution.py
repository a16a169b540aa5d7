"""Time and memory of a submanifold convolution of 100,000 voxels, 64 to 64 channels, kernel 3: neighbor map, forward
and backward.

    python benchmarks/sparse_convolution.py --threads 2

If spconv is installed, its forward pass is timed too, on one thread, because its CPU code has races with more. Its CPU
backward pass needs a CUDA driver. Times are minima of ten, as wall and CPU time.
"""

import argparse
import resource
import time
from collections.abc import Callable

import torch

from metamixer.ops.sparse import SparseVoxels, VoxelGrid
from metamixer.ops.submanifold import submanifold_convolution
from metamixer.system.machine import describe_machine

VOXELS, CHANNELS, KERNEL = 100_000, 64, 3


def surface(count: int) -> torch.Tensor:
    """Voxels of a wavy floor with walls, similar to rooms and streets."""
    side = int((count / 1.6) ** 0.5) + 1
    x, y = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    floor = torch.stack([x, y, (8 + 3 * torch.sin(x / 9) + 3 * torch.cos(y / 7)).long()], dim=2).reshape(-1, 3)
    along, up = torch.meshgrid(torch.arange(side), torch.arange(20, 60), indexing="ij")
    walls = [
        torch.stack([along, torch.full_like(along, 40 * i), up], dim=2).reshape(-1, 3) for i in range(1, side // 40)
    ]
    return torch.cat([floor, *walls])[:count]


def best(action: Callable[[], object], repeats: int = 10) -> tuple[float, float]:
    """Minimum wall and CPU milliseconds."""
    times = []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        action()
        times.append((1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - cpu)))
    return min(wall for wall, _ in times), min(cpu for _, cpu in times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    torch.set_num_threads(parser.parse_args().threads)
    cells = surface(VOXELS)
    grid = VoxelGrid.of(cells)
    weight = torch.randn(CHANNELS, KERNEL, KERNEL, KERNEL, CHANNELS, requires_grad=True)
    features = torch.randn(len(cells), CHANNELS, requires_grad=True)
    pairs = sum(len(rows) for _, rows, _ in grid.neighbors(KERNEL).both_ways())
    print(
        f"{len(cells):,} voxels, {pairs / len(cells):.1f} neighbors each; {describe_machine()}; "
        f"{torch.get_num_threads()} threads"
    )

    def forward() -> torch.Tensor:
        return submanifold_convolution(SparseVoxels(features, grid), weight).features

    def both() -> None:
        features.grad = weight.grad = None
        forward().sum().backward()

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    report("ours, neighbor map", best(lambda: VoxelGrid(grid.coordinates, grid.batch).neighbors(KERNEL)))
    with torch.no_grad():
        report("ours, forward", best(forward))
    report("ours, forward and backward", best(both))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"peak memory of the process {peak / 1e6:.2f} GB, {(peak - before) / 1e6:.2f} GB more than before the "
        "first call"
    )
    compare(cells, features, weight)


def compare(cells: torch.Tensor, features: torch.Tensor, weight: torch.Tensor) -> None:
    """Time spconv on one thread, as far as it runs on this machine."""
    try:
        import spconv.pytorch as spconv
    except Exception as error:  # loading can fail in many ways
        print(f"spconv: not installed, or failed to load ({type(error).__name__}: {error})")
        return
    torch.set_num_threads(1)
    conv = spconv.SubMConv3d(CHANNELS, CHANNELS, KERNEL, bias=False, indice_key="map")
    conv.weight.data = weight.detach().clone()
    indices = torch.cat([torch.zeros(len(cells), 1, dtype=torch.long), cells], dim=1).int()
    shape = (cells.amax(dim=0) + 1).tolist()

    def forward(x: torch.Tensor, known: dict | None = None):
        tensor = spconv.SparseConvTensor(x, indices, shape, 1)
        tensor.indice_dict.update(known or {})
        return conv(tensor)

    with torch.no_grad():
        first = forward(features.detach())
        known = dict(first.indice_dict)
        ours = submanifold_convolution(SparseVoxels(features, VoxelGrid.of(cells)), weight).features
        print(f"spconv: largest difference from ours {(first.features - ours).abs().max():.1e}")
        report("spconv, forward with its map, 1 thread", best(lambda: forward(features.detach())))
        report("spconv, forward alone, 1 thread", best(lambda: forward(features.detach(), known)))
        grid = VoxelGrid.of(cells)
        grid.neighbors(KERNEL)
        report(
            "ours, forward alone, 1 thread", best(lambda: submanifold_convolution(SparseVoxels(features, grid), weight))
        )
    try:
        forward(features, known).features.sum().backward()
    except Exception as error:
        print(
            f"spconv, backward: not run, it needs a CUDA driver ({type(error).__name__}: "
            f"{str(error).splitlines()[0][:80]})"
        )


def report(what: str, times: tuple[float, float]) -> None:
    print(f"{what:42s}{times[0]:8.0f} ms wall{times[1]:8.0f} ms CPU")


if __name__ == "__main__":
    main()
