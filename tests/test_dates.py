"""Dates of tables: formats, the order of day and month, time zones, and what is no date."""

import re

import numpy as np
import pandas
import pytest

from metamixer.data.series.dates import Dates
from metamixer.data.series.frames import read_frame
from metamixer.data.series.tables import read_table
from metamixer.errors import InputError, InputWarning


@pytest.mark.parametrize(
    ("format", "frequency"),
    [
        ("%d.%m.%Y", "D"),
        ("%d.%m.%Y", "MS"),
        ("%d.%m.%Y 00:00", "D"),
        ("%d/%m/%Y", "D"),
        ("%d/%m/%y", "D"),
        ("%d.%m.%y", "D"),
        ("%m/%d/%YT%H:%M", "D"),
        ("%d/%m/%Y", "MS"),
        ("%d-%m-%Y", "W-SUN"),
        ("%m/%d/%Y", "D"),
        ("%m/%d/%Y", "MS"),
        ("%m/%d/%Y", "ME"),
        ("%Y/%m/%d", "MS"),
    ],
)
def test_day_and_month_in_either_order(format, frequency):
    dates = pandas.Series(pandas.date_range("2023-01-01", periods=40, freq=frequency))
    read = Dates.of(dates.dt.strftime(format), "date")
    np.testing.assert_array_equal(read.times.astype("datetime64[ns]"), dates.to_numpy().astype("datetime64[ns]"))


@pytest.mark.parametrize("start", ["2024-03-29", "2024-10-25"], ids=["spring", "autumn"])
@pytest.mark.parametrize("hours", [3, 6, 12])
def test_steps_of_hours_are_local_where_they_vary_in_utc(start, hours):
    local = pandas.date_range(start, periods=12 * 24 // hours, freq=f"{hours}h")
    dates = pandas.Series(local.tz_localize("Europe/Berlin"))
    for column in (dates, dates.map(pandas.Timestamp.isoformat)):
        read = Dates.of(column, "date")
        assert read.times.tolist() == local.as_unit("us").to_numpy().tolist()
        assert (read.zone, read.local) == (("Europe/Berlin", True) if column is dates else (None, False))
    utc = pandas.Series(pandas.date_range(start, periods=60, freq=f"{hours}h", tz="UTC").tz_convert("Europe/Berlin"))
    assert not Dates.of(utc, "date").local


@pytest.mark.parametrize("format", ["%d/%m/%Y", "%m/%d/%Y"])
@pytest.mark.parametrize(
    ("start", "rows", "frequency"),
    [("2024-01-01", 100, "h"), ("2024-03-01", 12, "D"), ("2023-10-01", 11, "D"), ("2020-01-01", 9, "QS")],
)
def test_regular_dates_tell_the_order_of_day_and_month(start, rows, frequency, format, recwarn):
    dates = pandas.date_range(start, periods=rows, freq=frequency)
    read = Dates.of(pandas.Series(dates.strftime(f"{format} %H:%M")), "date")
    assert read.times.tolist() == dates.as_unit("us").to_numpy().tolist()
    assert not recwarn.list


def test_dates_that_are_regular_in_both_orders_come_with_a_warning():
    days = pandas.Series(pandas.date_range("2024-01-01", periods=10).strftime("%m/%d/%Y"))
    with pytest.warns(InputWarning, match="column 'ds': 01/02/2024 read as 2024-02-01, not as 2024-01-02; expected"):
        assert Dates.of(days, "ds").times[-1] == np.datetime64("2024-10-01")


@pytest.mark.parametrize("format", ["%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M"])
def test_hours_with_a_gap_are_of_few_days(format):
    hours = pandas.date_range("2024-01-01", periods=100, freq="h").delete([30, 60])
    with pytest.warns(InputWarning, match="read as 2024-01-02 00:00, not as 2024-02-01 00:00"):
        assert Dates.of(pandas.Series(hours.strftime(format)), "ds").times[-1] == hours[-1]


@pytest.mark.parametrize("text", ["00:00", "00:00:00.1234", "12:00+0100", "Jan-24", "24-Jan", "1 January", "5"])
def test_a_date_without_a_year_is_refused(text, recwarn):
    with pytest.raises(InputError, match=f"column 'date', row 2: '{re.escape(text)}', expected a date such as 2016"):
        Dates.of(pandas.Series(["2024-01-01", text]), "date")
    with pytest.raises(InputError, match=f"column 'date', row 1: '{re.escape(text)}', expected a date such as 2016"):
        Dates.of(pandas.Series([text, text]), "date")
    assert not recwarn.list


@pytest.mark.parametrize("format", ["%b-%y", "%b %Y", "%B %Y", "%b-%Y", "%YQ"])
def test_months_are_read_without_a_warning(format, recwarn):
    dates = pandas.Series(pandas.date_range("2019-01-01", periods=20, freq="QS" if "Q" in format else "MS"))
    text = dates.dt.strftime(format) + (dates.dt.quarter.astype(str) if "Q" in format else "")
    assert Dates.of(text, "date").times.tolist() == dates.astype("datetime64[us]").to_numpy().tolist()
    assert not recwarn.list


@pytest.mark.parametrize("dtype", [int, float, "Int64", "int64[pyarrow]"])
def test_years_and_days_are_read_from_numbers(dtype):
    pytest.importorskip("pyarrow")
    for dates, format in (("2019-01-01", "YS"), "%Y"), (("2023-12-30", "D"), "%Y%m%d"):
        days = pandas.date_range(dates[0], periods=5, freq=dates[1], unit="us")
        numbers = pandas.Series(days.strftime(format)).astype(int).astype(dtype)
        assert Dates.of(numbers, "date").times.tolist() == days.to_numpy().tolist()
        with pytest.raises(InputError, match="row 2: no value, expected a date"):
            Dates.of(numbers.where(numbers != numbers[1]), "date")


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ([2016, 2017, 17], "row 3: 17, expected a date such as 2016-07-01 00:00$"),
        ([20160101, 20161301], "row 2: 20161301, expected a date such as 2016-07-01 00:00$"),
        ([20160101.5], "row 1: 20160101.5, expected a date"),
        (
            [1700000000, 1700003600],
            "row 1: 1700000000, expected a date such as 2016-07-01 00:00, not seconds since 1970",
        ),
        ([np.nan, np.nan], "row 1: no value, expected a date"),
    ],
)
def test_other_numbers_are_no_dates(numbers, message):
    with pytest.raises(InputError, match=message):
        Dates.of(pandas.Series(numbers), "date")


