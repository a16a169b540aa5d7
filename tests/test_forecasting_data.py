"""From tables to windows: what is read, how it is split, and what is refused with column and row."""

import numpy as np
import pandas
import pytest
import torch

from metamixer.data import SeriesData
from metamixer.data.series.frames import read_frame
from metamixer.data.series.frequency import Frequency
from metamixer.data.series.parts import ParquetTable, TextFile, table_file
from metamixer.data.series.series_data import split_rows
from metamixer.data.series.tables import find_table, read_series, read_table, to_series
from metamixer.data.series.text import MISSING
from metamixer.data.series.windows import Scaling, Windows
from metamixer.errors import InputError
from tables import NAMES, changed, to_long, wide


class TestWindows:
    def test_contain_every_position_in_order(self):
        values = torch.arange(40.0).view(20, 2)
        windows = Windows(values, lookback=5, horizon=3)
        assert len(windows) == 13
        for i in range(13):
            past, future = windows[i]
            assert torch.equal(past, values[i : i + 5])
            assert torch.equal(future, values[i + 5 : i + 8])
        past, future = windows.__getitems__([12, 0])
        assert torch.equal(past, torch.stack([values[12:17], values[0:5]]))
        assert torch.equal(future, torch.stack([values[17:20], values[5:8]]))

    def test_spread_selects_from_the_whole_length(self):
        windows = Windows(torch.arange(100.0)[:, None], lookback=5, horizon=3)
        assert windows.spread(None).past[:, 0, 0].tolist() == list(range(93))
        assert windows.spread(10).past[:, 0, 0].tolist() == list(range(0, 93, 10))
        assert windows.spread(10).future[:, 0, 0].tolist() == list(range(5, 98, 10))
        assert len(windows.spread(500)) == 93

    def test_filled_values_are_inputs_but_not_targets(self):
        filled, measured = (
            torch.tensor([[1.0], [1], [1], [4], [5]]),
            torch.tensor([[1.0], [np.nan], [np.nan], [4], [5]]),
        )
        past, future = Windows(filled, lookback=2, horizon=2, measured=measured).__getitems__([0, 1])
        assert past[..., 0].tolist() == [[1, 1], [1, 1]]
        torch.testing.assert_close(future[..., 0], torch.tensor([[np.nan, 4], [4, 5]]), equal_nan=True)

    def test_too_few_rows(self):
        with pytest.raises(InputError, match=r"series of 7 rows, expected at least 8, lookback 5 \+ horizon 3"):
            Windows(torch.zeros(7, 1), lookback=5, horizon=3)


@pytest.mark.parametrize(
    ("rows", "split", "ends"),
    [
        (17420, (8640, 2880, 2880), (8640, 11520, 14400)),
        (52696, (0.7, 0.1, 0.2), (36887, 42157, 52696)),
        (26304, (0.7, 0.1, 0.2), (18412, 21044, 26304)),
    ],
)
def test_splits_are_the_time_series_librarys(rows, split, ends):
    assert split_rows(rows, split) == ends


def test_split_of_more_rows_than_there_are():
    with pytest.raises(InputError, match=r"split \[80, 20, 20\]: 120 rows, expected at most 100"):
        split_rows(100, (80, 20, 20))


@pytest.mark.parametrize(
    "split", [(0.7, 0.1, 0.5), (0.5, 0.1, 0.1), (-0.1, 0.6, 0.5), (80, -10, 20), (80, 20), (0, 0, 0)]
)
def test_a_split_is_fractions_of_the_whole_or_rows(split):
    with pytest.raises(InputError, match=r"split \[.*\], expected three fractions that add up to 1, or three numbers"):
        split_rows(100, split)


@pytest.mark.parametrize("option", ["lookback", "horizon", "max_val_windows"])
def test_windows_have_steps(option):
    with pytest.raises(InputError, match=f"{option} 0, expected at least 1"):
        SeriesData("table.csv", **{option: 0})


def test_scaling_is_fitted_on_the_training_rows_and_inverted():
    values = wide()[list(NAMES)].to_numpy()
    scaling = Scaling.of(values)
    scaled = scaling.apply(values)
    np.testing.assert_allclose(scaled.mean(dim=0), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.std(dim=0, correction=0), 1, atol=1e-5)
    np.testing.assert_allclose(scaling.invert(scaled), values, rtol=1e-5, atol=1e-5)
    for constant in (1.0, 0.1):  # NumPy's std of 1,000 times 0.1 is 1e-17
        assert Scaling.of(np.full((1000, 2), constant)).std == (1.0, 1.0)
        assert Scaling.of_measured(np.full((1000, 2), constant)).std == (1.0, 1.0)


