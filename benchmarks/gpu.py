"""Test and time our networks on a CUDA GPU: equality with the CPU, images per second next to timm's networks, and point
clouds.

    python benchmarks/gpu.py

Equality is checked in float32 without TF32. Images per second are for 256 px, bfloat16 and batches of 128, each network
in a form of `metamixer.deploy`, in turn. `--backend auto` uses the faster of eager and compiled; compiling takes
minutes. Writes benchmarks/results/gpu.{json,md}.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import timm
import torch
from sparse_convolution import VOXELS, surface
from torch import Tensor, nn
from trainings import write_results

from metamixer import create_model, deploy, list_models
from metamixer.ops.sparse import SparseVoxels, VoxelGrid

RESULTS = Path(__file__).parent / "results/gpu"
PEERS = ("convnext_tiny", "swin_tiny_patch4_window7_224", "repvit_m1_5", "fastvit_sa12", "efficientvit_b2")
OURS = ("ffnet_1", "ffnet_2", "ffnet_3")
SIZE, BATCH, ROUNDS = 256, 128, 15
IMAGES = {"classification": (2, 3, 128, 160), "segmentation": (1, 3, 128, 160), "super_resolution": (1, 3, 48, 64)}
"""Task -> shape of its input."""


def equality() -> dict[str, float]:
    """Network -> largest difference from the CPU's output, as a fraction of the largest output."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    found = {}
    for task, shape in IMAGES.items():
        for name in list_models(task):
            found[name] = difference(create_model(name).eval(), torch.randn(shape))
    network = create_model("ffnet_ts").eval()
    found["ffnet_ts"] = difference(network, torch.randn(4, 96, 7))
    cells = surface(20_000)
    for name in list_models("points"):
        network = create_model(name, num_classes=20).eval()
        features = torch.randn(len(cells), network.in_chans)
        with torch.inference_mode():
            expected = network(SparseVoxels(features, VoxelGrid.of(cells)))
            actual = network.cuda()(SparseVoxels(features.cuda(), VoxelGrid.of(cells.cuda()))).cpu()
        found[name] = relative_difference(actual, expected)
    return found


@torch.inference_mode()
def difference(network: nn.Module, x: Tensor) -> float:
    """Relative difference of the GPU from the CPU, for the same input and weights."""
    expected = network(x)
    return relative_difference(network.cuda()(x.cuda()).cpu(), expected)


def relative_difference(actual: Tensor, expected: Tensor) -> float:
    return float((actual - expected).abs().max() / expected.abs().max())


def images_a_second(backend: str) -> dict[str, dict]:
    """Network -> its form and its median images per second over interleaved rounds."""
    example = torch.randn(BATCH, 3, SIZE, SIZE, device="cuda")
    runtimes = {}
    for name in (*OURS, *PEERS):
        sized = {"img_size": SIZE} if name.startswith("swin") else {}
        network = create_model(name) if name in OURS else timm.create_model(name, **sized)
        runtimes[name] = deploy(network.eval().cuda(), example, precision="bf16", backend=backend, cache=False)
    seconds = {name: [] for name in runtimes}
    for _ in range(ROUNDS):
        for name, runtime in runtimes.items():
            seconds[name].append(measure(lambda runtime=runtime: runtime(example)))
    return {
        name: {"form": runtimes[name].name, "images_a_second": BATCH / statistics.median(taken)}
        for name, taken in seconds.items()
    }


def measure(action: Callable[[], object]) -> float:
    """Seconds until the GPU has finished."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    action()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def points() -> dict[str, dict]:
    """Milliseconds and memory of the full ffnet_3d on 100,000 voxels, neighbor maps included."""
    cells = surface(VOXELS).cuda()
    network = create_model("ffnet_3d", num_classes=20).cuda()
    features = torch.randn(len(cells), network.in_chans, device="cuda")

    def forward() -> Tensor:
        return network(SparseVoxels(features, VoxelGrid.of(cells)))

    def infer() -> None:
        with torch.inference_mode():
            forward()

    actions = {"inference": infer, "training, forward and backward": lambda: forward().sum().backward()}
    found = {}
    for title, action in actions.items():
        network.train(title != "inference")
        action()
        torch.cuda.reset_peak_memory_stats()
        taken = statistics.median(measure(action) for _ in range(7))
        found[title] = {"milliseconds": 1e3 * taken, "gigabytes": torch.cuda.max_memory_allocated() / 1e9}
    return found


TABLES: dict[str, Callable[[dict], list[str]]] = {
    "equality": lambda rows: [
        "| network, float32 | largest difference from the CPU, as a fraction of the largest output |",
        "|---|---|",
        *(f"| {name} | {value:.1e} |" for name, value in rows.items()),
    ],
    "points": lambda rows: [
        f"| ffnet_3d, {VOXELS:,} voxels, float32 | median | memory |",
        "|---|---|---|",
        *(f"| {title} | {row['milliseconds']:.0f} ms | {row['gigabytes']:.1f} GB |" for title, row in rows.items()),
    ],
    "images": lambda rows: [
        f"| network, {SIZE} px, batch {BATCH} | form | images per second |",
        "|---|---|---|",
        *(f"| {name} | {row['form']} | {row['images_a_second']:,.0f} |" for name, row in rows.items()),
    ],
}
"""Part of the results -> its table as Markdown lines."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=["eager", "compile", "auto"], default="eager")
    options = parser.parse_args()
    content = {"gpu": torch.cuda.get_device_name()}
    lines = [f"{content['gpu']}, PyTorch {torch.__version__}."]
    for name, part in {
        "equality": equality,
        "points": points,
        "images": lambda: images_a_second(options.backend),
    }.items():
        content[name] = part()
        lines += ["", *TABLES[name](content[name])]
        write_results(RESULTS, lines, content)


if __name__ == "__main__":
    main()