def test_periods_are_dates(tmp_path):
    pytest.importorskip("pyarrow")
    months = pandas.period_range("2024-01", periods=9, freq="M")
    pandas.DataFrame({"load": 1.0}, index=months).to_parquet(tmp_path / "index.parquet")
    pandas.DataFrame({"date": months, "load": 1.0}).to_parquet(tmp_path / "column.parquet")
    for name in ("index", "column"):
        series, _ = read_frame(read_table(tmp_path / f"{name}.parquet"))
        assert series.times[-1] == np.datetime64("2024-09-01")


def test_days_of_one_month_are_no_years():
    with pytest.raises(InputError, match="row 1: 'Jan-01', expected a date such as"):
        Dates.of(pandas.Series([f"Jan-{day:02}" for day in range(1, 32)]), "date")


def test_a_row_without_a_date_is_named():
    with pytest.raises(InputError, match=r"column 'date', row 2: no value, expected a date such as 2016"):
        Dates.of(pandas.Series(["2024-01-01", None]), "date")


def test_the_first_bad_date_is_named_in_every_order():
    with pytest.raises(InputError, match="column 'date', row 3: 'soon', expected a date"):
        Dates.of(pandas.Series(["30/01/2023", "31/01/2023", "soon"]), "date")
    with pytest.raises(InputError, match="column 'date', row 1: '12/31/23', expected a date"):
        Dates.of(pandas.Series(["12/31/23", "13/01/23"]), "date")
