"""Time and peak memory of ffnet_seg_cityscapes on one image of 1024x2048: training form compared with deploy form.

    python benchmarks/segmentation_inference.py

Each form runs in a separate process, in turn; the results are medians. The weights are random. Writes
benchmarks/results/segmentation_inference.{json,md}.
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

RESULTS = Path(__file__).parent / "results/segmentation_inference"
MODEL = "ffnet_seg_cityscapes"
FORMS = {
    "as trained (eager)": {"fuse": False, "channels_last": False},
    "as trained, channels-last": {"fuse": False, "channels_last": True},
    "deploy form": {"fuse": True, "channels_last": False},
    "deploy form, channels-last": {"fuse": True, "channels_last": True},
    "deploy form, channels-last, bfloat16 autocast": {"fuse": True, "channels_last": True, "bfloat16": True},
}


@torch.inference_mode()
def run(form: dict[str, bool], height: int, width: int) -> None:
    """Build one form and compute the labels each time it is asked to."""
    if form["fuse"]:
        keep_freed_memory()
    torch.manual_seed(0)
    network = metamixer.create_model(MODEL).eval()
    if form["fuse"]:
        network = metamixer.fuse(network)
    layout = torch.channels_last if form["channels_last"] else torch.contiguous_format
    network = network.to(memory_format=layout)
    image = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0)).contiguous(
        memory_format=layout
    )

    def call() -> dict[str, float]:
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=form.get("bfloat16", False)):
            network(image).argmax(dim=1)
        return {"seconds": time.perf_counter() - start}

    serve(call)


def write(rows: dict[str, dict], rounds: int, size: list[int]) -> None:
    """Write the results as JSON and as a table."""
    lines = [
        f"`{MODEL}`, one image of {size[0]}x{size[1]}; medians of {rounds} interleaved rounds.",
        f"Measured on: {torch.get_num_threads()} threads, {describe_machine()}.",
        "",
        "| form | seconds | speed | peak memory of the process |",
        "|---|---|---|---|",
        *(
            f"| {name} | {row['seconds']:.2f} | {row['speed']:.2f} | {row['peak_gib']:.2f} GiB |"
            for name, row in rows.items()
        ),
    ]
    write_results(RESULTS, lines, {"rounds": rounds, "rows": rows})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, nargs=2, default=[1024, 2048], help="height and width of the image")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        run(json.loads(options.serve), *options.size)
    else:
        arguments = ["--size", *map(str, options.size)]
        write(take_turns(__file__, FORMS, rounds=options.rounds, arguments=arguments), options.rounds, options.size)


if __name__ == "__main__":
    main()
