"""Test and time our networks on a CUDA GPU: equality with the CPU, images per second next to timm's networks, and point
clouds.

    python benchmarks/gpu.py
    python benchmarks/gpu.py --parts images --backend auto

Equality is checked in float32 without TF32. Images per second are for 256 px and bfloat16, each network in a form of
`metamixer.deploy`, in turn. `--backend auto` uses the faster of eager and compiled; compiling takes minutes. Point
clouds are timed with our convolution and with PyTorch's recorded operators. Writes benchmarks/results/gpu.{json,md}, or
`--out`, also when it is stopped. `--device cpu --quick` is a dry run of everything on small networks.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import timm
import torch
from report import write_results
from sparse_convolution import VOXELS, surface
from torch import Tensor, nn

from metamixer import create_model, deploy, fuse, list_models
from metamixer.ops import accelerate, submanifold
from metamixer.ops.sparse import NeighborMap, SparseVoxels, VoxelGrid

RESULTS = Path(__file__).parent / "results/gpu"
PEERS = ("convnext_tiny", "swin_tiny_patch4_window7_224", "caformer_s18", "repvit_m1_5", "fastvit_sa12")
OURS = ("ffnet_1", "ffnet_2", "ffnet_3")
SIZE, BATCHES, ROUNDS, PRECISION = 256, (1, 128, 256), 15, "bf16"
QUICK = {
    "OURS": ("ffnet_nano",),
    "PEERS": ("test_convnext",),
    "SIZE": 64,
    "BATCHES": (1, 2),
    "ROUNDS": 1,
    "PRECISION": "fp32",
}
LAYOUTS = {"windows": torch.contiguous_format, "rows": torch.channels_last}
"""Form of our kernels -> the memory layout that chooses it."""

IMAGES = {"classification": (2, 3, 128, 160), "segmentation": (1, 3, 128, 160), "super_resolution": (1, 3, 48, 64)}
"""Task -> shape of its input."""


def networks(task: str, quick: bool) -> list[str]:
    """Names of a task's networks; quick: the smallest."""
    return [name for name in list_models(task) if not quick or "nano" in name]


