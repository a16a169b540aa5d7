"""A job: inputs spread over shards, and each shard's results in parts, so that it goes on where it was stopped."""

import json
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pyarrow
import pyarrow.parquet as parquet

from ..errors import InputError
from .folder import Folder
from .sources import short_hash

DESCRIPTION = "job.json"
INPUTS = "inputs"
PREDICTIONS = "predictions"
PICTURES = "pictures"
"""Names in a job's folder; the predictions are for users: `pandas.read_parquet("out/predictions")`."""

PART_INPUTS = 64
PART_BYTES = 64 * 2**20
"""A part is written when it holds so many inputs or bytes; a stop loses one part a process at most."""

SPREAD_ROWS = 100_000
"""Rows that are held in memory until they are spread over the shards."""

MESSAGES = 3
"""Errors of a shard that are told on the screen."""


@dataclass(frozen=True)
class Rows:
    """Results of some inputs: the table's rows, and the inputs' keys."""

    table: pyarrow.Table
    keys: list[str]


class Work(Protocol):
    """What a job does with its inputs.

    key: the column of inputs and results by which an input is known; results have a column `error` too; shards: parts
    of the inputs that are worked through by one process each; about: its inputs in a word; device: where it computes.
    """

    key: str
    shards: int
    about: str
    device: str

    def description(self) -> dict[str, Any]:
        """All that the results depend on, in plain values."""
        ...

    def units(self) -> list[str]:
        """What is spread over the shards by a process each; raises InputError where something isn't there."""
        ...

    def spread(self, unit: str) -> Iterator[pyarrow.Table]:
        """The inputs of a unit."""
        ...

    def prepare(self) -> Any:
        """What a process holds while it predicts, such as a predictor."""
        ...

    def predict(self, held: Any, inputs: Iterator[pyarrow.Table], done: set[str], job: "Job") -> Iterator[Rows]:
        """The results of a shard's inputs that aren't done, a few at a time."""
        ...


@dataclass(frozen=True)
class Job:
    """Work with the folder of its results."""

    work: Work
    folder: Folder

    def begin(self, *, overwrite: bool = False) -> "Job":
        """Prepare the folder; gives the job, with as many shards as it was begun with before.

        Raises InputError where another job's results are there.
        """
        ours = json.loads(json.dumps(self.work.description()))
        if overwrite:
            for name in (DESCRIPTION, PREDICTIONS, PICTURES):
                self.folder.remove(name)
        self.folder.remove(INPUTS)  # they are looked for again: some may be new
        if not self.folder.exists(PREDICTIONS):
            described = {"shards": self.work.shards, "job": ours}
            self.folder.write(DESCRIPTION, json.dumps(described, indent=1).encode())
            return self
        with self.folder.reading(DESCRIPTION) as file:
            described = json.load(file)
        for name, value in ours.items():
            if value != described["job"].get(name):
                raise InputError(
                    f"{self.folder.url}: results of a job with {name} {described['job'].get(name)}, not {value}, "
                    "expected another folder, or --overwrite"
                )
        return replace(self, work=replace(self.work, shards=described["shards"]))

    def spread(self, unit: str) -> int:
        """Write a unit's inputs into the shards that their keys belong to; gives how many there are."""
        count = 0
        with ExitStack() as files:
            writers: dict[int, parquet.ParquetWriter] = {}
            for table in _gathered(self.work.spread(unit)):
                count += len(table)
                for shard, rows in self._by_shard(table):
                    if shard not in writers:
                        name = f"{INPUTS}/{shard:05d}/{short_hash(unit)}.parquet"
                        file = files.enter_context(self.folder.writing(name))
                        writers[shard] = files.enter_context(parquet.ParquetWriter(file, table.schema))
                    writers[shard].write_table(rows)
        return count

    def shards(self) -> list[int]:
        """Those that hold inputs."""
        return sorted({int(name.split("/")[1]) for name in self.folder.names(INPUTS)})

    def work_through(self, shard: int, held: Any) -> dict[str, Any]:
        """Predict what isn't done of a shard, and write it; gives the number of its inputs and of those with an error.

        Called again after a crash, it goes on behind the last part, by the same steps: no input is there twice.
        """
        done = self.finished(shard)
        rows: list[Rows] = []
        for some in self.work.predict(held, self._inputs(shard), set(done), self):
            rows.append(some)
            if sum(len(each.keys) for each in rows) >= PART_INPUTS or sum(r.table.nbytes for r in rows) >= PART_BYTES:
                done |= self._write_part(shard, rows)
                rows = []
        if rows:
            done |= self._write_part(shard, rows)
        errors = [f"{key}: {error}" for key, error in done.items() if error is not None]
        return {"shard": shard, "inputs": len(done), "failed": len(errors), "errors": errors[:MESSAGES]}

    def finished(self, shard: int) -> dict[str, str | None]:
        """The error, or None, of each input of a shard whose result is in one of the written parts."""
        done: dict[str, str | None] = {}
        for name in self.folder.names(f"{PREDICTIONS}/{shard:05d}"):
            with self.folder.reading(name) as file:
                done |= self._errors(parquet.read_table(file, columns=[self.work.key, "error"]))
        return done

    def _errors(self, table: pyarrow.Table) -> dict[str, str | None]:
        keys = map(str, table[self.work.key].to_pylist())
        return dict(zip(keys, table["error"].to_pylist(), strict=True))

    def _write_part(self, shard: int, rows: list[Rows]) -> dict[str, str | None]:
        table = pyarrow.concat_tables([each.table for each in rows])
        name = f"{PREDICTIONS}/{shard:05d}/part-{short_hash(rows[0].keys[0])}.parquet"
        with self.folder.writing(name) as file:
            parquet.write_table(table, file)
        return self._errors(table)

    def _inputs(self, shard: int) -> Iterator[pyarrow.Table]:
        for name in self.folder.names(f"{INPUTS}/{shard:05d}"):
            with self.folder.reading(name) as file:
                yield parquet.read_table(file)

    def _by_shard(self, table: pyarrow.Table) -> Iterator[tuple[int, pyarrow.Table]]:
        keys = table[self.work.key].combine_chunks().dictionary_encode()
        codes = [zlib.crc32(str(key).encode()) % self.work.shards for key in keys.dictionary.to_pylist()]
        shards = np.array(codes)[keys.indices.to_numpy()]
        for shard in np.unique(shards):
            yield int(shard), table.filter(pyarrow.array(shards == shard))


def _gathered(tables: Iterator[pyarrow.Table]) -> Iterator[pyarrow.Table]:
    """The same rows in tables of a size that is worth to be spread."""
    held: list[pyarrow.Table] = []
    for table in tables:
        held.append(table)
        if sum(map(len, held)) >= SPREAD_ROWS:
            yield pyarrow.concat_tables(held)
            held = []
    if held:
        yield pyarrow.concat_tables(held)
