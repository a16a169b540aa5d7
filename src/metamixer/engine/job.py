"""A job: inputs spread over shards, and each shard's results in parts, so that it goes on where it was stopped."""

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pyarrow
import pyarrow.parquet as parquet

from ..errors import InputError
from ..system.locks import held
from .folder import Folder
from .shard import ATTEMPTS, INPUTS, PICTURES, PREDICTIONS, Rows, Shard
from .sources import short_hash

DESCRIPTION = "job.json"
FOLDERS = (INPUTS, ATTEMPTS, PREDICTIONS, PICTURES)
"""What a job writes into its folder."""

MOST_SHARDS = 100_000
"""That a job's description may name."""

SPREAD_ROWS = 100_000
"""Rows that are held in memory until they are spread over the shards."""


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

    def predict(self, held: Any, shard: Shard) -> Iterator[Rows]:
        """The results of a shard's inputs that aren't done, a few at a time."""
        ...


@dataclass(frozen=True)
class Job:
    """Work with the folder of its results."""

    work: Work
    folder: Folder

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the folder against other jobs; raises InputError while another holds it. Object stores have no locks."""
        self._description()  # a folder of other files stays as it is
        local = self.folder.local
        with nullcontext() if local is None else held(local, use=("works", "job")):
            yield

    def begin(self, *, overwrite: bool = False) -> "Job":
        """Prepare the folder; gives the job, with as many shards as it was begun with before.

        Raises InputError where other files or another job's results are in the folder; they stay as they are.
        """
        ours = json.loads(json.dumps(self.work.description()))
        before = self._description()
        if before is None or overwrite or not self.folder.exists(PREDICTIONS):
            self._remove(FOLDERS)
            self.folder.write(DESCRIPTION, json.dumps({"shards": self.work.shards, "job": ours}, indent=1).encode())
            return self
        self._expect_same(ours, before["job"])
        self._remove((INPUTS, ATTEMPTS))  # inputs are looked for again: some may be new
        return replace(self, work=replace(self.work, shards=before["shards"]))

    def end(self) -> None:
        """Remove what only the job needs: the inputs are a copy of a long table."""
        self._remove((INPUTS, ATTEMPTS))

    def _remove(self, names: Sequence[str]) -> None:
        for name in names:
            self.folder.remove(name)

    def _description(self) -> dict[str, Any] | None:
        """What the folder says of its job, None where it holds none."""
        if not self.folder.exists(DESCRIPTION):
            foreign = next((name for name in FOLDERS if self.folder.exists(name)), None)
            if foreign:
                raise InputError(f"{self.folder.url}: holds {foreign!r} of no job, expected another folder")
            return None
        with self.folder.reading(DESCRIPTION) as file:
            try:
                found = json.load(file)
                shards, job = found["shards"], dict(found["job"])
                if not 1 <= shards <= MOST_SHARDS:
                    raise ValueError
                return {"shards": int(shards), "job": job}
            except (ValueError, KeyError, TypeError, RecursionError):
                raise InputError(f"{self.folder.url}: {DESCRIPTION} of no job, expected another folder") from None

    def _expect_same(self, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
        for name, value in ours.items():
            if value != theirs.get(name):
                raise InputError(
                    f"{self.folder.url}: results of a job with {name} {theirs.get(name)}, not {value}, "
                    "expected another folder, or --overwrite"
                )

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

    def work_through(self, number: int, held: Any) -> dict[str, Any]:
        """Predict what isn't done of a shard, and write it; gives the number of its inputs and of those with an error.

        Called again after a crash, it goes on behind the last part, by the same steps: no input is there twice.
        """
        shard = Shard.begin(self.folder, number, self.work.key)
        shard.write(self.work.predict(held, shard))
        return shard.end()

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
