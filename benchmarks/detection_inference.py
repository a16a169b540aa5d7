"""cascade_mask_rcnn_ffnet_2 on one image of 800x1216: seconds and peak memory of its forms, each in a process of its own.

    python benchmarks/detection_inference.py

The weights are random, scaled so that 1000 regions and 100 masks are computed, the most that there can be. Rounds go from form to form
in turn; medians. Writes benchmarks/results/detection_inference.{json,md}.
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

RESULTS = Path(__file__).parent / "results/detection_inference"
MODEL = "cascade_mask_rcnn_ffnet_2"
HEIGHT, WIDTH = 800, 1216
FORMS = {
    "as trained": {"fuse": False, "channels_last": False},
    "as trained, channels-last": {"fuse": False, "channels_last": True},
    "deploy form, channels-last": {"fuse": True, "channels_last": True},
    "deploy form, channels-last, bfloat16 autocast": {"fuse": True, "channels_last": True, "bfloat16": True},
}


@torch.no_grad()
def build() -> torch.nn.Module:
    """The detector with weights that find something in noise."""
    torch.manual_seed(0)
    network = metamixer.create_model(MODEL).eval()
    for head in network.cascade.box_heads:
        head.classes.weight *= 30
    return network


@torch.inference_mode()
def serve(form: dict[str, bool]) -> None:
    """Build one form; then, for each line of standard input, detect once and print what it took."""
    keep_freed_memory()
    network = build()
    if form["fuse"]:
        network = metamixer.fuse(network)
    if form["channels_last"]:
        network = network.to(memory_format=torch.channels_last)
    image = torch.randn(3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    batch = image[None].contiguous(memory_format=torch.channels_last if form["channels_last"] else torch.contiguous_format)
    print("ready", flush=True)
    for _ in sys.stdin:
        with torch.autocast("cpu", torch.bfloat16, enabled=form.get("bfloat16", False)):
            start = time.perf_counter()
            network.pyramid(batch)
            middle = time.perf_counter()
            (found,) = network([image])
            end = time.perf_counter()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(json.dumps({"pyramid": middle - start, "whole": end - middle, "peak": peak, "found": len(found["scores"])}), flush=True)


def measure(rounds: int) -> dict[str, dict]:
    """Medians of each form, its ratio to the first of the same round, and its process's peak memory in GiB."""
    command = [sys.executable, __file__, "--serve"]
    servers = {
        name: subprocess.Popen([*command, json.dumps(form)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for name, form in FORMS.items()
    }
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
            "pyramid_seconds": statistics.median(each["pyramid"] for each in numbers),
            "seconds": statistics.median(each["whole"] for each in numbers),
            "speed": statistics.median(base["whole"] / each["whole"] for base, each in zip(first, numbers, strict=True)),
            "peak_gib": max(each["peak"] for each in numbers),
            "found": numbers[-1]["found"],
        }
        for name, numbers in taken.items()
    }


def write(rows: dict[str, dict], rounds: int) -> None:
    """The result as JSON and as a table."""
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
            f"| {row['peak_gib']:.2f} GiB | {row['found']} |"
        )
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.with_suffix(".json").write_text(json.dumps({"machine": describe_machine(), "rounds": rounds, "rows": rows}, indent=1) + "\n")
    RESULTS.with_suffix(".md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(json.loads(options.serve))
    else:
        write(measure(options.rounds), options.rounds)


if __name__ == "__main__":
    main()
