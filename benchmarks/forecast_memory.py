"""Measure seconds, peak memory and rows per second of `metamixer forecast` for tables of many series.

    python benchmarks/forecast_memory.py [--series 1 1000 10000 100000] [--formats csv csv.gz parquet]
        [--ways command whole parts] [--out benchmarks/results/forecast_memory.json]

Each row is a process of its own on one core, with its imports: long tables of monthly series of 60 rows, horizon 12,
80 % intervals. `command`: as it comes, which reads a table in parts from 64 MiB on; `whole` and `parts`: one way at any
size; `stream`: CSV by `Forecaster.stream` in Python. The memory for 1 series is that of the imports and the network.
`--out` keeps the rows that aren't measured again, and writes the table as Markdown beside the JSON.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROWS, HORIZON, PART = 60, 12, 500

COMMAND = """
import sys
from metamixer.cli import main
from metamixer.data.series import large
large.LARGE = {large}
sys.exit(main(sys.argv[1:]))
"""
STREAM = """
import sys, pandas
from metamixer import Forecaster
tables = pandas.read_csv(sys.argv[2], chunksize=100_000)
for number, table in enumerate(Forecaster(12, levels=(80,)).stream(tables)):
    table.to_csv(sys.argv[-2], mode="a", header=number == 0, index=False)
"""
WAYS = {
    "command": COMMAND.format(large="large.LARGE"),
    "whole": COMMAND.format(large=2**60),
    "parts": COMMAND.format(large=1),
    "stream": STREAM,
}
"""The program of each way; its arguments are those of the command."""


def tables(count: int) -> Iterator[Any]:
    """Long tables of `PART` series each."""
    import numpy as np
    import pandas

    random = np.random.default_rng(0)
    months = pandas.date_range("2019-01-01", periods=ROWS, freq="MS").to_numpy()
    for start in range(0, count, PART):
        names = [f"{number:06}" for number in range(start, min(start + PART, count))]
        values = random.normal(size=(len(names), ROWS)).cumsum(1).ravel().round(3)
        columns = {"unique_id": np.repeat(names, ROWS), "ds": np.tile(months, len(names)), "y": values}
        yield pandas.DataFrame(columns)


def write_table(count: int, file: Path) -> None:
    """The series in a file, written a few at a time."""
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    if file.suffix != ".parquet":
        for number, table in enumerate(tables(count)):
            table.to_csv(file, mode="a", header=number == 0, index=False)
        return
    parts = map(pyarrow.Table.from_pandas, tables(count))
    first = next(parts)
    with ParquetWriter(file, first.schema) as writer:
        for part in (first, *parts):
            writer.write_table(part)


def measure(way: str, count: int, file: Path) -> dict[str, Any]:
    """Seconds and peak memory of a process that forecasts a table."""
    out = file.with_name("forecast.csv")
    options = ["--horizon", str(HORIZON), "--levels", "80", "--out", str(out), "--overwrite"]
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", WAYS[way], "forecast", str(file), *options], stdout=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    seconds, cpu_seconds = time.perf_counter() - start, used.ru_utime + used.ru_stime
    with out.open() as lines:
        rows = sum(1 for _ in lines) - 1
    out.unlink()
    assert status == 0 and rows == count * HORIZON, (status, rows)
    return {
        "way": way,
        "format": file.name.partition(".")[2],
        "series": count,
        "file_mib": round(file.stat().st_size / 2**20, 1),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds, 1),
        "peak_mib": round(used.ru_maxrss / 1024),
        "rows_per_cpu_second": round(count * ROWS / cpu_seconds),
    }


def as_markdown(machine: str, rows: list[dict[str, Any]]) -> str:
    """The results as a table."""
    head = "| way | format | series | file, MiB | seconds | CPU seconds | peak, MiB | rows per CPU second |"
    lines = [
        "| " + " | ".join(f"{value:,}" if type(value) is int else str(value) for value in row.values()) + " |"
        for row in rows
    ]
    text = f"{__doc__.splitlines()[0]}\nMeasured on: {machine}; the core was shared, so compare CPU seconds.\n\n"
    return text + "\n".join([head, "|---" * 8 + "|", *lines])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--series", type=int, nargs="+", default=[1, 1000, 10_000, 100_000], help="numbers of series")
    parser.add_argument("--formats", nargs="+", default=["csv", "parquet"], help="csv, csv.gz, parquet")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=["command"], help="how they are forecast")
    parser.add_argument("--out", type=Path, help="JSON file of the results")
    options = parser.parse_args()
    from metamixer.system.files import write_text
    from metamixer.system.machine import describe_machine

    rows = json.loads(options.out.read_text())["rows"] if options.out and options.out.is_file() else []
    with tempfile.TemporaryDirectory() as folder:
        for count in options.series:
            for kind in options.formats:
                file = Path(folder, f"{count}.{kind}")
                write_table(count, file)
                for way in options.ways:
                    found = measure(way, count, file)
                    print(found, flush=True)
                    what = ("way", "format", "series")
                    rows = [row for row in rows if any(row[name] != found[name] for name in what)] + [found]
                    if options.out:
                        results = {"machine": describe_machine(), "rows": rows}
                        write_text(options.out, json.dumps(results, indent=1))
                        write_text(options.out.with_suffix(".md"), as_markdown(results["machine"], rows))
                file.unlink()


if __name__ == "__main__":
    main()
