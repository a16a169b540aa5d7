"""Formats of text tables: what no text table is, its separator of columns, and pandas' options to read it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ...errors import InputError

SEPARATORS = (",", ";", "\t", "|")
"""Separators of columns; the first wins a tie."""

EXCEL = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""How .xlsx and .xls files begin."""

PARQUET = b"PAR1"
"""How Parquet files begin."""

UTF_16 = (b"\xff\xfe", b"\xfe\xff")
"""How text files in UTF-16 begin."""

MISSING = [
    *("", "NA", "N/A", "n/a", "<NA>", "#NA", "#N/A", "#N/A N/A", "NaN", "nan", "-NaN", "-nan", "NULL", "null"),
    *("None", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
]
"""What stands for no value in text tables: pandas' own list."""

SAMPLE = 2**16
"""Bytes of a text table that show its separator."""

IDENTIFIER, VALUE = "unique_id", "y"
"""The columns of a long table that hold the series of a row and its value."""


def is_parquet(path: Path) -> bool:
    """Whether a file is Parquet, by its name or its first bytes."""
    if path.suffix == ".parquet":
        return True
    with path.open("rb") as file:
        return file.read(len(PARQUET)) == PARQUET


def expect_text(name: object, sample: bytes) -> None:
    """Raise InputError for a file that begins as no CSV file does."""
    if sample.startswith(EXCEL):
        raise InputError(f"{name}: an Excel file, expected CSV or Parquet: save it as CSV first")
    if sample.startswith(UTF_16):
        raise InputError(f"{name}: text in UTF-16, expected UTF-8: save it as CSV UTF-8 first")
    if sample.startswith(PARQUET):
        raise InputError(f"{name}: a Parquet file, expected a name that ends in .parquet")
    if b"\0" in sample.partition(b"\n")[0]:
        raise InputError(f"{name}: a binary file, expected CSV or Parquet")


def separator_of(sample: bytes) -> str:
    """The separator of columns, which the first line has most of."""
    header = sample.partition(b"\n")[0]
    return max(SEPARATORS, key=lambda mark: header.count(mark.encode()))


def csv_options(separator: str, columns: Iterable[str]) -> dict[str, Any]:
    """Options of pandas.read_csv for a table with these columns; a series may be named NA or None."""
    how = {"sep": separator, "encoding_errors": "replace", "dtype": {IDENTIFIER: str}}
    if IDENTIFIER not in columns:
        return how
    return how | {"keep_default_na": False, "na_values": {**dict.fromkeys(columns, MISSING), IDENTIFIER: [""]}}
