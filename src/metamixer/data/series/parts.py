"""Large long tables, a part at a time: memory doesn't grow with the table."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...errors import InputError, first_line
from .dates import import_pandas
from .frames import LONG
from .tables import SAMPLE, separators_of

if TYPE_CHECKING:
    import pandas

LARGE = 64 * 2**20
"""Size in bytes from which a table is read in parts."""

ROWS = 100_000
"""Rows of a part."""

IDENTIFIER, TIME, _ = LONG


def comes_in_parts(path: Path, large: int | None = None) -> bool:
    """Whether a table is large and long, and its series, forecast one by one, have the forecast of the whole table.

    They do if the rows of each are together and all end at the same date. Only CSV that isn't packed. large: size in
    bytes from which a table is large, `LARGE` by default.
    """
    if path.suffix in (".parquet", ".gz") or path.stat().st_size < (LARGE if large is None else large):
        return False
    with path.open("rb") as file:
        header = file.read(SAMPLE).partition(b"\n")[0]
    separator = _how(path)["sep"]
    names = header.decode("utf-8-sig", errors="replace").replace('"', "").strip().split(separator)
    return all(names.count(name) == 1 for name in LONG) and _are_together(path)


def parts_of(
    path: Path, *, columns: Sequence[str] = LONG, missing_values: Sequence[float] = ()
) -> "Iterator[pandas.DataFrame]":
    """These columns of a long CSV, `ROWS` rows at a time; missing_values: numbers that mark missing values."""
    types = {IDENTIFIER: str}
    try:
        with import_pandas().read_csv(
            path, usecols=list(columns), dtype=types, chunksize=ROWS, encoding_errors="replace", **_how(path)
        ) as parts:
            for part in parts:
                yield part.replace(list(missing_values), np.nan) if missing_values else part
    except Exception as error:  # pandas raises errors of its own
        raise InputError(f"{path}: not a readable table ({first_line(error)})") from None


def _how(path: Path) -> dict[str, str]:
    """The separators of a table, as keywords of pandas."""
    with path.open("rb") as file:
        separator, decimal = separators_of(file.read(SAMPLE))
    return {"sep": separator, "decimal": decimal}


def _are_together(path: Path) -> bool:
    """Whether the rows of each series are together, and all series have the same last date."""
    seen: set[int] = set()
    name, date, last = None, None, None
    for part in parts_of(path, columns=(IDENTIFIER, TIME)):
        if part[IDENTIFIER].isna().any():
            return False
        names, dates = part[IDENTIFIER].to_numpy(object), part[TIME].to_numpy(object)
        for row in [*np.flatnonzero(names[1:] != names[:-1]).tolist(), len(names) - 1]:
            begins = names[row] != name
            if begins and name is not None:
                if last not in (None, date):
                    return False
                last = date
            if begins and hash(names[row]) in seen:
                return False
            seen.add(hash(names[row]))
            name, date = names[row], dates[row]
    return last in (None, date)