class TestSeriesData:
    @pytest.fixture(params=["series.csv", "series.csv.gz"])
    def data(self, request, tmp_path, monkeypatch):
        (tmp_path / "sets").mkdir()
        wide(rows=200).to_csv(tmp_path / "sets" / request.param, index=False)
        monkeypatch.setenv("METAMIXER_DATA", str(tmp_path))
        return SeriesData("sets/series.csv", lookback=24, horizon=12, split=(0.6, 0.2, 0.2), batch_size=16)

    def test_includes_every_window_and_looks_back_into_the_previous_part(self, data):
        scaled = data.scaling.apply(data.series.values)
        assert [len(data.windows(part)) for part in ("train", "val", "test")] == [120 - 35, 40 - 11, 40 - 11]
        for loader, end in ((data.val_dataloader(), 160), (data.test_dataloader(), 200)):
            batches = list(loader)
            assert sum(len(past) for past, _ in batches) == 29
            assert torch.equal(batches[0][0][0], scaled[end - 64 : end - 40])
            assert torch.equal(batches[-1][1][-1], scaled[end - 12 : end])

    def test_training_uses_no_later_row_and_every_window_once_per_epoch(self, data):
        scaled = data.scaling.apply(data.series.values)
        seen = torch.cat([torch.cat(batch, dim=1) for batch in data.train_dataloader()])
        assert len(seen) == 85
        assert sorted(seen[:, 0, 0].tolist()) == sorted(scaled[:85, 0].tolist())
        assert not torch.equal(seen[:, 0, 0], scaled[:85, 0]), "shuffled"
        np.testing.assert_allclose(data.scaling.mean, data.series.values[:120].mean(axis=0))

    def test_refuses_a_missing_value(self, tmp_path):
        changed(17, "wind", np.nan).to_csv(tmp_path / "gap.csv", index=False)
        with pytest.raises(
            InputError, match=r"column 'wind', row 17 \(2020-01-31 14:00:00\): no value, expected a number"
        ):
            SeriesData(str(tmp_path / "gap.csv")).windows("train")

    def test_keeps_sentinels_and_repeated_dates(self, tmp_path):
        table = changed(17, "wind", -9999.0)
        table.loc[30, "date"] = table.loc[29, "date"]
        table.to_csv(tmp_path / "weather.csv", index=False)
        assert read_series(tmp_path / "weather.csv").values[16, 1] == -9999


class TestTables:
    @pytest.mark.parametrize(("first", "step", "kept"), [(0, 1, False), (1, 1, False), (100, 1, False), (0, 2, True)])
    def test_pandas_own_index_in_a_file_is_no_series(self, first, step, kept, tmp_path):
        wide().set_index(first + step * np.arange(260)).to_csv(tmp_path / "table.csv")
        assert ("Unnamed: 0" in read_table(tmp_path / "table.csv")) == kept

    def test_no_such_file(self, monkeypatch):
        monkeypatch.delenv("METAMIXER_DATA", raising=False)
        with pytest.raises(InputError, match=r"nowhere\.csv: no such file"):
            find_table("nowhere.csv")

    @pytest.mark.parametrize("content", [b"", b"\x1f\x8b broken", b"\x1f\x8b\x08" + bytes(7) + b"\xff" * 20])
    def test_not_a_table(self, content, tmp_path):
        (tmp_path / "broken.csv.gz").write_bytes(content)
        with pytest.raises(InputError, match=r"broken\.csv\.gz: not a readable table"):
            read_series(tmp_path / "broken.csv.gz")

    @pytest.mark.parametrize(
        ("table", "message"),
        [
            (
                wide().astype({"date": str}).rename(columns={"date": "when"}).iloc[:, ::-1],
                "no date column among price, wind, load, when, expected one named",
            ),
            (changed(5, "wind", "strong"), "column 'wind', row 5: 'strong', expected a number"),
            (changed(5, "wind", np.inf), "column 'wind', row 5: inf, expected a number"),
            (changed(5, "date", "yesterday"), "column 'date', row 5: 'yesterday', expected a date such as"),
            (changed(5, "date", None), "column 'date', row 5: no value, expected a date such as"),
            (wide()[["date"]], "table of 260 rows and 0 columns besides 'date', expected series"),
            (wide().iloc[:0], "table of 0 rows and 3 columns besides 'date', expected series"),
            (wide().assign(date=range(260)), "column 'date', row 1: 0, expected a date such as"),
        ],
    )
    def test_says_column_and_row(self, table, message):
        with pytest.raises(InputError, match=message):
            to_series(table)

    def test_numbers_as_text_are_numbers(self):
        table = wide()
        assert np.array_equal(to_series(table.astype({"wind": str})).values, to_series(table).values)

    def test_a_time_zone_becomes_utc(self):
        table = wide(start="2020-06-01")
        table["date"] = table["date"].dt.tz_localize("Europe/Berlin")
        assert to_series(table).times[0] == np.datetime64("2020-05-31T22:00")

    def test_offsets_that_change_with_the_clock_become_utc(self, tmp_path):
        table = wide(rows=48, start="2024-03-30")
        table["date"] = table["date"].dt.tz_localize("UTC").dt.tz_convert("Europe/Berlin")
        table.to_csv(tmp_path / "table.csv", index=False)
        times = read_series(tmp_path / "table.csv").times
        assert times[0] == np.datetime64("2024-03-30T00:00")
        assert (np.diff(times) == np.timedelta64(1, "h")).all()


