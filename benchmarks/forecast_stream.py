"""Measure time and peak memory of forecasting very many series, in Python and by the command.

    python benchmarks/forecast_stream.py [--series 10000 100000] [--ways stream command parts]
        [--out benchmarks/results/forecast_stream.json]

Each row is a process of its own, on one core: monthly series of 60 rows, horizon 12. `stream`: generated as they are
read, with `Forecaster.stream`; `command`: `metamixer forecast` of a CSV file, which it reads in parts from 64 MiB on
(about 45,000 of these series); `parts`: the same, from any size on. The memory of 0 series is that of
the imports and the network. `--out` keeps the rows that aren't measured again.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
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


def stream(count: int, folder: Path) -> int:
    """Forecast with `Forecaster.stream`, and return the number of rows."""
    from metamixer import Forecaster

    return sum(len(table) for table in Forecaster(HORIZON, levels=(80,)).stream(parts(count)))


def command(count: int, folder: Path) -> int:
    """Forecast a file by the command, and return the number of rows."""
    from metamixer.cli import main

    file, out = folder / f"{count}.csv", folder / "forecast.csv"
    options = ["--horizon", str(HORIZON), "--levels", "80", "--out", str(out), "--overwrite"]
    assert main(["forecast", str(file), *options]) == 0
    with out.open() as lines:
        return sum(1 for _ in lines) - 1


def in_parts(count: int, folder: Path) -> int:
    """The same, also of a file that is small enough to be read whole."""
    from metamixer.data.series import parts

    parts.LARGE = 1
    return command(count, folder)


WAYS = {"stream": stream, "command": command, "parts": in_parts}


def write_table(count: int, file: Path) -> None:
    """The series as CSV, written by a process that isn't measured."""
    for number, table in enumerate(parts(count)):
        table.to_csv(file, mode="a", header=number == 0, index=False, float_format="%.3f")


def measure(way: str, count: int, folder: Path) -> dict[str, float]:
    """Seconds after imports, and peak memory of this process."""
    import torch

    torch.set_num_threads(1)
    stream(1, folder)
    wall, cpu = time.perf_counter(), time.process_time()
    rows = WAYS[way](count, folder) if count else 0
    assert rows == count * HORIZON, rows
    return {
        "way": way,
        "series": count,
        "wall_seconds": round(time.perf_counter() - wall, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--series", type=int, nargs="+", default=[0, 10_000, 100_000], help="numbers of series")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="how they are forecast")
    parser.add_argument("--out", type=Path, help="JSON file of the results")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        way, count, folder = options.one
        print(json.dumps(measure(way, int(count), Path(folder))))
        return
    from metamixer.system.files import write_text
    from metamixer.system.machine import describe_machine

    rows = json.loads(options.out.read_text())["rows"] if options.out and options.out.is_file() else []
    with tempfile.TemporaryDirectory() as folder:
        for count in options.series:
            write_table(count, Path(folder, f"{count}.csv"))
            for way in options.ways:
                run = [sys.executable, __file__, "--one", way, str(count), folder]
                answer = subprocess.run(run, check=True, capture_output=True, text=True).stdout
                rows = [row for row in rows if (row["way"], row["series"]) != (way, count)]
                rows.append(json.loads(answer.splitlines()[-1]))
                print(rows[-1], flush=True)
                if options.out:
                    write_text(options.out, json.dumps({"machine": describe_machine(), "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
