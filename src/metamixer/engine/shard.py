"""A shard of a job: its inputs, its results in parts, and the traces of processes that ended while they predicted."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyarrow
import pyarrow.parquet as parquet

from ..errors import InputError, first_line
from .folder import Folder
from .sources import short_hash

INPUTS = "inputs"
PREDICTIONS = "predictions"
PICTURES = "pictures"
ATTEMPTS = "attempts"
"""Names in a job's folder; the predictions are for users: `pandas.read_parquet("out/predictions")`."""

PART_INPUTS = 64
PART_BYTES = 64 * 2**20
"""A part is written when it holds so many inputs or bytes; a stop loses one part a process at most."""

MESSAGES = 3
"""Errors of a shard that are told on the screen."""

CARELESS = 2
"""Attempts at a shard after which each input is announced before it is predicted."""

DEADLY = 2
"""Processes that an input may cost."""

MOST_ATTEMPTS = 10
"""Processes that a shard may cost, by machines that are lost or by inputs that end them."""


@dataclass(frozen=True)
class Rows:
    """Results of some inputs: the table's rows, and the inputs' keys."""

    table: pyarrow.Table
    keys: list[str]


@dataclass
class Shard:
    """A shard of the job in `folder`, whose inputs are known by the column `key`.

    done: the error, or None, of each input whose result is written; deadly: inputs at which processes ended; careful:
    they did so often that inputs are predicted one by one, each announced before in the file `trace`.
    """

    folder: Folder
    number: int
    key: str
    done: dict[str, str | None] = field(default_factory=dict)
    deadly: set[str] = field(default_factory=set)
    careful: bool = False
    trace: str = ""

    @classmethod
    def begin(cls, folder: Folder, number: int, key: str) -> "Shard":
        """With what earlier attempts have left; this one leaves a trace that `end` removes.

        Raises InputError after too many attempts.
        """
        shard = cls(folder, number, key)
        for name in folder.names(shard.place(PREDICTIONS)):
            shard.done |= shard._read_errors(name)
        traces = folder.names(shard.place(ATTEMPTS))
        if len(traces) >= MOST_ATTEMPTS:
            raise InputError(
                f"{folder.url}: {len(traces)} processes ended at shard {number}, expected fewer than {MOST_ATTEMPTS}; "
                "the same command goes on where it was"
            )
        shard.careful = len(traces) >= CARELESS
        last = Counter(shard._last_announced(trace) for trace in traces)
        shard.deadly = {name for name, count in last.items() if name and count >= DEADLY}
        shard.trace = f"{shard.place(ATTEMPTS)}/{len(traces):03d}"
        folder.write(shard.trace, b"")
        return shard

    def place(self, what: str) -> str:
        """The shard's folder of inputs, predictions or attempts."""
        return f"{what}/{self.number:05d}"

    def inputs(self) -> Iterator[pyarrow.Table]:
        """What was spread into the shard."""
        for name in self.folder.names(self.place(INPUTS)):
            yield self._read(name)

    def announce(self, name: str) -> None:
        """Leave an input's name where the next attempt finds it, should this process end."""
        if self.careful:
            self.folder.write(self.trace, name.encode())

    def write(self, results: Iterator[Rows]) -> None:
        """Write results in parts, each of which appears whole; a careful attempt keeps each as soon as it is there."""
        rows: list[Rows] = []
        for some in results:
            rows.append(some)
            full = sum(len(each.keys) for each in rows) >= PART_INPUTS
            if full or self.careful or sum(each.table.nbytes for each in rows) >= PART_BYTES:
                self._write_part(rows)
                rows = []
        if rows:
            self._write_part(rows)

    def end(self) -> dict[str, Any]:
        """The number of inputs and of those with an error, and the first errors."""
        self.folder.remove(self.place(ATTEMPTS))
        errors = [f"{name}: {error}" for name, error in self.done.items() if error is not None]
        return {"shard": self.number, "inputs": len(self.done), "failed": len(errors), "errors": errors[:MESSAGES]}

    def _write_part(self, rows: list[Rows]) -> None:
        table = pyarrow.concat_tables([each.table for each in rows])
        name = f"{self.place(PREDICTIONS)}/part-{short_hash(rows[0].keys[0])}.parquet"
        with self.folder.writing(name) as file:
            parquet.write_table(table, file)
        self.done |= self._errors(table)

    def _read(self, name: str) -> pyarrow.Table:
        """A part that the job wrote; raises InputError where it is none."""
        with self._judging(name), self.folder.reading(name) as file:
            table = parquet.read_table(file)
            table.validate(full=True)
            return table

    def _read_errors(self, name: str) -> dict[str, str | None]:
        """The error of each input of a part, None without one; raises InputError where it is no part."""
        with self._judging(name), self.folder.reading(name) as file:
            table = parquet.read_table(file, columns=[self.key, "error"])
            table.validate(full=True)
            return self._errors(table)

    @contextmanager
    def _judging(self, name: str) -> Iterator[None]:
        """Raise InputError that names the part, for errors in its use."""
        try:
            yield
        except Exception as error:  # Arrow raises errors of many kinds
            raise InputError(
                f"{self.folder.url}/{name}: not a readable part of the job ({first_line(error)}): remove it, and the "
                "same command makes it anew"
            ) from None

    def _errors(self, table: pyarrow.Table) -> dict[str, str | None]:
        return dict(zip(map(str, table[self.key].to_pylist()), table["error"].to_pylist(), strict=True))

    def _last_announced(self, trace: str) -> str:
        with self.folder.reading(trace) as file:
            return file.read().decode()
