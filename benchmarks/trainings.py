"""Shared code of the benchmarks that train: resumable runs with their cost."""

import csv
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from metamixer.system.files import write_text

FOLDER = Path(__file__).parent


def train(recipe: Path, settings: Mapping[str, object], *, out: Path) -> dict[str, float]:
    """Train a recipe to its end, from the last checkpoint if there is one, and return the total minutes.

    settings: options of `metamixer fit` by name. A finished run is not started again.
    """
    if not (out / "done").is_file():
        start, before = time.time(), children_seconds()
        try:
            subprocess.run(command("fit", recipe, settings, out=out), check=True, env=environment())
            (out / "done").touch()
        finally:
            add_cost(out, wall=time.time() - start, cpu=children_seconds() - before)
    return cost(out)


def command(name: str, recipe: Path, settings: Mapping[str, object], *, out: Path) -> list[str]:
    """The command line, with `--resume` if there is a checkpoint."""
    options = [
        f"--{key}={value}" for key, value in {"out": out, "trainer.enable_progress_bar": "false", **settings}.items()
    ]
    resume = ["--resume=true"] if name == "fit" and (out / "last.ckpt").is_file() else []
    return [sys.executable, "-m", "metamixer", name, "--config", str(recipe), *options, *resume]


def environment() -> dict[str, str]:
    """Environment variables of this process; recipes can import modules of this folder."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(FOLDER), os.environ.get("PYTHONPATH")]))}


def children_seconds() -> float:
    """CPU time of all finished child processes."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def add_cost(out: Path, *, wall: float, cpu: float) -> None:
    """Add the seconds of one start to the total."""
    file = out / "cost.json"
    spent = json.loads(file.read_text()) if file.is_file() else {"wall_minutes": 0.0, "cpu_minutes": 0.0}
    write_text(
        file,
        json.dumps({"wall_minutes": spent["wall_minutes"] + wall / 60, "cpu_minutes": spent["cpu_minutes"] + cpu / 60}),
    )


def last_validation(run: Path, metric: str) -> dict[str, str]:
    """The last row of the log with this metric: the end of the schedule, not the best of many."""
    log = max(run.glob("logs/version_*/metrics.csv"), key=lambda path: path.stat().st_mtime)
    with log.open() as file:
        return [row for row in csv.DictReader(file) if row.get(metric)][-1]


def cost(out: Path) -> dict[str, float]:
    """Total minutes of all starts of a run."""
    return {name: round(minutes, 1) for name, minutes in json.loads((out / "cost.json").read_text()).items()}
