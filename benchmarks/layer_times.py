"""Time per kind of layer in OpenVINO, compared with its multiply-accumulates.

    python benchmarks/layer_times.py --networks ffnet_1 convnext_tiny repvit_m1_5 mobilenetv4_conv_large

One image at each network's own size, random weights. Writes benchmarks/results/layer_times.{json,md}.
"""

import argparse
from collections import Counter
from pathlib import Path

import torch
from report import write_results
from torch import nn

import metamixer
from metamixer.bench.protocol import own_sizes
from metamixer.deployment.description import Description
from metamixer.deployment.program import Program, twice
from metamixer.deployment.runtimes.openvino import HINTS, convert, core
from metamixer.system.machine import computes_bfloat16, describe_machine

RESULTS = Path(__file__).parent / "results/layer_times"
PRECISIONS = ("fp32", "bf16", "int8") if computes_bfloat16() else ("fp32", "int8")
KINDS = ("1x1 convolutions", "other convolutions", "depthwise convolutions", "linear layers and the rest")
RUNS = 20


def kind_of_layer(layer: nn.Module) -> str:
    """Kind of a PyTorch layer."""
    if not isinstance(layer, nn.Conv2d):
        return KINDS[3]
    if layer.groups > 1:
        return KINDS[2]
    return KINDS[0] if layer.kernel_size == (1, 1) else KINDS[1]


def macs_by_kind(network: nn.Module, x: torch.Tensor) -> Counter:
    """Multiply-accumulates of the convolutions and linear layers, by kind."""
    macs: Counter = Counter()

    def count(layer: nn.Module, _, output: torch.Tensor) -> None:
        macs[kind_of_layer(layer)] += output.numel() * layer.weight[0].numel()

    hooks = [
        layer.register_forward_hook(count) for layer in network.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))
    ]
    with torch.inference_mode():
        network(x)
    for hook in hooks:
        hook.remove()
    return macs


def milliseconds_by_kind(network: nn.Module, x: torch.Tensor, precision: str) -> Counter:
    """Milliseconds per image by kind, from OpenVINO's counters."""
    calibration = torch.randn(8, *x.shape[1:]) if precision == "int8" else None
    model, _ = convert(Program(network, twice(x), Description(precision), calibration=calibration))
    model.reshape(list(x.shape))
    settings = {
        "INFERENCE_PRECISION_HINT": HINTS[precision],
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERF_COUNT": True,
    }
    request = core().compile_model(model, "CPU", settings).create_infer_request()
    milliseconds: Counter = Counter()
    for i in range(-3, RUNS):
        request.infer([x.numpy()])
        for node in request.profiling_info if i >= 0 else ():
            milliseconds[kind_of_node(node)] += node.real_time.total_seconds() * 1e3 / RUNS
    return milliseconds


def kind_of_node(node) -> str:
    """Kind of a layer that OpenVINO ran."""
    if node.node_type == "GroupConvolution":
        return KINDS[2]
    if node.node_type != "Convolution":
        return KINDS[3]
    return KINDS[0] if "1x1" in node.exec_type else KINDS[1]


def measure(name: str, size: int) -> dict:
    """Measure each kind of layer of a network in each precision."""
    torch.manual_seed(0)
    network = metamixer.fuse(metamixer.create_model(name).eval()).requires_grad_(False)
    x = torch.randn(1, 3, size, size)
    return {
        "size": size,
        "macs": macs_by_kind(network, x),
        **{kind: milliseconds_by_kind(network, x, kind) for kind in PRECISIONS},
    }


def write(rows: dict[str, dict]) -> None:
    """Write the results as JSON and as a table."""
    lines = [
        f"OpenVINO, one image, {torch.get_num_threads()} threads; means of {RUNS} runs. Measured on: "
        f"{describe_machine()}.",
        "",
        f"| network | | {' | '.join(KINDS)} | all |",
        "|---|---|" + "---|" * (len(KINDS) + 1),
    ]
    for name, row in rows.items():
        whole = sum(row["macs"].values())
        fractions = " | ".join(f"{row['macs'][kind] / whole:.0%}" for kind in KINDS)
        lines.append(f"| {name}, {row['size']} px | multiply-accumulates | {fractions} | {whole / 1e9:.2f} G |")
        for precision in PRECISIONS:
            taken = row[precision]
            times = " | ".join(f"{taken[kind]:.1f} ms, {taken[kind] / taken.total():.0%}" for kind in KINDS)
            lines.append(f"| | {precision} | {times} | {taken.total():.1f} ms |")
    write_results(RESULTS, lines, {"rows": rows})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--networks",
        nargs="+",
        default=("ffnet_1", "ffnet_2", "convnext_tiny", "repvit_m1_5", "mobilenetv4_conv_large"),
    )
    options = parser.parse_args()
    write({name: measure(name, size) for name, size in own_sizes(options.networks).items()})


if __name__ == "__main__":
    main()
