"""Files of long tables, read some rows at a time."""

import gzip
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from .dates import import_pandas, own_dates
from .decimals import Numbers
from .frames import LONG
from .tables import readable, refuse_declared, refuse_unpacked
from .text import SAMPLE, csv_options, is_parquet, separator_of

if TYPE_CHECKING:
    import pandas
    from pyarrow.parquet import ParquetFile

ROWS = 100_000
"""Rows of a part."""

GZIP_SIZE = 4
"""Bytes at the end of a gzip file that hold the size of its content, modulo 2^32."""

IDENTIFIER, TIME, VALUE = LONG


@dataclass(frozen=True)
class TextFile:
    """A CSV file, which may be gzipped."""

    path: Path

    @property
    def packed(self) -> bool:
        return self.path.suffix == ".gz"

    @property
    def size(self) -> int:
        """Bytes of the content, as a packed file declares them."""
        size = self.path.stat().st_size
        if not self.packed or size < GZIP_SIZE:
            return size
        with self.path.open("rb") as file:
            file.seek(-GZIP_SIZE, io.SEEK_END)
            return max(size, int.from_bytes(file.read(), "little"))

    def columns(self) -> list[str]:
        """The names in the first line."""
        with self._content() as file:
            header = file.read(SAMPLE).partition(b"\n")[0]
        return header.decode("utf-8-sig", errors="replace").replace('"', "").strip().split(separator_of(header))

    def parts(self, columns: Sequence[str]) -> "Iterator[pandas.DataFrame]":
        """These columns, `ROWS` rows at a time; names of series are text."""
        with self._content() as file:
            separator = separator_of(file.read(SAMPLE))
        numbers = None if separator == "," or VALUE not in columns else Numbers(VALUE)
        how = csv_options(separator, columns)
        how["dtype"] |= {VALUE: str} if numbers else {}
        with (
            self._content() as file,
            import_pandas().read_csv(file, usecols=list(columns), chunksize=ROWS, **how) as parts,
        ):
            for part in parts:
                yield part.assign(**{VALUE: numbers.read(part[VALUE])}) if numbers else part

    def _content(self) -> IO[bytes]:
        return io.BufferedReader(Unpacked(self.path)) if self.packed else self.path.open("rb")


class Unpacked(io.RawIOBase):
    """The content of a gzip file; raises InputError beyond a limit."""

    def __init__(self, path: Path):
        self.path, self.count = path, 0
        self.file = gzip.open(path)  # noqa: SIM115  closed by close()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self.file.readinto(buffer)
        self.count += count
        refuse_unpacked(self.path, self.count)
        return count

    def close(self) -> None:
        self.file.close()
        super().close()


@dataclass(frozen=True)
class ParquetTable:
    """A Parquet file whose row groups have a usual size in memory."""

    path: Path

    @property
    def size(self) -> int:
        """Bytes before compression, as the metadata declares them."""
        with self._opened() as file:
            groups = range(file.num_row_groups)
            stored = sum(file.metadata.row_group(group).total_byte_size for group in groups)
            return max(8 * len(LONG) * file.metadata.num_rows, stored)

    def columns(self) -> list[str]:
        with self._opened() as file:
            return file.schema_arrow.names

    def parts(self, columns: Sequence[str]) -> "Iterator[pandas.DataFrame]":
        """These columns, at most `ROWS` rows at a time."""
        first = 0
        with self._opened() as file:
            for group in range(file.num_row_groups):
                about = file.metadata.row_group(group)
                refuse_declared(self.path, rows=about.num_rows, columns=len(LONG), stored=about.total_byte_size)
            for batch in file.iter_batches(ROWS, columns=list(columns)):
                part = batch.to_pandas(ignore_metadata=True)  # which may put a column into the index
                part.index = import_pandas().RangeIndex(first, first + len(part))
                first += len(part)
                kinds = {name: part[name].dtype for name in columns}
                texts = {name: kind.categories.dtype for name, kind in kinds.items() if hasattr(kind, "categories")}
                part = part.astype(texts)[list(columns)]
                yield part.assign(**{TIME: own_dates(part[TIME])})

    def _opened(self) -> "ParquetFile":
        from pyarrow.parquet import ParquetFile

        return ParquetFile(self.path)


def table_file(path: Path) -> TextFile | ParquetTable:
    """The file, by its name or its first bytes."""
    return ParquetTable(path) if is_parquet(path) else TextFile(path)


def parts_of(path: Path, columns: Sequence[str] = LONG) -> "Iterator[pandas.DataFrame]":
    """These columns of a long table, at most `ROWS` rows at a time; the index numbers the rows.

    Raises InputError for a file that can't be read.
    """
    with readable(path):
        yield from table_file(path).parts(columns)
