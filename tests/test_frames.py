"""Tables of pandas and polars in every layout: reading, filling, messages and writing."""

import numpy as np
import pandas
import polars
import pytest

from metamixer.data.series.dates import time_column, to_zone, utc_dates
from metamixer.data.series.frames import last_window, read_frame, refuse_constant, same_variables, write_frame
from metamixer.data.series.frequency import Frequency
from metamixer.data.series.missing import (
    fill_missing,
    refuse_missing,
    refuse_unmeasured,
    warn_of_missing,
    warn_of_sentinels,
)
from metamixer.data.series.tables import Series, read_table, to_series
from metamixer.errors import InputError
from tables import NAMES, changed, to_long, wide


def polars_of(table, zone=None):
    """The same table in polars, with dates in a time zone."""
    frame = polars.DataFrame({name: table[name].to_list() for name in table})
    return frame.with_columns(polars.col("date").dt.convert_time_zone(zone)) if zone else frame


class TestFrames:
    @pytest.mark.parametrize("library", ["pandas", "polars"])
    @pytest.mark.parametrize("long", [False, True])
    def test_reads_and_writes_every_layout(self, library, long):
        table = to_long(wide()) if long else wide()
        frame = polars_of(table) if library == "polars" else table
        series, layout = read_frame(frame)
        assert (layout.library, layout.long, layout.time) == (library, long, "ds" if long else "date")
        expected = to_series(wide())
        order = [expected.names.index(name) for name in series.names]
        np.testing.assert_allclose(series.values, expected.values[:, order])
        assert np.array_equal(series.times, expected.times)
        written = write_frame(series.times, {"": series.values}, series.names, layout)
        assert type(written).__module__.split(".")[0] == library
        if long:
            written = (
                written.rename({"ffnet_ts": "y"}) if library == "polars" else written.rename(columns={"ffnet_ts": "y"})
            )
        np.testing.assert_allclose(read_frame(written)[0].values, series.values)

    @pytest.mark.parametrize("library", ["pandas", "polars"])
    @pytest.mark.parametrize("frequency", ["h", "D"])
    def test_time_zones_come_back(self, library, frequency):
        table = wide(rows=60, frequency=frequency, start="2024-03-01")
        table["date"] = (
            table["date"].dt.tz_localize("Europe/Berlin" if frequency == "D" else "UTC").dt.tz_convert("Europe/Berlin")
        )
        frame = polars_of(table, zone="Europe/Berlin") if library == "polars" else table
        series, layout = read_frame(frame)
        assert (layout.zone, layout.local) == ("Europe/Berlin", frequency == "D")
        written = write_frame(series.times, {"": series.values}, series.names, layout)
        assert written["date"].to_list() == frame["date"].to_list()
        assert written["date"].dtype == frame["date"].dtype

    def test_text_in_utc_comes_back_in_utc(self):
        table = wide(rows=60)
        series, layout = read_frame(table.assign(date=table["date"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")))
        written = write_frame(series.times, {"": series.values}, series.names, layout)
        assert written["date"].tolist() == table["date"].dt.tz_localize("UTC").tolist()

    def test_polars_dates_come_back_as_dates(self):
        table = wide(rows=60, frequency="D", start="2024-03-01")
        frame = polars_of(table).with_columns(polars.col("date").cast(polars.Date))
        series, layout = read_frame(frame)
        written = write_frame(series.times, {"": series.values}, series.names, layout)
        assert written["date"].dtype == polars.Date
        assert written["date"].equals(frame["date"])

    def test_several_values_in_a_row_of_polars_are_refused(self):
        table = polars.DataFrame({"date": ["2024-01-01"], "load": [{"low": 1.0, "high": 2.0}]})
        with pytest.raises(InputError, match=r"column 'load' of type Struct.*, expected one value in a row"):
            read_frame(table)

    @pytest.mark.parametrize("library", ["pandas", "polars"])
    def test_numbers_that_name_series_come_back_as_numbers(self, library):
        table = to_long(wide(rows=60))
        table["unique_id"] = table["unique_id"].map({"load": 3, "wind": 20, "price": 100})
        frame = polars_of(table) if library == "polars" else table
        series, layout = read_frame(frame)
        written = write_frame(series.times, {"": series.values}, series.names, layout)
        assert written["unique_id"].dtype == frame["unique_id"].dtype
        assert set(written["unique_id"].to_list()) == {3, 20, 100}

    def test_a_long_table_repeats_no_date(self):
        table = to_long(wide())
        table.loc[300, "ds"] = table.loc[301, "ds"]
        with pytest.raises(InputError, match=r"column 'ds', row 302: series 'wind' has 2020-02-01 15:00:00 twice"):
            read_frame(table)

    @pytest.mark.parametrize("frame", [np.zeros((3, 2)), "table.csv", None])
    def test_refuses_what_is_no_table(self, frame):
        with pytest.raises(InputError, match="expected a pandas or polars DataFrame"):
            read_frame(frame)

    def test_refuses_names_of_several_levels(self):
        table = wide().set_index("date")
        table.columns = pandas.MultiIndex.from_product([["north"], NAMES])
        with pytest.raises(InputError, match="table with 2 levels of column names, expected one level"):
            read_frame(table)

    @pytest.mark.parametrize(
        ("change", "columns"),
        [
            (lambda table: table.set_index(pandas.DatetimeIndex(table["date"])), NAMES),
            (lambda table: table.set_index("date", drop=False), NAMES),
            (lambda table: table.set_index(table["date"].to_numpy()), NAMES),
            (lambda table: table.astype({"date": str}).set_index(pandas.DatetimeIndex(table["date"])), NAMES),
            (lambda table: table.set_index("date"), NAMES),
            (lambda table: table.astype({"date": str}).set_index("date"), NAMES),
            (lambda table: table.rename_axis("id"), NAMES),
            (lambda table: table.set_index("wind"), ("load", "price")),
            (lambda table: to_long(table).set_index(["unique_id", "ds"]), tuple(sorted(NAMES))),
        ],
    )
    def test_an_index_is_dates_or_numbers_the_rows(self, change, columns):
        series, _ = read_frame(change(wide()))
        assert series.names == columns
        assert np.array_equal(series.times, to_series(wide()).times)

    def test_an_index_that_contradicts_the_dates_is_refused(self):
        table = wide().set_index(pandas.DatetimeIndex(wide(start="2021-01-01")["date"]))
        with pytest.raises(
            InputError, match="index 'date', row 1: 2021-01-01, expected 2020-01-30 22:00:00, as in the column"
        ):
            read_frame(table)

    @pytest.mark.parametrize("unit", ["ms", "us", "ns"])
    @pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
    def test_the_unit_of_dates_comes_back(self, unit, zone):
        frame = polars_of(wide()).with_columns(polars.col("date").cast(polars.Datetime(unit)))
        frame = frame.with_columns(polars.col("date").dt.replace_time_zone(zone)) if zone else frame
        series, layout = read_frame(frame)
        written = write_frame(series.times, {"": series.values}, series.names, layout)
        assert written["date"].dtype == polars.Datetime(unit, zone)
        assert written["date"].equals(frame["date"])

    @pytest.mark.parametrize(
        ("kind", "written"),
        [
            (lambda dates: dates.astype("timestamp[us][pyarrow]"), "datetime64[us]"),
            (
                lambda dates: dates.dt.tz_localize("Europe/Berlin").astype("timestamp[us, Europe/Berlin][pyarrow]"),
                "datetime64[us, Europe/Berlin]",
            ),
            (lambda dates: dates.dt.tz_localize("Europe/Berlin").astype(object), "datetime64[us, Europe/Berlin]"),
            (lambda dates: dates.dt.normalize().astype("date32[pyarrow]"), "datetime64"),
        ],
    )
    def test_dates_of_arrow_and_python_keep_their_zone(self, kind, written):
        table = wide(40, "D")
        series, layout = read_frame(table.assign(date=kind(table["date"])))
        dates = write_frame(series.times, {"": series.values}, series.names, layout)["date"]
        assert str(dates.dtype).startswith(written)
        assert dates.dt.date.tolist() == table["date"].dt.date.tolist()

    @pytest.mark.parametrize(
        "zone", ["America/Santiago", "Africa/Cairo", "Asia/Beirut", "America/Havana", "Europe/Berlin"]
    )
    def test_days_without_midnight_are_days(self, zone):
        table = wide(800, "D", start="2023-01-01")
        table["date"] = to_zone(table["date"], zone)
        series, layout = read_frame(table)
        assert Frequency.of(series).name == "D"
        assert (
            write_frame(series.times, {"": series.values}, series.names, layout)["date"].tolist()
            == table["date"].tolist()
        )

    @pytest.mark.parametrize("kind", ["int64", "Int64", "int64[pyarrow]", "float64", "category"])
    def test_numbers_that_name_series_stay_numbers_in_their_order(self, kind):
        names = (2, 10, 1)
        long = to_long(wide(40, names=names)).astype({"unique_id": "int64"}).astype({"unique_id": kind})
        series, layout = read_frame(long)
        assert [float(name) for name in series.names] == [1, 2, 10]
        written = write_frame(series.times, {"": series.values}, series.names, layout)
        merged = written.merge(long.astype({"unique_id": "int64"}), on=["unique_id", "ds"])
        assert len(merged) == 120
        assert np.array_equal(merged["y"], merged["ffnet_ts"])

    def test_numbers_that_name_columns_stay_numbers(self):
        series, layout = read_frame(wide(40, names=(2, 10, 1)))
        written = write_frame(series.times, {"": series.values, "-lo-80": series.values}, series.names, layout)
        assert list(written.columns) == ["date", 2, "2-lo-80", 10, "10-lo-80", 1, "1-lo-80"]

    def test_the_only_column_of_dates_is_used_whatever_its_name(self):
        assert read_frame(wide().rename(columns={"date": "Zeit"}).set_index("Zeit"))[1].time == "Zeit"
        assert read_frame(wide().set_axis(range(4), axis=1))[1].time == 0

    def test_dates_with_dots_are_day_first(self):
        table = wide(40, "D", start="2023-02-01")
        series, _ = read_frame(table.assign(date=table["date"].dt.strftime("%d.%m.%Y")))
        assert np.array_equal(series.times, table["date"].to_numpy())

    def test_warns_of_other_columns_of_a_long_table(self):
        with pytest.warns(UserWarning, match="columns 'wind', 'rain': ignored, only unique_id, ds, y count"):
            read_frame(to_long(wide()).assign(wind=1.0, rain=0.0))

    @pytest.mark.parametrize(
        ("values", "filled"),
        [
            ([np.nan, 1, np.nan, np.nan, 4, np.nan], [1, 1, 1, 1, 4, 4]),
            ([np.nan, np.nan, 3, 4, 5, 6], [3, 3, 3, 4, 5, 6]),
            ([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6]),
        ],
    )
    def test_the_previous_value_replaces_a_missing_one(self, values, filled):
        series = Series(np.datetime64("2020-01-01") + np.arange(6), np.array([values, [7.0] * 6]).T, ("x", "y"))
        assert fill_missing(series, learned=4).values.T.tolist() == [filled, [7.0] * 6]
        assert np.array_equal(series.values[:, 0], values, equal_nan=True), "the original is untouched"

    @pytest.mark.parametrize(
        ("table", "said"),
        [
            (
                changed(17, "wind", np.nan),
                r"1 missing values \(1 in 'wind'\) filled .*; the first is column 'wind', row 17 \(2020-01-31 "
                r"14:00:00\)$",
            ),
            (
                to_long(wide()).drop(index=[*range(250, 262)]),
                r"12 missing values \(10 in 'load', 2 in 'wind'\) filled .*; the first is series 'wind', "
                r"2020-01-30 22:00:00; "
                "series 'wind' begins at 2020-01-31, after others, series 'load' ends at 2020-02-10 "
                "07:00:00, before others$",
            ),
        ],
    )
    def test_warns_of_what_is_filled(self, table, said):
        with pytest.warns(UserWarning, match=said):
            warn_of_missing(read_frame(table)[0])

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda series: refuse_missing(series.rows(9)), "series 'wind', 2020-01-31 14:00:00: no value"),
            (lambda series: fill_missing(series.rows(16), learned=1), "series 'wind': no value at the first 1 dates"),
            (lambda series: refuse_constant(series.rows(0, 1)), "series 'load': .* at all 1 training dates"),
            (
                lambda series: Frequency("30min").check(series),
                "column 'ds': 2020-01-30 23:00:00 follows 2020-01-30 22:00:00",
            ),
            (lambda series: Frequency.of(series.rows(0, 2)), "table of 2 dates"),
        ],
    )
    def test_errors_in_a_long_table_name_series_and_date(self, call, message):
        series, _ = read_frame(to_long(changed(17, "wind", np.nan)))
        with pytest.raises(InputError, match=message):
            call(series)

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (
                lambda: fill_missing(to_series(wide().assign(wind=np.nan)), learned=200),
                "column 'wind': no value at the first 200 dates",
            ),
            (lambda: refuse_constant(to_series(wide().assign(wind=3.0))), "column 'wind': 3 at all 260 training dates"),
            (
                lambda: same_variables(to_series(wide()), ("load", "sun")),
                "series sun missing, wind, price unknown, expected load, sun",
            ),
            (lambda: last_window(to_series(wide()), 300), "table of 260 dates, expected at least 300, the lookback"),
            (
                lambda: last_window(to_series(changed(250, "wind", np.nan)), 24),
                r"column 'wind', row 250 \(2020-02-10 07:00:00\): no value",
            ),
            (
                lambda: refuse_unmeasured(
                    to_series(wide().assign(load=np.nan, wind=np.nan, price=np.nan)).rows(100, 120)
                ),
                "no value from 2020-02-04 02:00:00 to 2020-02-04 21:00:00, expected some",
            ),
        ],
    )
    def test_refuses_with_column_and_row(self, call, message):
        with pytest.raises(InputError, match=message):
            call()

    def test_columns_may_come_in_another_order(self):
        series = to_series(wide())
        assert np.array_equal(
            same_variables(to_series(wide()[["price", "date", "wind", "load"]]), NAMES).values, series.values
        )

    def test_many_columns_are_not_each_compared_with_each(self):
        class Name(str):
            compared = 0
            __hash__ = str.__hash__

            def __eq__(self, other):
                Name.compared += 1
                return str.__eq__(self, other)

        series = Series(np.empty(0, "datetime64[us]"), np.empty((0, 400)), tuple(Name(i) for i in range(400)))
        same_variables(series, [Name(i) for i in range(400)])
        assert Name.compared < 4000

    def test_warns_of_sentinels(self, recwarn):
        warn_of_sentinels(to_series(wide()))
        assert not recwarn.list
        with pytest.warns(UserWarning, match=r"column 'wind', row 17 \(.*\): -9999 \(1 such value\); used as a number"):
            warn_of_sentinels(to_series(changed(17, "wind", -9999.0)))

    @pytest.mark.parametrize("count", [130, 200, 260])
    def test_warns_of_sentinels_that_are_most_of_a_column(self, count):
        table = wide()
        with pytest.warns(UserWarning, match=rf"column 'wind', row 1 \(.*\): -999 \({count} such values"):
            warn_of_sentinels(to_series(table.assign(wind=table["wind"].where(table.index >= count, -999.0))))

    def test_numbers_near_a_sentinel_are_no_missing_values(self, recwarn):
        warn_of_sentinels(to_series(wide().assign(wind=-999.0 - np.arange(260) % 5)))
        assert not recwarn.list


