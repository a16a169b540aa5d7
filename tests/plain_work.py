"""Work of an engine's job without a network, whose processes start at once."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow

from metamixer.engine.shard import Rows, Shard
from metamixer.errors import InputError

RESULTS = pyarrow.schema({"input": pyarrow.string(), "error": pyarrow.string()})
SECONDS = 0.1
"""Time that a shard takes, so that a job isn't done before anything can happen to it."""


@dataclass(frozen=True)
class PlainWork:
    """Inputs 0.txt, 1.txt and so on, of which 7.txt is an error.

    together: a folder in which the first `processes` processes wait for each other; missing: what they can't find.
    """

    count: int
    together: str
    processes: int = 1
    missing: str = ""
    shards: int = 64

    key = "input"
    about = "inputs"
    device = "cpu"

    def description(self) -> dict[str, int]:
        return {"count": self.count}

    def units(self) -> list[str]:
        return ["all"]

    def spread(self, unit: str) -> Iterator[pyarrow.Table]:
        yield pyarrow.table({"input": [f"{i}.txt" for i in range(self.count)]})

    def prepare(self) -> str:
        if self.missing:
            raise InputError(f"{self.missing}: no such file")
        waiting = Path(self.together)
        (waiting / str(time.time_ns())).touch()
        end = time.monotonic() + 300
        while len(list(waiting.iterdir())) < self.processes and time.monotonic() < end:
            time.sleep(0.05)
        return "ready"

    def predict(self, held: str, shard: Shard) -> Iterator[Rows]:
        time.sleep(SECONDS)
        names = [name for table in shard.inputs() for name in table["input"].to_pylist() if name not in shard.done]
        if names:
            errors = ["not readable" if name == "7.txt" else None for name in names]
            yield Rows(pyarrow.table({"input": names, "error": errors}, RESULTS), names)
