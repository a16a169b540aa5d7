"""Time the networks for images that have weights in the package, on one core: milliseconds for one image.

    python benchmarks/packaged_networks.py

The forms of a network run in separate processes, in turn. Weights are random, because they don't affect the time.
Run it next to nothing else. Writes benchmarks/results/packaged_networks.{json,md}.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from report import write_results

from metamixer.bench.protocol import Entry, Result, run_bench
from metamixer.system.machine import computes_bfloat16, describe_machine
from metamixer.zoo.weights import find_weights

RESULTS = Path(__file__).parent / "results/packaged_networks"
SIZES = {
    "ffnet_nano": 96,
    "ffnet_head_ffnet_nano": 512,
    "ffnet_restore": 256,
    "ffnet_sr_nano": 256,
    "ffnet_photograph": 256,
}
"""Network -> image side in pixels."""

FORMS = (("eager", "fp32"), ("onnxruntime", "fp32"), ("openvino", "fp32"))
FORMS += (("eager", "bf16"), ("openvino", "bf16")) if computes_bfloat16() else ()


def measure(name: str, size: int, rounds: int) -> list[Result]:
    """Time all forms of a network on one image."""
    entries = [Entry(name, size, 1, *form) for form in FORMS]
    results, _ = run_bench(entries, threads=1, rounds=rounds, warmup=2)
    return results


def row(results: Sequence[Result]) -> str:
    """A network's line of the table."""
    entry = results[0].entry
    weights = find_weights(entry.network)
    parameters = f"{weights.size.parameters / 1e6:.2f} M"
    times = " | ".join(f"{1e3 * result.median:.1f}" for result in results)
    return f"| `{entry.network}` | {entry.size} | {weights.megabytes} MB | {parameters} | {times} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    results = {name: measure(name, size, options.rounds) for name, size in SIZES.items()}
    forms = " | ".join(f"{backend} {precision}" for backend, precision in FORMS)
    lines = [
        f"One image, one core, milliseconds, medians of {options.rounds} rounds. Measured on: {describe_machine()}.",
        "",
        f"| network | px | file | parameters | {forms} |",
        f"|---|---|---|---|{'---|' * len(FORMS)}",
        *map(row, results.values()),
    ]
    write_results(RESULTS, lines, {"rows": {name: [asdict(each) for each in found] for name, found in results.items()}})


if __name__ == "__main__":
    main()
