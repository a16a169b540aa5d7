"""Tables in any accepted form: a path, a URL, a pandas or polars table, a folder, or a list of these."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...system.files import files_below
from ...system.web import fetched, is_url
from ..given import each_of
from .tables import read_table

SUFFIXES = (".csv", ".gz", ".parquet")
"""Suffixes of the files in a folder that are read as tables."""


@dataclass(frozen=True)
class NamedTable:
    """A pandas or polars table and its name in messages and results."""

    frame: Any
    name: str = "table"


def tables_of(given: Any) -> NamedTable | list[NamedTable]:
    """A table; a list of them for a folder or several inputs. Raises InputError for other types."""
    if isinstance(given, str | os.PathLike):
        return _named(str(given))
    if hasattr(given, "columns") or hasattr(given, "shape"):  # an array has no dates, as `read_frame` will say
        return NamedTable(given)
    if isinstance(given, Mapping):  # of columns; its keys would be taken for paths
        raise InputError(f"table of type {type(given).__name__}, expected a pandas or polars DataFrame")
    return each_of(given, tables_of, what="table", expected="a path, a URL, a pandas or polars table with dates")


def _named(given: str) -> NamedTable | list[NamedTable]:
    if is_url(given):
        with fetched(given) as path:
            return NamedTable(read_table(path), given)
    if not Path(given).is_dir():
        return NamedTable(read_table(given), given)
    paths = files_below(given, SUFFIXES)
    if not paths:
        raise InputError(f"{given}: no tables in this folder, expected files such as *.csv or *.parquet")
    return [NamedTable(read_table(path), str(path)) for path in paths]
