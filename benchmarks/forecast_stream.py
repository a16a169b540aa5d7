"""Measure time and peak memory of forecasting a stream of series, in plain Python.

    python benchmarks/forecast_stream.py [--series 10000 100000] [--out benchmarks/results/forecast_stream.json]

Each count is a process of its own, on one core: monthly series of 60 rows, horizon 12, generated as they are read, with
`Forecaster.stream`. The memory of 0 series is that of the imports and the network.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROWS, HORIZON, PART = 60, 12, 500


def parts(count: int) -> Iterator:
    """Long tables of `PART` series each."""
    import numpy as np
    import pandas

    random = np.random.default_rng(0)
    months = pandas.date_range("2019-01-01", periods=ROWS, freq="MS").to_numpy()
    for start in range(0, count, PART):
        names = np.arange(start, min(start + PART, count))
        values = random.normal(size=(len(names), ROWS)).cumsum(1).ravel()
        columns = {"unique_id": np.repeat(names, ROWS), "ds": np.tile(months, len(names)), "y": values}
        yield pandas.DataFrame(columns)


def measure(count: int) -> dict[str, float]:
    """Seconds after imports, and peak memory of this process."""
    import torch

    from metamixer import Forecaster

    torch.set_num_threads(1)
    forecaster = Forecaster(HORIZON, levels=(80,))
    list(forecaster.stream(parts(1)))
    wall, cpu = time.perf_counter(), time.process_time()
    rows = sum(len(table) for table in forecaster.stream(parts(count)))
    assert rows == count * HORIZON, rows
    return {
        "series": count,
        "wall_seconds": round(time.perf_counter() - wall, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--series", type=int, nargs="+", default=[0, 10_000, 100_000], help="numbers of series")
    parser.add_argument("--out", type=Path, help="JSON file of the results")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        print(json.dumps(measure(options.one)))
        return
    from metamixer.system.machine import describe_machine

    results = {"machine": describe_machine(), "rows": []}
    for count in options.series:
        command = [sys.executable, __file__, "--one", str(count)]
        results["rows"].append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        print(results["rows"][-1], flush=True)
        if options.out:
            options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
