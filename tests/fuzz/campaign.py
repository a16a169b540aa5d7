"""`python -m fuzz.campaign --cases 10000 --seed 7`: mutated files through every reader, in one process.

A case passes when the reader gives a result, or an InputError that names the file in one line, within the limits of
time and memory. Everything else is a failure, and the file is kept in `--keep`.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from metamixer.errors import InputError

from .kinds import Kind, in_turn, make
from .suited import mutations_of

SECONDS = 60
"""Of CPU time for a case: on a busy machine, a case takes no more of it."""
WAIT = 900
"""Seconds of wall time for a case: what waits for ever takes no CPU time."""
MEMORY = 2**30
"""Bytes by which the process may grow in a case."""


class Hang(BaseException):
    """A case that took too long; no reader may catch it."""


def mutant(kind: Kind, seeds: Path, folder: Path, chance: random.Random) -> Path:
    """A changed file in a folder of its own, with what it needs beside it."""
    data = (seeds / kind.name).read_bytes()
    mutation = chance.choice(mutations_of(kind.suffix))
    suffix = kind.suffix if chance.random() < 0.97 else chance.choice((".png", ".npz", ".laz", ".csv", ".ckpt"))
    suffix = kind.suffix if kind.beside else suffix
    path = folder / f"case{suffix}"
    try:
        path.write_bytes(mutation(data, chance))
    except Exception:  # nothing in it that this mutation knows, or nothing that its library writes
        path.write_bytes(data[: len(data) // 2])
    kind.place_beside(path, seeds)
    return path


def judge(kind: Kind, path: Path) -> str:
    """Empty where the case passes, else what went wrong."""
    before, start = peak_memory(), time.process_time()
    try:
        with limited(SECONDS, WAIT), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kind.read(path)
    except InputError as error:
        named = path.stem in str(error)
        problem = "" if named else f"a message without the file: {error}"
    except Hang as hang:
        return str(hang)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {str(error)[:200]} ({Path(place.filename).name}:{place.lineno})"
    else:
        problem = ""
    grown = peak_memory() - before
    return problem or (f"took {grown / 2**30:.1f} GiB, {time.process_time() - start:.0f} s" if grown > MEMORY else "")


@contextlib.contextmanager
def limited(seconds: float, wait: float) -> Iterator[None]:
    """Raise Hang after so much CPU time of this process, or after so much wall time."""

    def stop(number: int, frame: object) -> None:
        raise Hang(f"took {seconds} s of CPU time" if number == signal.SIGPROF else f"waited for {wait} s")

    timers = {signal.SIGPROF: (signal.ITIMER_PROF, seconds), signal.SIGALRM: (signal.ITIMER_REAL, wait)}
    before = {number: signal.signal(number, stop) for number in timers}
    for timer, length in timers.values():
        signal.setitimer(timer, length)
    try:
        yield
    finally:
        for number, (timer, _) in timers.items():
            signal.setitimer(timer, 0)
            signal.signal(number, before[number])


def peak_memory() -> int:
    """The most bytes that the process has held."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def run(
    cases: int,
    seed: int,
    *,
    seeds: tuple[Path, list[Kind]] | None = None,
    keep: Path | None = None,
    only: str = "",
    progress: bool = False,
) -> tuple[Counter, list[str]]:
    """Cases by kind, and the failures; kinds take turns, and a case follows from the seed and its number alone.

    seeds: the folder and kinds of `make`, where they are made already; keep: a folder for files that failed.
    """
    failures: list[str] = []
    counts: Counter = Counter()
    with tempfile.TemporaryDirectory() as root:
        if seeds is None:
            home = Path(root, "seeds")
            home.mkdir()
            seeds = home, make(home)
        home, kinds = seeds
        kinds = [kind for kind in kinds if only in kind.name]
        for number, kind in enumerate(islice(in_turn(kinds), cases)):
            folder = Path(root, "work")
            folder.mkdir()
            path = mutant(kind, home, folder, random.Random(f"{seed}/{number}/{kind.name}"))
            kept = keep and keep / f"{seed}_{number}_{kind.name}"
            if kept:
                kept.parent.mkdir(exist_ok=True, parents=True)
                shutil.copy(path, kept)  # is still there after an abort
            problem = judge(kind, path)
            counts[kind.name] += 1
            if problem:
                failures.append(f"{kind.name}, seed {seed}, case {number}: {problem}")
            elif kept:
                kept.unlink()
            if progress and problem:
                print(failures[-1], flush=True)
            shutil.rmtree(folder)
            if progress and number % 500 == 499:
                print(f"{number + 1} of {cases} cases, {len(failures)} failed", flush=True)
    return counts, failures


def main() -> int:
    """Run and tell; exit code 1 where a case failed."""
    parser = argparse.ArgumentParser(prog="python -m fuzz.campaign", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="kinds whose name holds this")
    parser.add_argument("--keep", type=Path, help="folder for files that failed")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    counts, failures = run(options.cases, options.seed, keep=options.keep, only=options.only, progress=True)
    print(", ".join(f"{name} {count}" for name, count in counts.items()))
    print(f"{sum(counts.values())} cases, {len(failures)} failed")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
