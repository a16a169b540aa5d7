"""Time and peak memory of restoring 12 megapixels in color with ffnet_restore, in PyTorch and in OpenVINO.

    python benchmarks/restoration_speed.py

Each form runs in a separate process, in turn, as `metamixer restore` does: in tiles within 256 MiB. Medians of three
runs; the first one counts too, because setup is small next to half a minute. Run it next to nothing else. Writes
benchmarks/results/restoration_speed.{json,md}.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from forms import serve, take_turns
from report import write_results

from metamixer import Restorer
from metamixer.system.machine import describe_machine

RESULTS = Path(__file__).parent / "results/restoration_speed"
HEIGHT, WIDTH = 3000, 4000
FORMS = {"PyTorch": {}, "OpenVINO": {"backend": "openvino"}}
"""Name -> options of `Restorer.load`."""


def run(form: dict) -> None:
    """Load one form and restore each time it is asked to."""
    restorer = Restorer.load(**form)
    photograph = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)

    def call() -> dict[str, float]:
        start = time.perf_counter()
        restorer(photograph, strength=1.0)
        return {"seconds": time.perf_counter() - start}

    serve(call)


def write(rows: dict[str, dict], rounds: int) -> None:
    """Write the results as JSON and as a table."""
    lines = [
        f"`ffnet_restore` on {WIDTH}x{HEIGHT} pixels in color; medians of {rounds} interleaved runs. Measured on: "
        f"{torch.get_num_threads()} threads, {describe_machine()}.",
        "",
        "| form | seconds | peak memory of the process |",
        "|---|---|---|",
        *(f"| {name} | {row['seconds']:.1f} | {row['peak_gib']:.2f} GiB |" for name, row in rows.items()),
    ]
    write_results(RESULTS, lines, {"threads": torch.get_num_threads(), "rounds": rounds, "rows": rows})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        run(json.loads(options.serve))
    else:
        write(take_turns(__file__, FORMS, rounds=options.rounds, warmup=0), options.rounds)


if __name__ == "__main__":
    main()
