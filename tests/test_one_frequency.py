"""A long table has one frequency: what is refused, and which gaps are none."""

import numpy as np
import pandas
import pytest

from metamixer.data.series.frames import read_frame
from metamixer.errors import InputError


def of_dates(name, start, rows, frequency):
    return pandas.DataFrame(
        {"unique_id": name, "ds": pandas.date_range(start, periods=rows, freq=frequency), "y": np.arange(float(rows))}
    )


MONTHS, DAYS = of_dates("months", "2014-01-01", 120, "MS"), of_dates("days", "2024-01-01", 300, "D")


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (
            [MONTHS, of_dates("quarters", "2014-01-01", 40, "QS")],
            "series 'quarters': dates 2014-01-01, 2014-04-01, 2014-07-01, ..., expected the table's frequency, "
            "2014-01-01, 2014-02-01, 2014-03-01, ...: forecast each series at its own with --engine local",
        ),
        ([MONTHS, of_dates("quarters", "2014-01-01", 40, "QS").drop(index=[5, 6, 20])], "series 'quarters': dates"),
        ([DAYS, of_dates("months", "2024-01-01", 9, "ME")], "series 'months': dates 2024-01-31, 2024-02-29"),
        ([DAYS, of_dates("noon", "2024-01-01 12:00", 300, "D")], "series 'days': dates 2024-01-01, 2024-01-02"),
        ([DAYS, of_dates("hours", "2024-01-05", 720, "h")], "series 'days': dates"),
        ([of_dates("months", "2022-01-01", 31, "MS"), DAYS, DAYS.assign(unique_id="others")], "series 'days': dates"),
        (
            [of_dates("a", "2024-01-01", 30, "W-MON"), of_dates("b", "2024-01-07", 30, "W-SUN")],
            "series 'a': dates 2024-01-01, 2024-01-08, 2024-01-15, ...; series 'b': dates 2024-01-07, 2024-01-14, "
            "2024-01-21, ..., expected one frequency: forecast each series at its own with --engine local",
        ),
    ],
)
def test_a_long_table_has_one_frequency(tables, message):
    """The quarters were forecast as months, without a warning."""
    with pytest.raises(InputError, match=message):
        read_frame(pandas.concat(tables, ignore_index=True))


@pytest.mark.parametrize(
    "other",
    [
        of_dates("work days", "2024-01-01", 100, "B"),
        of_dates("few", "2024-01-01", 7, "MS"),
        DAYS.sample(20, random_state=0).assign(unique_id="rarely"),
        of_dates("empty", "2024-01-01", 300, "D").assign(y=lambda table: table["y"].where(table.index % 7 < 1)),
    ],
    ids=lambda table: table["unique_id"].iloc[0],
)
def test_dates_may_be_missing_in_a_long_table(other):
    series, _ = read_frame(pandas.concat([DAYS, other], ignore_index=True))
    assert len(series) == 300 and len(series.names) == 2
