"""Time and memory of a forward pass of ffnet_3d on 100,000 voxels, in a fresh process.

    python benchmarks/points_inference.py --threads 2

The target is 8 seconds and 2 GB on two cores. The weights are random, because they don't affect the time.
"""

import argparse
import resource
import time

import torch
from sparse_convolution import VOXELS, surface

from metamixer import create_model, fuse
from metamixer.ops.sparse import SparseVoxels, VoxelGrid
from metamixer.system.machine import describe_machine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", default="ffnet_3d")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cells = surface(VOXELS)
    network = fuse(create_model(options.model, num_classes=20))
    features = torch.randn(len(cells), network.in_chans)
    for _ in range(options.repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        with torch.inference_mode():
            network(SparseVoxels(features, VoxelGrid.of(cells)))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(
            f"{options.model}, {len(cells):,} voxels, maps included: {wall:.1f} s wall, {cpu:.1f} s CPU, peak "
            f"{peak:.2f} GB"
        )
    print(f"{describe_machine()}; {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
