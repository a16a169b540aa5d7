"""Time and peak memory of each form of ffnet_sr_nano on 12 megapixels at x2, and of ffnet_sr_light on 512x512 at x2.

    python benchmarks/upscaling.py

Each form runs in a separate process, in turn; the results are medians. ffnet_sr_light has random weights, which don't
affect the time. Writes benchmarks/results/upscaling.{json,md}.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from forms import serve, take_turns
from report import write_results

import metamixer
from metamixer.system.allocator import keep_freed_memory
from metamixer.system.machine import describe_machine

RESULTS = Path(__file__).parent / "results/upscaling"
PHOTOGRAPH = (3000, 4000)
SIDE = 512
TITLES = {
    "photograph": "`ffnet_sr_nano` x2, 4000x3000 to 8000x6000, tiles within 256 MiB (`metamixer upscale`)",
    "light": "`ffnet_sr_light` x2, 512x512 to 1024x1024, whole",
}
FORMS = {
    "photograph": {
        "PyTorch": {},
        "PyTorch, bfloat16": {"backend": "eager", "precision": "bf16"},
        "OpenVINO": {"backend": "openvino"},
        "OpenVINO, bfloat16": {"backend": "openvino", "precision": "bf16"},
    },
    "light": {
        "as trained (eager)": {"eager": True},
        "deploy form, PyTorch": {"backend": "eager"},
        "deploy form, PyTorch, bfloat16": {"backend": "eager", "precision": "bf16"},
        "deploy form, OpenVINO": {"backend": "openvino"},
        "deploy form, OpenVINO, bfloat16": {"backend": "openvino", "precision": "bf16"},
    },
}

WARMUP = {"photograph": 0, "light": 1}
"""The photograph takes a minute, so the setup of the first call is negligible."""


def enlarge_photograph(form: dict) -> Callable[[], object]:
    """Function that calls the upscaler once."""
    upscaler = metamixer.Upscaler("ffnet_sr_nano", 2, **form)
    photograph = np.random.default_rng(0).integers(0, 256, (*PHOTOGRAPH, 3), dtype=np.uint8)
    return lambda: upscaler(photograph)


def enlarge_square(form: dict) -> Callable[[], object]:
    """Function that calls the network once."""
    torch.manual_seed(0)
    network = metamixer.create_model("ffnet_sr_light", scale=2).eval()
    image = torch.rand(1, 3, SIDE, SIDE)
    if "eager" not in form:
        keep_freed_memory()
        network = metamixer.deploy(network, image, form.get("precision", "fp32"), backend=form["backend"])
    return lambda: network(image)


@torch.inference_mode()
def run(job: str, form: dict) -> None:
    """Build one form and enlarge each time it is asked to."""
    enlarge = {"photograph": enlarge_photograph, "light": enlarge_square}[job](form)

    def call() -> dict[str, float]:
        start = time.perf_counter()
        enlarge()
        return {"seconds": time.perf_counter() - start}

    serve(call)


def write(results: dict[str, dict[str, dict]], rounds: int) -> None:
    """Write the results as JSON and as tables."""
    lines = [
        f"Medians of {rounds} interleaved rounds. Measured on: {torch.get_num_threads()} threads, {describe_machine()}."
    ]
    for job, rows in results.items():
        lines += [
            "",
            f"{TITLES[job]}:",
            "",
            "| form | seconds | speed | peak memory of the process |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| {name} | {row['seconds']:.2f} | {row['speed']:.2f} | {row['peak_gib']:.2f} GiB |"
            for name, row in rows.items()
        ]
    write_results(RESULTS, lines, {"rounds": rounds, "results": results})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--job", choices=list(FORMS), help=argparse.SUPPRESS)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        run(options.job, json.loads(options.serve))
    else:
        results = {
            job: take_turns(__file__, forms, rounds=options.rounds, warmup=WARMUP[job], arguments=["--job", job])
            for job, forms in FORMS.items()
        }
        write(results, options.rounds)


if __name__ == "__main__":
    main()
