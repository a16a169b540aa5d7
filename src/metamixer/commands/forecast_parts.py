"""`metamixer forecast` for a table that is read in parts."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError, naming
from ..system.files import plain_table, written_whole
from .progress import working

if TYPE_CHECKING:
    from ..data.series.large import LargeTable
    from ..predictors.forecasting.forecaster import Forecaster


def forecast_parts(forecaster: "Forecaster", source: Path, out: Path, *, missing_values: Sequence[float]) -> int:
    """Write the forecasts of a large table, a few series at a time, and return the number of rows; 0 for other tables.

    Raises InputError for the first series that can't be forecast; nothing is written then.
    """
    from ..data.series.large import LargeTable

    with naming(source):
        table = LargeTable.find(source, missing_values=missing_values)
        return 0 if table is None else write_parts(forecaster, table, out)


def write_parts(forecaster: "Forecaster", table: "LargeTable", out: Path) -> int:
    """Write the forecasts of each part of a table, and return the number of rows."""
    from ..predictors.forecasting.streaming import forecast_large

    rows = 0
    with working("forecasting") as show, written_whole(out) as part, part.open("w", encoding="utf-8") as file:
        try:
            for found in forecast_large(forecaster, table):
                plain_table(found).to_csv(file, index=False, header=rows == 0, lineterminator="\n")
                rows += len(found)
                show(rows, table.count * forecaster.horizon)
        except InputError as error:
            others = "; --engine local forecasts the other series" if table.count > 1 else ""
            raise InputError(f"{error}{others}") from None
    return rows
