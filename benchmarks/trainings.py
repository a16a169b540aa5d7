"""What the benchmarks that train have in common: a run that goes on where it was stopped and keeps what it cost, and
its result.
"""

import csv
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from metamixer.system.files import write_text
from metamixer.system.machine import describe_machine

FOLDER = Path(__file__).parent


def train(recipe: Path, settings: Mapping[str, object], *, out: Path) -> dict[str, float]:
    """A recipe to its end, from its last checkpoint where there is one; gives the minutes of all its starts.

    settings: options of `metamixer fit` by name. A run that came to its end is not started again.
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
    """A call of the command line, with `--resume` where there is something to resume."""
    options = [
        f"--{key}={value}" for key, value in {"out": out, "trainer.enable_progress_bar": "false", **settings}.items()
    ]
    resume = ["--resume=true"] if name == "fit" and (out / "last.ckpt").is_file() else []
    return [sys.executable, "-m", "metamixer", name, "--config", str(recipe), *options, *resume]


def environment() -> dict[str, str]:
    """This process's, in which recipes can name modules of this folder."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(FOLDER), os.environ.get("PYTHONPATH")]))}


def children_seconds() -> float:
    """Processor time of all processes that this one has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def add_cost(out: Path, *, wall: float, cpu: float) -> None:
    """Seconds of one start, added to those before it."""
    file = out / "cost.json"
    spent = json.loads(file.read_text()) if file.is_file() else {"wall_minutes": 0.0, "cpu_minutes": 0.0}
    write_text(
        file,
        json.dumps({"wall_minutes": spent["wall_minutes"] + wall / 60, "cpu_minutes": spent["cpu_minutes"] + cpu / 60}),
    )


def last_validation(run: Path, measure: str) -> dict[str, str]:
    """The log's last row that has a measure: the end of the schedule, not the best of many looks."""
    log = max(run.glob("logs/version_*/metrics.csv"), key=lambda path: path.stat().st_mtime)
    with log.open() as file:
        return [row for row in csv.DictReader(file) if row.get(measure)][-1]


def cost(out: Path) -> dict[str, float]:
    """The minutes of all starts of a run."""
    return {name: round(minutes, 1) for name, minutes in json.loads((out / "cost.json").read_text()).items()}


def write_results(path: Path, lines: Sequence[str], content: Mapping[str, object]) -> None:
    """The table as Markdown, printed too, and everything as JSON with the machine's name."""
    write_text(path.with_suffix(".json"), json.dumps({"machine": describe_machine(), **content}, indent=1))
    write_text(path.with_suffix(".md"), "\n".join(lines))
    print("\n".join(lines))
