"""Forecasts of very many series: `Forecaster.stream` reads a few tables at a time."""

import numpy as np
import pandas
import pytest

from metamixer import Forecaster
from metamixer.data.series import large
from metamixer.errors import InputError


def series(name, rows=40, start="2024-01-01"):
    values = np.random.default_rng(len(str(name))).normal(size=rows).cumsum()
    return pandas.DataFrame({"unique_id": name, "ds": pandas.date_range(start, periods=rows), "y": values})


@pytest.fixture
def forecaster():
    return Forecaster(3, levels=(80,))


def test_each_series_is_forecast_as_alone_whatever_the_parts(forecaster, monkeypatch):
    monkeypatch.setattr(large, "GATHERED", 50)
    tables = [series("a"), series("bb", 33), series("ccc", start="2023-05-01")]
    table = pandas.concat(tables, ignore_index=True)
    parts = [table.iloc[start : start + 13] for start in range(0, len(table), 13)]
    found = pandas.concat(forecaster.stream(parts), ignore_index=True)
    assert found["error"].isna().all()
    for one in tables:
        expected = forecaster.predict(one)
        forecast = found[found["unique_id"] == one["unique_id"].iloc[0]].reset_index(drop=True)
        assert forecast["ds"].tolist() == expected["ds"].tolist()
        columns = ["ffnet_ts_zero", "ffnet_ts_zero-lo-80", "ffnet_ts_zero-hi-80"]
        np.testing.assert_allclose(forecast[columns], expected[columns], rtol=1e-4, atol=1e-4)


def test_tables_are_read_only_when_they_are_needed(forecaster, monkeypatch):
    """An endless stream: what is held doesn't grow with the series that were forecast."""
    monkeypatch.setattr(large, "GATHERED", 200)
    read, rows = 0, 40

    def endless():
        nonlocal read
        while True:
            read += 1
            yield series(f"{read:05d}", rows)

    forecast = 0
    for table in forecaster.stream(endless()):
        forecast += table["unique_id"].nunique()
        assert read - forecast <= large.GATHERED / rows + 1
        if forecast >= 12:
            break


def test_a_series_that_cant_be_forecast_costs_no_other(forecaster):
    empty = series("empty").assign(y=np.nan)
    found = pandas.concat(forecaster.stream([series("a"), empty, series("b").iloc[:1]]), ignore_index=True)
    errors = found.dropna(subset="error").set_index("unique_id")["error"]
    assert "no value, expected numbers" in errors["empty"]
    assert "at least 3" in errors["b"]
    assert found[found["error"].isna()]["unique_id"].tolist() == ["a"] * 3


def written(table, form="%d/%m/%Y"):
    return table.assign(ds=table["ds"].dt.strftime(form))


@pytest.mark.parametrize("kind", [str, "category"])
def test_a_date_of_one_reading_decides_for_all_tables(forecaster, kind):
    """The later series has days below the 13th only, whose group alone would read them as months."""
    tables = [written(series("a")), written(series("b", 12))]
    found = pandas.concat(forecaster.stream(table.astype({"ds": kind}) for table in tables), ignore_index=True)
    assert found[found["unique_id"] == "b"]["ds"].tolist() == list(pandas.date_range("2024-01-13", periods=3))


def test_a_wrong_date_in_a_stream_is_quoted_as_it_stands(forecaster):
    table = written(series("a"))
    table.loc[3, "ds"] = "31/02/2024"
    unreadable = written(series("b"), "%Y-%m-%d")
    unreadable.loc[3, "ds"] = "45/45/2024"
    for first, wrong in ((table, "31/02/2024"), (unreadable, "45/45/2024")):
        (found,) = forecaster.stream([first])
        assert found["error"].item() == f"column 'ds', row 4: '{wrong}', expected a date such as 2016-07-01 00:00"


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ([written(series("a", 12))], "table 1: column 'ds': 01/01/2024 fits both orders of day and month"),
        (
            [written(series("a")), written(series("b"), "%m/%d/%Y")],
            "table 2: column 'ds': 13/01/2024 and 01/13/2024, expected the day before the month in all dates",
        ),
        ([series("a").rename(columns={"y": "sales"})], "table 1: no column 'y', expected unique_id, ds, y"),
        ([series("a"), 7], "table 2 of type int, expected a pandas DataFrame"),
        ([series(None)], "table 1, column 'unique_id', row 1: no value"),
        ([series("a"), series("b"), series("a")], "series 'a': rows of other series between its own"),
    ],
)
def test_one_clear_line(forecaster, tables, message):
    with pytest.raises(InputError, match=message) as error:
        list(forecaster.stream(tables))
    assert "\n" not in str(error.value)


def test_no_table_is_no_forecast(forecaster):
    assert list(forecaster.stream([])) == []
