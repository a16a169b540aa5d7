"""`metamixer forecast` for a table that is read in parts."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..system.files import plain_cell, written_whole

if TYPE_CHECKING:
    import pandas

    from ..predictors.forecaster import Forecaster


def forecast_parts(forecaster: "Forecaster", source: Path, out: Path, *, missing_values: Sequence[float]) -> int:
    """Write the forecasts of a long table, series by series, and return the number of rows.

    Raises InputError for the first series that can't be forecast; nothing is written then.
    """
    from ..data.series.parts import parts_of

    rows = 0
    with written_whole(out) as part, part.open("w", encoding="utf-8", newline="") as file:
        for table in forecaster.stream(parts_of(source, missing_values=missing_values)):
            failed = table[table["error"].notna()]
            if len(failed):
                name, error = failed.iloc[0][["unique_id", "error"]]
                raise InputError(f"series {name!r}: {error}; --engine local forecasts the others")
            plain_table(table.drop(columns="error")).to_csv(file, index=False, header=rows == 0, lineterminator="\n")
            rows += len(table)
    return rows


def plain_table(table: "pandas.DataFrame") -> "pandas.DataFrame":
    """The same without names that a spreadsheet takes for formulas."""
    texts = [name for name in table.columns if not hasattr(table[name], "dt") and table[name].dtype.kind not in "iufM"]
    return table.assign(**{name: table[name].map(plain_cell) for name in texts}).rename(columns=plain_cell)