def equality(options: argparse.Namespace, found: dict[str, float]) -> None:
    """Network -> largest difference from the CPU's output, as a fraction of the largest output."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    for task, shape in IMAGES.items():
        for name in networks(task, options.quick):
            found[name] = difference(create_model(name).eval(), torch.randn(shape), options.device)
    network = create_model("ffnet_ts").eval()
    found["ffnet_ts"] = difference(network, torch.randn(4, 96, 7), options.device)
    cells = surface(500 if options.quick else 20_000)
    for name in networks("points", options.quick):
        network = create_model(name, num_classes=20).eval()
        features = torch.randn(len(cells), network.in_chans)
        with torch.inference_mode():
            expected = network(SparseVoxels(features, VoxelGrid.of(cells)))
            moved = SparseVoxels(features.to(options.device), VoxelGrid.of(cells.to(options.device)))
            actual = network.to(options.device)(moved).cpu()
        found[name] = relative_difference(actual, expected)


@torch.inference_mode()
def difference(network: nn.Module, x: Tensor, device: str) -> float:
    """Relative difference of the GPU from the CPU, for the same input and weights."""
    expected = network(x)
    return relative_difference(network.to(device)(x.to(device)).cpu(), expected)


def relative_difference(actual: Tensor, expected: Tensor) -> float:
    return float((actual - expected).abs().max() / expected.abs().max())


class Kernels:
    """A fused network with our kernels (`metamixer.ops.accelerate`), in the layout of one of their forms."""

    name = "fused, bf16"

    def __init__(self, network: str, form: str, device: str):
        self.place = {"dtype": torch.bfloat16, "memory_format": LAYOUTS[form]}
        self.network = accelerate(fuse(create_model(network).eval())).to(device, **self.place)

    @torch.inference_mode()
    def __call__(self, x: Tensor) -> Tensor:
        return self.network(x.to(**self.place))


def images_a_second(options: argparse.Namespace, found: dict[str, dict]) -> None:
    """Network and batch -> its form and its median images per second over interleaved rounds."""
    sizes = {name: globals()[name] for name in QUICK} | (QUICK if options.quick else {})
    for batch in sizes["BATCHES"]:
        example = torch.randn(batch, 3, sizes["SIZE"], sizes["SIZE"], device=options.device)
        runtimes = {}
        for name in (*sizes["OURS"], *sizes["PEERS"]):
            sized = {"img_size": SIZE} if name.startswith("swin") else {}
            network = create_model(name) if name in sizes["OURS"] else timm.create_model(name, **sized)
            network = network.eval().to(options.device)
            runtimes[name] = deploy(
                network, example, precision=sizes["PRECISION"], backend=options.backend, cache=False
            )
            runtimes[name](example)
        for name in sizes["OURS"]:
            runtimes |= {f"{name}, kernels of {form}": Kernels(name, form, options.device) for form in LAYOUTS}
        seconds = {name: [] for name in runtimes}
        for _ in range(sizes["ROUNDS"]):
            for name, runtime in runtimes.items():
                seconds[name].append(measure(lambda runtime=runtime, example=example: runtime(example)))
        for name, taken in seconds.items():
            speed = batch / statistics.median(taken)
            found[f"{name}, {batch}"] = {"form": runtimes[name].name, "images_a_second": speed}


def measure(action: Callable[[], object]) -> float:
    """Seconds until the device has finished."""
    synchronize()
    start = time.perf_counter()
    action()
    synchronize()
    return time.perf_counter() - start


def synchronize() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def recorded_convolution(x: Tensor, weight: Tensor, neighbors: NeighborMap) -> Tensor:
    """Our submanifold convolution in operators that PyTorch records and differentiates one by one."""
    total = submanifold._sum_type(submanifold._product(x, weight[len(weight) // 2]))
    for i, rows, others in neighbors.both_ways():
        product = submanifold._product(x.index_select(0, others), weight[i])
        total = total.index_add(0, rows, submanifold._sum_type(product))
    return total.to(x.dtype)


def points(options: argparse.Namespace, found: dict[str, dict]) -> None:
    """Milliseconds and memory of the full ffnet_3d on 100,000 voxels, neighbor maps included."""
    cells = surface(500 if options.quick else VOXELS).to(options.device)
    network = create_model("ffnet_3d_nano" if options.quick else "ffnet_3d", num_classes=20).to(options.device)
    features = torch.randn(len(cells), network.in_chans, device=options.device)

    def forward() -> Tensor:
        return network(SparseVoxels(features, VoxelGrid.of(cells)))

    def infer() -> None:
        with torch.inference_mode():
            forward()

    actions = {"inference": infer, "training, forward and backward": lambda: forward().sum().backward()}
    for title, action in actions.items():
        network.train(title != "inference")
        found[title] = time_and_memory(action, options)
        with patch.object(submanifold._SubmanifoldConvolution, "apply", recorded_convolution):
            found[f"{title}, PyTorch's operators"] = time_and_memory(action, options)


def time_and_memory(action: Callable[[], object], options: argparse.Namespace) -> dict[str, float]:
    """Median milliseconds of a call, and peak memory."""
    action()
    if options.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    taken = statistics.median(measure(action) for _ in range(1 if options.quick else 7))
    return {"milliseconds": 1e3 * taken, "gigabytes": torch.cuda.max_memory_allocated() / 1e9}


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
        f"| network, batch, at {SIZE} px | form | images per second |",
        "|---|---|---|",
        *(f"| {name} | {row['form']} | {row['images_a_second']:,.0f} |" for name, row in rows.items()),
    ],
}
"""Part of the results -> its table as Markdown lines."""

PARTS: dict[str, Callable[[argparse.Namespace, dict], None]] = {
    "equality": equality,
    "points": points,
    "images": images_a_second,
}
"""Part -> a function that adds its results to a dictionary."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--backend", choices=["eager", "compile", "auto"], default="eager")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--quick", action="store_true", help="small networks and inputs")
    parser.add_argument("--out", type=Path, default=RESULTS, help="results to write, without the suffix")
    options = parser.parse_args()
    device = torch.cuda.get_device_name() if options.device == "cuda" else "CPU"
    content = {"gpu": device}
    lines = [f"{device}, PyTorch {torch.__version__}."]
    for name in options.parts:
        content[name] = {}
        try:
            PARTS[name](options, content[name])
        finally:  # of a part that is stopped, what it has
            lines += ["", *TABLES[name](content[name])]
            write_results(options.out, lines, content)


if __name__ == "__main__":
    main()
