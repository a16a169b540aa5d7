"""Time and peak memory of each form of cascade_mask_rcnn_ffnet_2 on one image of 800x1216.

    python benchmarks/detection_inference.py

Each form runs in a separate process, in turn; the results are medians. The weights are random, and scaled so that the
maximum of 1000 regions and 100 masks is computed. Writes benchmarks/results/detection_inference.{json,md}.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from forms import serve, take_turns
from report import write_results

import metamixer
from metamixer.system.allocator import keep_freed_memory
from metamixer.system.machine import describe_machine

RESULTS = Path(__file__).parent / "results/detection_inference"
MODEL = "cascade_mask_rcnn_ffnet_2"
HEIGHT, WIDTH = 800, 1216
FORMS = {
    "as trained": {"fuse": False, "channels_last": False},
    "as trained, channels-last": {"fuse": False, "channels_last": True},
    "deploy form, channels-last": {"fuse": True, "channels_last": True},
    "deploy form, channels-last, bfloat16 autocast": {"fuse": True, "channels_last": True, "bfloat16": True},
    "the same in float32, backbone and pyramid in OpenVINO": {"fuse": True, "channels_last": True, "openvino": True},
}


class OpenVinoPyramid(torch.nn.Module):
    """A detector's backbone and pyramid, compiled by OpenVINO for one image size."""

    def __init__(self, pyramid: torch.nn.Module, example: torch.Tensor):
        import openvino as ov

        super().__init__()
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        with torch.no_grad():
            model = ov.convert_model(torch.export.export(pyramid, (example,)))
        self.compiled = ov.Core().compile_model(model, "CPU", settings)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        answer = self.compiled([x.contiguous().numpy()])
        return [torch.from_numpy(answer[level].copy()) for level in range(len(self.compiled.outputs))]


@torch.no_grad()
def build() -> torch.nn.Module:
    """The detector, with random weights scaled so that it detects objects in noise."""
    torch.manual_seed(0)
    network = metamixer.create_model(MODEL).eval()
    for head in network.cascade.box_heads:
        head.classes.weight *= 30
    return network


@torch.inference_mode()
def run(form: dict[str, bool]) -> None:
    """Build one form and detect objects each time it is asked to."""
    keep_freed_memory()
    network = build()
    if form["fuse"]:
        network = metamixer.fuse(network)
    if form["channels_last"]:
        network = network.to(memory_format=torch.channels_last)
    image = torch.randn(3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    batch = image[None].contiguous(
        memory_format=torch.channels_last if form["channels_last"] else torch.contiguous_format
    )
    if form.get("openvino"):
        network.pyramid = OpenVinoPyramid(network.pyramid, batch)

    def call() -> dict[str, float]:
        with torch.autocast("cpu", torch.bfloat16, enabled=form.get("bfloat16", False)):
            start = time.perf_counter()
            network.pyramid(batch)
            middle = time.perf_counter()
            (found,) = network([image])
            end = time.perf_counter()
        return {"pyramid_seconds": middle - start, "seconds": end - middle, "found": len(found["scores"])}

    serve(call)


def write(rows: dict[str, dict], rounds: int) -> None:
    """Write the results as JSON and as a table."""
    lines = [
        f"`{MODEL}`, one image of {HEIGHT}x{WIDTH}, 1000 regions, 100 masks; medians of {rounds} interleaved rounds.",
        f"Measured on: {torch.get_num_threads()} threads, {describe_machine()}.",
        "",
        "| form | backbone and pyramid | whole detector | speed | peak memory of the process | objects |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        lines.append(
            f"| {name} | {row['pyramid_seconds']:.2f} s | {row['seconds']:.2f} s | {row['speed']:.2f} "
            f"| {row['peak_gib']:.2f} GiB | {row['found']:.0f} |"
        )
    write_results(RESULTS, lines, {"rounds": rounds, "rows": rows})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        run(json.loads(options.serve))
    else:
        write(take_turns(__file__, FORMS, rounds=options.rounds), options.rounds)


if __name__ == "__main__":
    main()
