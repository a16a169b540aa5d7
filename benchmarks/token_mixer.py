"""Time FFNified attention on a GPU, in training and inference: our kernels, cuDNN and torch.compile.

    python benchmarks/token_mixer.py

Equality is checked first. A training step is forward and backward with batch statistics, under bfloat16 autocast;
inference uses the fused mixer. Contenders take turns. `graph_ms` is the time of a CUDA graph, without the CPU's time to
launch kernels. Writes benchmarks/results/token_mixer.json. `--device cpu` is a dry run in Triton's interpreter.
"""

import argparse
import copy
import json
import statistics
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from gpu_clock import call_milliseconds, graph_milliseconds, interpret
from torch import Tensor, nn
from torch.nn import functional as F

from metamixer.mixer import FFNifiedAttention
from metamixer.ops import accelerate, fused

RESULTS = Path(__file__).parent / "results/token_mixer"
SHAPES = {
    "7x7 at 14x14": (128, 320, 14, 7),
    "7x7 at 7x7": (128, 640, 7, 7),
    "3x3 at 56x56": (128, 80, 56, 3),
    "3x3 at 28x28": (128, 160, 28, 3),
}
"""Batch, channels, side of the image and kernel size of ffnet_1's token mixers at 224 px."""

DRY_SHAPES = {"3x3 at 8x8": (2, 2, 8, 3)}


class Memory(nn.Module):
    """Key, GELU and value of FFNified attention, without the query."""

    def __init__(self, channels: int, kernel_size: int):
        super().__init__()
        self.mixer = FFNifiedAttention(channels, kernel_size)
        self.mixer.query = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.mixer(x)


def equality(device: str) -> dict[str, list[float]]:
    """Largest difference from float64 as a fraction of the largest value: outputs, gradients and moments."""
    types, sizes = (torch.bfloat16, torch.float16, torch.float32), ((7, 14), (3, 56), (5, 33), (9, 70))
    if device == "cpu":  # Triton's interpreter is slow, and has no bfloat16
        types, sizes = types[1:], ((3, 9),)
    torch.manual_seed(0)
    layouts = {"NCHW": torch.contiguous_format, "channels-last": torch.channels_last}
    return {
        f"{dtype} {size}x{size} at {side}, {title}": errors(dtype, (size, size), (side, side), device, layout)
        for dtype in types
        for size, side in sizes
        for title, layout in layouts.items()
    } | {f"{dtype} 1x51 at 48": errors(dtype, (1, 51), (1, 48), device, layouts["NCHW"]) for dtype in types}