def test_names_of_series_are_kept_as_a_file_spells_them(tmp_path):
    for spelt, read in ((("007", "10"), ["007", "10"]), (("10", "9"), [10, 9])):
        table = to_long(wide(40, names=spelt))
        table.to_csv(tmp_path / "table.csv", index=False)
        assert read_table(tmp_path / "table.csv")["unique_id"].unique().tolist() == read
    table.assign(unique_id=0, y=0.0).to_csv(tmp_path / "table.csv", index=False)
    table = read_table(tmp_path / "table.csv", missing_values=[0])
    assert (table["unique_id"] == 0).all() and table["y"].isna().all()
    (tmp_path / "blank.csv").write_text("unique_id,ds,y\na,2020-01-01,1\n,2020-01-02,2\n")
    with pytest.raises(InputError, match="column 'unique_id', row 2: no value, expected the name of a series"):
        read_frame(read_table(tmp_path / "blank.csv"))


def test_pandas_list_of_missing_values_is_ours():
    parsers = pytest.importorskip("pandas._libs.parsers")
    assert set(MISSING) == parsers.STR_NA_VALUES


@pytest.mark.parametrize("name", ["NA", "None", "nan"])
def test_a_series_may_be_named_as_a_missing_value(name, tmp_path):
    (tmp_path / "table.csv").write_text(f"unique_id,ds,y\n{name},2020-01-01,1\n{name},2020-01-02,NA\n")
    for table in (
        read_table(tmp_path / "table.csv"),
        *TextFile(tmp_path / "table.csv").parts(["unique_id", "ds", "y"]),
    ):
        series, _ = read_frame(table)
        assert series.names == (name,) and np.isnan(series.values[1, 0])


@pytest.mark.parametrize("stores", [("a", "b"), (1, 2)])
def test_a_long_table_with_other_names_is_told_the_names(stores):
    days = pandas.date_range("2024-01-01", periods=9)
    table = pandas.concat(pandas.DataFrame({"store": store, "date": days, "sales": 1.5}) for store in stores)
    with pytest.raises(InputError, match=r"'date': dates repeat for each 'store'; .*: rename store, date, sales$"):
        read_frame(table.iloc[:-2])


@pytest.mark.parametrize("time", ["date", "time"])
def test_dates_and_times_in_two_columns_are_named(time):
    times = pandas.date_range("2024-01-01", periods=50, freq="h")
    table = pandas.DataFrame({"date": times.strftime("%Y-%m-%d"), "time": times.strftime("%H:%M"), "load": 1.0})
    with pytest.raises(InputError, match="'time', row 1: '00:00', expected date and time in one column, such as 2016-"):
        read_frame(table, time=time)


def test_parquet_is_known_by_its_first_bytes(tmp_path):
    pytest.importorskip("pyarrow")
    to_long(wide()).to_parquet(tmp_path / "table.pq")
    assert read_table(tmp_path / "table.pq").equals(to_long(wide()))
    assert isinstance(table_file(tmp_path / "table.pq"), ParquetTable)


def test_the_benchmark_refuses_decreasing_dates(tmp_path):
    wide()[::-1].to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(
        InputError, match=r"column 'date', row 2: .* is before .* of the row above, expected dates in order"
    ):
        _ = SeriesData(str(tmp_path / "table.csv")).series


