"""Time FFNified attention on a GPU, in training and inference: our kernels, cuDNN and torch.compile.

    python benchmarks/token_mixer.py

Equality is checked first. A training step is forward and backward with batch statistics, under bfloat16 autocast;
inference uses the fused mixer. Contenders take turns. `graph_ms` is the time of a CUDA graph, without the CPU's time to
launch kernels. Writes benchmarks/results/token_mixer.{json,md}.
"""

import argparse
import copy
import json
import statistics
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
import triton
from torch import Tensor, nn
from torch.nn import functional as F

from metamixer.mixer import FFNifiedAttention
from metamixer.ops import accelerate, fused
from metamixer.ops.kernels import operators

RESULTS = Path(__file__).parent / "results/token_mixer"
SHAPES = {
    "7x7 at 14x14": (128, 320, 14, 7),
    "7x7 at 7x7": (128, 640, 7, 7),
    "3x3 at 56x56": (128, 80, 56, 3),
    "3x3 at 28x28": (128, 160, 28, 3),
}
"""Batch, channels, side of the image and kernel size of ffnet_1's token mixers at 224 px."""


class Memory(nn.Module):
    """Key, GELU and value of FFNified attention, without the query."""

    def __init__(self, channels: int, kernel_size: int):
        super().__init__()
        self.mixer = FFNifiedAttention(channels, kernel_size)
        self.mixer.query = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.mixer(x)


def equality() -> dict[str, float]:
    """Largest difference from float64 as a fraction of the largest value: outputs and gradients."""
    found = {}
    for dtype, (kh, kw, side) in [
        (d, s)
        for d in (torch.bfloat16, torch.float16, torch.float32)
        for s in ((7, 7, 14), (3, 3, 56), (5, 5, 33), (9, 9, 70), (1, 51, 48))
    ]:
        torch.manual_seed(0)
        x = torch.randn(20, 24, 1 if kh == 1 else side, side, device="cuda", dtype=dtype, requires_grad=True)
        w = (torch.randn(24, 1, kh, kw, device="cuda") / (kh * kw) ** 0.5).to(dtype).requires_grad_()
        b = torch.randn(24, device="cuda", requires_grad=True)
        x64, w64, b64 = (v.detach().double().requires_grad_() for v in (x, w, b))
        y = operators.depthwise(x, w, b, gelu=True)
        y64 = F.gelu(F.conv2d(x64, w64, b64, padding=(kh // 2, kw // 2), groups=24))
        grad = torch.randn_like(y)
        actual = (y, *torch.autograd.grad(y, (x, w, b), grad))
        expected = (y64, *torch.autograd.grad(y64, (x64, w64, b64), grad.double()))
        both = torch.stack([w.detach()[:, 0], w.detach()[:, 0].flip(1)])
        means, variances = operators.moments(x.detach(), both)
        z = torch.stack(
            [F.conv2d(x64.detach(), v.double()[:, None], padding=(kh // 2, kw // 2), groups=24) for v in both]
        )
        actual, expected = (*actual, means, variances), (*expected, z.mean((1, 3, 4)), z.var((1, 3, 4), unbiased=False))
        found[f"{dtype} {kh}x{kw} at {side}"] = [
            float((a.double() - e).abs().max() / e.abs().max()) for a, e in zip(actual, expected, strict=True)
        ]
    return found


def contenders(channels: int, kernel_size: int) -> dict[str, tuple[nn.Module, torch.memory_format]]:
    """Title -> module and the layout of its input, all with the same weights."""
    torch.manual_seed(0)
    mixer = Memory(channels, kernel_size).cuda()

    def plain(layout: torch.memory_format) -> nn.Module:
        return copy.deepcopy(mixer).to(memory_format=layout)

    first, last = torch.contiguous_format, torch.channels_last
    return {
        "PyTorch, NCHW": (plain(first), first),
        "PyTorch, channels-last": (plain(last), last),
        "torch.compile, NCHW": (torch.compile(plain(first)), first),
        "torch.compile, channels-last": (torch.compile(plain(last)), last),
        "kernels": (accelerate(copy.deepcopy(mixer)), first),
        "kernels, torch.compile": (torch.compile(accelerate(copy.deepcopy(mixer))), first),
    }


def step(module: nn.Module, x: Tensor, grad: Tensor) -> None:
    with torch.autocast("cuda", torch.bfloat16):
        y = module(x)
    y.backward(grad)


def infer(module: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad(), torch.autocast("cuda", torch.bfloat16):
        return module(x)


def measure(batch: int, channels: int, side: int, kernel_size: int, rounds: int) -> dict:
    """Median milliseconds and peak memory of a training step and of inference."""
    found: dict[str, dict] = {}
    for mode in ("training", "inference"):
        runs: dict[str, Callable[[], object]] = {}
        for title, (module, layout) in contenders(channels, kernel_size).items():
            torch.manual_seed(1)
            x = torch.randn(batch, channels, side, side, device="cuda", dtype=torch.bfloat16).to(memory_format=layout)
            x = operators.channel_major(x) if "kernels" in title else x  # the layout that the previous layers produce
            if mode == "training":
                grad = torch.randn_like(x)
                runs[title] = lambda module=module, x=x.requires_grad_(), grad=grad: step(module, x, grad)
            else:
                inner = module._orig_mod if hasattr(module, "_orig_mod") else module
                inner = accelerate(fused(inner.eval())) if "kernels" in title else fused(inner.eval())
                inner = torch.compile(inner) if hasattr(module, "_orig_mod") else inner
                runs[title] = lambda module=inner, x=x: infer(module, x)
        for title, run in runs.items():
            found.setdefault(title, {})[mode] = {}
            try:
                for _ in range(3):
                    run()
                torch.cuda.reset_peak_memory_stats()
                before = torch.cuda.memory_allocated()
                run()
                found[title][mode]["peak_megabytes"] = (torch.cuda.max_memory_allocated() - before) / 1e6
            except Exception as error:
                found[title][mode]["error"] = f"{type(error).__name__}: {str(error)[:300]}"
        taken: dict[str, list[float]] = {title: [] for title in runs if "error" not in found[title][mode]}
        for _ in range(rounds):
            for title in taken:
                taken[title].append(milliseconds(runs[title]))
        for title, values in taken.items():
            found[title][mode]["ms"] = statistics.median(values)
            with suppress(Exception):  # if it can't be captured, only the time with launches is known
                found[title][mode]["graph_ms"] = triton.testing.do_bench_cudagraph(
                    runs[title], rep=20, return_mode="median"
                )
    return found


def milliseconds(action: Callable[[], object], repeats: int = 5) -> float:
    """Milliseconds per call of several consecutive calls, by the GPU's clock."""
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    for _ in range(repeats):
        action()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / repeats


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", type=int, default=len(SHAPES))
    parser.add_argument("--no-equality", action="store_true", help="time without checking equality")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    content = {
        "gpu": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "equality": {} if options.no_equality else equality(),
        "shapes": {},
    }
    for name, values in content["equality"].items():
        print(name, " ".join(f"{value:.1e}" for value in values), flush=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for title, shape in list(SHAPES.items())[: options.shapes]:
        content["shapes"][title] = measure(*shape, options.rounds)
        for contender, row in content["shapes"][title].items():
            print(title, contender, row, flush=True)
        options.out.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