@pytest.mark.parametrize("change", [lambda table: table, to_long], ids=["wide", "long"])
def test_dates_are_parsed_once(change, monkeypatch):
    parsed = []
    monkeypatch.setattr(
        "metamixer.data.series.dates.utc_dates", lambda *column: parsed.append(column) or utc_dates(*column)
    )
    read_frame(change(wide().assign(date=lambda table: table["date"].dt.strftime("%Y-%m-%dT%H:%M:%SZ"))))
    assert len(parsed) == 1


def test_a_long_forecast_has_the_name_of_its_model():
    series, layout = read_frame(to_long(wide()))
    assert list(write_frame(series.times, {"": series.values}, series.names, layout, model="mine").columns) == [
        "unique_id",
        "ds",
        "mine",
    ]


@pytest.mark.parametrize(
    ("text", "names", "first"),
    [
        ("date;load;wind\n2024-01-01;1,5;2\n2024-01-02;2,5;3\n", ["date", "load", "wind"], 1.5),
        ("date;load\n01.01.2024;1.5\n02.01.2024;2.5\n", ["date", "load"], 1.5),
        ("date\tload\n2024-01-01\t1.5\n2024-01-02\t2.5\n", ["date", "load"], 1.5),
        ("date,load\n2024-01-01,1.5\n2024-01-02,2.5\n", ["date", "load"], 1.5),
    ],
)
def test_separators_of_a_text_table_are_found(text, names, first, tmp_path):
    (tmp_path / "table.csv").write_text(text)
    table = read_table(tmp_path / "table.csv")
    assert list(table.columns) == names
    assert table["load"].iloc[0] == first


@pytest.mark.parametrize(("first", "found"), [("2024-01", True), ("31.01.2024", True), ("a1", False), ("12-5", False)])
def test_a_first_column_of_dates_needs_no_name(first, found):
    frame = pandas.DataFrame({"month": [first, first], "load": [1.0, 2.0]})
    if found:
        assert time_column(frame) == "month"
    else:
        with pytest.raises(InputError, match="no date column among month, load"):
            time_column(frame)
