"""Kill a training at random moments, within epochs and within writes; each resumed run must equal the unbroken one.

python tests/kill_campaign.py --kills 100
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import metamixer.data
import metamixer.training.command_line  # imported here once, not in each child
from metamixer.cli import main
from short_runs import differences, end_of, write_recipe

KEPT = {"best.ckpt", "last.ckpt", "config.yaml", ".lock", "logs"}


def fit_in_child(recipe: str, out: Path) -> int:
    """Train or go on in a process of its own, which needs no import; gives its number."""
    child = os.fork()
    if child:
        return child
    with open(out.with_suffix(".log"), "a") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    code = 1
    try:
        code = main(["fit", "--config", recipe, "--out", str(out), "--resume", "auto"])
    finally:
        os._exit(code)


def end_within(child: int, seconds: float) -> int | None:
    """The exit code of a process that ends in time; None for one that had to be killed."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def left_over(out: Path, temporary: Path) -> list[str]:
    """Files that belong to no run; an earlier run of the same folder is kept apart and belongs to it."""
    files = [path.name for path in out.iterdir() if path.name not in KEPT and not path.name.startswith("earlier_run_")]
    return sorted(files + [path.name for path in temporary.iterdir()])


def campaign(folder: Path, *, kills: int, seed: int, **changes) -> dict[str, int]:
    """Runs, kills, runs that ended otherwise, and files left over."""
    temporary = folder / "temporary"
    temporary.mkdir(parents=True)
    with patch.object(tempfile, "tempdir", str(temporary)), patch.dict(os.environ, TMPDIR=str(temporary)):
        return _kill(folder, temporary, kills, random.Random(seed), changes)


def _kill(folder: Path, temporary: Path, kills: int, chance: random.Random, changes: dict) -> dict[str, int]:
    recipe = write_recipe(folder / "recipe.yaml", **changes)
    metamixer.data.import_all()
    begun = time.monotonic()
    assert end_within(fit_in_child(recipe, folder / "whole"), 3600) == 0, (folder / "whole.log").read_text()
    duration, expected = time.monotonic() - begun, end_of(folder / "whole")
    del expected["random"]
    found = {"runs": 0, "kills": 0, "different": 0, "left over": 0}
    while found["kills"] < kills:
        out = folder / f"run_{found['runs']}"
        while (code := end_within(fit_in_child(recipe, out), chance.uniform(0, duration))) is None:
            found["kills"] += 1
            if found["kills"] == kills:
                code = end_within(fit_in_child(recipe, out), 3600)
                break
        assert code == 0, out.with_suffix(".log").read_text()
        ended = end_of(out)
        del ended["random"]
        found["runs"] += 1
        found["different"] += bool(differences(expected, ended))
        found["left over"] += len(left_over(out, temporary))
        shutil.rmtree(out)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = campaign(Path(folder), kills=options.kills, seed=options.seed)
    print(", ".join(f"{name}: {count}" for name, count in result.items()))
    sys.exit(bool(result["different"] or result["left over"]))
