"""ffnet_seg_cityscapes on one image of 1024x2048: seconds and peak memory, eager against deploy form, each in a process of its own.

    python benchmarks/segmentation_inference.py

The weights are random. Rounds go from form to form in turn; medians. Writes benchmarks/results/segmentation_inference.{json,md}.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

import metamixer
from metamixer.allocator import keep_freed_memory
from metamixer.machine import describe_machine

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
def serve(form: dict[str, bool], height: int, width: int) -> None:
    """Build one form; then, for each line of standard input, compute the labels once and print what it took."""
    if form["fuse"]:
        keep_freed_memory()
    torch.manual_seed(0)
    network = metamixer.create_model(MODEL).eval()
    if form["fuse"]:
        network = metamixer.fuse(network)
    layout = torch.channels_last if form["channels_last"] else torch.contiguous_format
    network = network.to(memory_format=layout)
    image = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=layout)
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=form.get("bfloat16", False)):
            network(image).argmax(dim=1)
        seconds = time.perf_counter() - start
        print(json.dumps({"seconds": seconds, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}), flush=True)


def measure(rounds: int, size: list[int]) -> dict[str, dict]:
    """Medians of each form, its speed beside the first of the same round, and its process's peak memory in GiB."""
    servers = {}
    for name, form in FORMS.items():
        command = [sys.executable, __file__, "--serve", json.dumps(form), "--size", *map(str, size)]
        servers[name] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    for server in servers.values():
        server.stdout.readline()
    taken = {name: [] for name in FORMS}
    for i in range(rounds + 1):
        for name, server in servers.items():
            server.stdin.write("\n")
            server.stdin.flush()
            numbers = json.loads(server.stdout.readline())
            if i:  # the first round warms up
                taken[name].append(numbers)
    for server in servers.values():
        server.stdin.close()
        server.wait()
    first = taken[next(iter(FORMS))]
    return {
        name: {
            "seconds": statistics.median(each["seconds"] for each in numbers),
            "speed": statistics.median(base["seconds"] / each["seconds"] for base, each in zip(first, numbers, strict=True)),
            "peak_gib": max(each["peak"] for each in numbers),
        }
        for name, numbers in taken.items()
    }


def write(rows: dict[str, dict], rounds: int, size: list[int]) -> None:
    """The result as JSON and as a table."""
    lines = [
        f"`{MODEL}`, one image of {size[0]}x{size[1]}; medians of {rounds} interleaved rounds.",
        f"Measured on: {torch.get_num_threads()} threads, {describe_machine()}.",
        "",
        "| form | seconds | speed | peak memory of the process |",
        "|---|---|---|---|",
        *(f"| {name} | {row['seconds']:.2f} | {row['speed']:.2f} | {row['peak_gib']:.2f} GiB |" for name, row in rows.items()),
    ]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.with_suffix(".json").write_text(json.dumps({"machine": describe_machine(), "rounds": rounds, "rows": rows}, indent=1) + "\n")
    RESULTS.with_suffix(".md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, nargs=2, default=[1024, 2048], help="height and width of the image")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(json.loads(options.serve), *options.size)
    else:
        write(measure(options.rounds, options.size), options.rounds, options.size)


if __name__ == "__main__":
    main()