class TestFrequency:
    @pytest.mark.parametrize(
        ("name", "season"),
        [
            *(("h", 24), ("15min", 96), ("10min", 144), ("4h", 6), ("7min", 206), ("5h", 24)),
            *(("D", 7), ("2D", 7), ("36h", 14), ("10D", 1), ("B", 5)),
            *(("W-SUN", 52), ("2W-SUN", 26), ("MS", 12), ("ME", 12), ("BME", 12), ("WOM-1MON", 12), ("2MS", 6)),
            *(("QS-JAN", 4), ("BQE-DEC", 4), ("2QS-JAN", 2), ("YE-DEC", 1), ("2YS-JAN", 1)),
        ],
    )
    def test_is_found_and_goes_on(self, name, season):
        series = to_series(wide(rows=40, frequency=name))
        frequency = Frequency.of(series.rows(0, 30))
        assert frequency.name == name
        assert frequency.season == season
        assert np.array_equal(frequency.after(series.times[29], 10), series.times[30:].astype("datetime64[us]"))
        frequency.check(series)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (
                lambda table: table.iloc[[0, 2, 1, *range(3, 260)]],
                "row 3: 2020-01-30 23:00:00 is before 2020-01-31 of the row above",
            ),
            (
                lambda table: table.iloc[[0, 1, 1, *range(2, 260)]],
                "row 3: 2020-01-30 23:00:00 repeats 2020-01-30 23:00:00 of the row above",
            ),
            (
                lambda table: table.drop(index=[9, 10]),
                "row 10: 2020-01-31 09:00:00 is 3 hours after 2020-01-31 06:00:00, expected 1 hour",
            ),
            (
                lambda table: table.iloc[np.cumsum(np.arange(20))],
                "column 'date': unknown frequency, steps from 1 hour to 19 hours",
            ),
            (
                lambda table: wide(40, "MS").assign(date=lambda table: table["date"] + np.timedelta64(14, "D")),
                "column 'date': day 15 of each month, expected the first or the last day",
            ),
            (lambda table: table.iloc[:2], "table of 2 dates, expected at least 3"),
        ],
    )
    def test_says_where_it_breaks(self, change, message):
        with pytest.raises(InputError, match=message):
            Frequency.of(to_series(change(wide())))

    @pytest.mark.parametrize("frequency", ["h", "15min"])
    def test_says_what_to_do_about_an_hour_that_occurs_twice(self, frequency):
        times = pandas.date_range("2024-10-25", periods=300, freq=frequency, tz="Europe/Berlin").tz_localize(None)
        with pytest.raises(
            InputError, match=r"2024-10-27 02:00.*; if daylight saving time ends .* offsets, such as 2024-"
        ):
            Frequency.of(to_series(pandas.DataFrame({"date": times, "load": 1.0})))
        with pytest.raises(InputError, match=r"repeats .*, in order$"):
            Frequency.of(
                to_series(pandas.DataFrame({"date": times[75:76].repeat(3) + np.timedelta64(1, "D"), "load": 1.0}))
            )

    def test_of_another_table_is_checked(self):
        with pytest.raises(InputError, match=r"row 2: .* follows .*, expected 2020-01-30 23:00:00 at the frequency h"):
            Frequency("h").check(to_series(wide(frequency="30min")))


def test_an_excel_file_is_named(tmp_path):
    (tmp_path / "sales.xlsx").write_bytes(b"PK\x03\x04 and so on")
    with pytest.raises(InputError, match=r"sales.xlsx: an Excel file, expected CSV or Parquet: save it as CSV first"):
        read_table(tmp_path / "sales.xlsx")


def test_a_table_without_a_header_loses_no_row(tmp_path):
    (tmp_path / "table.csv").write_text("2024-01-01,5\n2024-01-02,6\n2024-01-03,7\n")
    with pytest.raises(InputError, match=r"first line 2024-01-01, 5, expected the names of the columns"):
        read_series(tmp_path / "table.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("date,load\n2024-01-01,1\n".encode("utf-16"), "text in UTF-16, expected UTF-8: save it as CSV UTF-8 first"),
        (b"SQLite\0\x01\n", "a binary file, expected CSV or Parquet"),
    ],
)
def test_files_that_are_no_csv_are_named(content, message, tmp_path):
    (tmp_path / "table.csv").write_bytes(content)
    with pytest.raises(InputError, match=f"table.csv: {message}"):
        read_table(tmp_path / "table.csv")
    with pytest.raises(InputError, match="is a folder, expected a table"):
        read_table(tmp_path)


def test_pandas_dates_survive(tmp_path):
    wide().to_csv(tmp_path / "table.csv", index=False)
    assert np.array_equal(read_series(tmp_path / "table.csv").times, pandas.DatetimeIndex(wide()["date"]).to_numpy())


def test_batches_come_from_the_loaders_of_all_tasks(tmp_path):
    wide(200).to_csv(tmp_path / "table.csv", index=False)
    data = SeriesData(
        str(tmp_path / "table.csv"), lookback=24, horizon=12, split=(0.6, 0.2, 0.2), batch_size=32, num_workers=1
    )
    loaders = data.train_dataloader(), data.val_dataloader(), data.test_dataloader()
    for part, loader in zip(("train", "val", "test"), loaders, strict=True):
        assert loader.worker_init_fn is not None, "workers of one thread each"
        assert sum(len(past) for past, _ in loader) == len(data.windows(part)), "every window counts"