def errors(
    dtype: torch.dtype, kernel: tuple[int, int], size: tuple[int, int], device: str, layout: torch.memory_format
) -> list[float]:
    """Relative errors of output, gradients of x, weight and bias, means and variances."""
    from metamixer.ops.kernels import operators

    batch, channels = (20, 24) if device == "cuda" else (2, 2)
    padding = tuple(side // 2 for side in kernel)
    x = torch.randn(batch, channels, *size, device=device, dtype=dtype).to(memory_format=layout).requires_grad_()
    w = (torch.randn(channels, 1, *kernel, device=device) / (kernel[0] * kernel[1]) ** 0.5).to(dtype).requires_grad_()
    b = torch.randn(channels, device=device, requires_grad=True)
    x64, w64, b64 = (v.detach().double().requires_grad_() for v in (x, w, b))
    y = operators.depthwise(x, w, b, gelu=True)
    y64 = F.gelu(F.conv2d(x64, w64, b64, padding=padding, groups=channels))
    grad = torch.randn_like(y)
    both = [w.detach()[:, 0], w.detach()[:, 0].flip(1)]
    z = torch.stack([F.conv2d(x64.detach(), v.double()[:, None], padding=padding, groups=channels) for v in both])
    actual = (y, *torch.autograd.grad(y, (x, w, b), grad), *operators.moments(x.detach(), both))
    expected = (
        y64,
        *torch.autograd.grad(y64, (x64, w64, b64), grad.double()),
        z.mean((1, 3, 4)),
        z.var((1, 3, 4), unbiased=False),
    )
    return [((a.double() - e).abs().max() / e.abs().max()).item() for a, e in zip(actual, expected, strict=True)]


def contenders(channels: int, kernel_size: int, device: str) -> dict[str, tuple[nn.Module, torch.memory_format]]:
    """Title -> module and the layout of its input, all with the same weights."""
    torch.manual_seed(0)
    mixer = Memory(channels, kernel_size).to(device)

    def plain(layout: torch.memory_format) -> nn.Module:
        return copy.deepcopy(mixer).to(memory_format=layout)

    first, last = torch.contiguous_format, torch.channels_last
    found = {
        "PyTorch, NCHW": (plain(first), first),
        "PyTorch, channels-last": (plain(last), last),
        "torch.compile, NCHW": (torch.compile(plain(first)), first),
        "torch.compile, channels-last": (torch.compile(plain(last)), last),
        "kernels of windows": (accelerate(copy.deepcopy(mixer)), first),
        "kernels of windows, torch.compile": (torch.compile(accelerate(copy.deepcopy(mixer))), first),
        "kernels of rows": (accelerate(plain(last)), last),
        "kernels of rows, torch.compile": (torch.compile(accelerate(plain(last))), last),
    }
    return {title: pair for title, pair in found.items() if device == "cuda" or "compile" not in title}


def step(module: nn.Module, x: Tensor, grad: Tensor) -> None:
    with torch.autocast("cuda", torch.bfloat16, enabled=x.is_cuda):
        y = module(x)
    y.backward(grad)


def infer(module: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad(), torch.autocast("cuda", torch.bfloat16, enabled=x.is_cuda):
        return module(x)


def runs_of(mode: str, shape: tuple[int, int, int, int], device: str) -> dict[str, Callable[[], object]]:
    """Title -> a function that takes a training step, or computes an output."""
    from metamixer.ops.kernels import operators

    batch, channels, side, kernel_size = shape
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    runs: dict[str, Callable[[], object]] = {}
    for title, (module, layout) in contenders(channels, kernel_size, device).items():
        torch.manual_seed(1)
        x = torch.randn(batch, channels, side, side, device=device, dtype=dtype).to(memory_format=layout)
        x = operators.channel_major(x) if "windows" in title else x  # the layout that the previous layers produce
        if mode == "training":
            grad = torch.randn_like(x)
            runs[title] = lambda module=module, x=x.requires_grad_(), grad=grad: step(module, x, grad)
        else:
            inner = module._orig_mod if hasattr(module, "_orig_mod") else module
            inner = accelerate(fused(inner.eval())) if "kernels" in title else fused(inner.eval())
            inner = torch.compile(inner) if hasattr(module, "_orig_mod") else inner
            runs[title] = lambda module=inner, x=x: infer(module, x)
    return runs


def measure(shape: tuple[int, int, int, int], rounds: int, device: str) -> dict:
    """Median milliseconds and peak memory of a training step and of inference."""
    found: dict[str, dict] = {}
    for mode in ("training", "inference"):
        runs = runs_of(mode, shape, device)
        for title, run in runs.items():
            found.setdefault(title, {})[mode] = {}
            try:
                found[title][mode]["peak_megabytes"] = peak_megabytes(run)
            except Exception as error:
                found[title][mode]["error"] = f"{type(error).__name__}: {str(error)[:300]}"
        taken: dict[str, list[float]] = {title: [] for title in runs if "error" not in found[title][mode]}
        for _ in range(rounds):
            for title in taken:
                taken[title].append(call_milliseconds(runs[title]))
        for title, values in taken.items():
            found[title][mode]["ms"] = statistics.median(values)
            with suppress(Exception):  # if it can't be captured, only the time with launches is known
                found[title][mode]["graph_ms"] = graph_milliseconds(runs[title])
    return found


def peak_megabytes(run: Callable[[], object]) -> float:
    """Memory that a call needs, after three calls that compile and warm up."""
    for _ in range(3):
        run()
    if not torch.cuda.is_available():
        return 0.0
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    return (torch.cuda.max_memory_allocated() - before) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", type=int, default=len(SHAPES))
    parser.add_argument("--no-equality", action="store_true", help="time without checking equality")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="cpu: dry run in the interpreter")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    if options.device == "cpu":
        interpret()
    content = {
        "gpu": torch.cuda.get_device_name() if options.device == "cuda" else "none",
        "torch": torch.__version__,
        "equality": {} if options.no_equality else equality(options.device),
        "shapes": {},
    }
    for name, values in content["equality"].items():
        print(name, " ".join(f"{value:.1e}" for value in values), flush=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    shapes = SHAPES if options.device == "cuda" else DRY_SHAPES
    for title, shape in list(shapes.items())[: options.shapes]:
        content["shapes"][title] = measure(shape, options.rounds, options.device)
        for contender, row in content["shapes"][title].items():
            print(title, contender, row, flush=True)
        options.out.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
