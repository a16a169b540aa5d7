"""Decimal commas and points, and separators of thousands, in text tables."""

import pandas
import pytest

from metamixer.data.series import parts
from metamixer.data.series.parts import TextFile
from metamixer.data.series.tables import numbers, read_table
from metamixer.engine.series import read_long
from metamixer.errors import InputError, InputWarning


def write(tmp_path, columns, mark=";"):
    rows = zip(*columns.values(), strict=True)
    lines = [mark.join(["date", *columns]), *(mark.join([f"2024-01-0{i}", *row]) for i, row in enumerate(rows, 1))]
    (tmp_path / "table.csv").write_text("\n".join(lines))
    return tmp_path / "table.csv"


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"price": ["100,0", "99,5"], "units": ["1.200", "999"]}, [[100, 99.5], [1200, 999]]),
        ({"price": ["100.0", "99.5"], "units": ["1,200", "999"]}, [[100, 99.5], [1200, 999]]),
        ({"price": ["1.000,5", "99,5"], "units": ["1,200", "3,125"]}, [[1000.5, 99.5], [1.2, 3.125]]),
        ({"price": ["100.0", "99.5"], "units": ["1,5", "2,25"]}, [[100, 99.5], [1.5, 2.25]]),
        ({"units": ["1.234.567", "1.200"]}, [[1234567, 1200]]),
        ({"units": ["0,125", "1,200"]}, [[0.125, 1.2]]),
        ({"units": ["", "-1,5e3"]}, [[float("nan"), -1500]]),
    ],
)
@pytest.mark.parametrize("mark", [";", "\t"])
def test_the_numbers_of_a_table_tell_their_separators(columns, expected, mark, tmp_path, recwarn):
    table = read_table(write(tmp_path, columns, mark))
    pandas.testing.assert_frame_equal(
        table[[*columns]], pandas.DataFrame(dict(zip(columns, expected, strict=True))), check_dtype=False
    )
    assert not recwarn.list


def test_separators_of_thousands_are_no_dates(tmp_path):
    (tmp_path / "table.csv").write_text("date;v\n01.07.2016;1.234,5\n02.07.2016;1.200\n")
    table = read_table(tmp_path / "table.csv", missing_values=[1200])
    assert table["date"].tolist() == ["01.07.2016", "02.07.2016"]
    assert table["v"].iloc[0] == 1234.5 and pandas.isna(table["v"].iloc[1])


@pytest.mark.parametrize(("first", "other"), [("1,200", "1,3"), ("1.200", "1.3")])
def test_numbers_of_two_readings_come_with_a_warning(first, other, tmp_path):
    message = f"column 'units', row 2: '{first}' read as 1.200, not as 1200"
    with pytest.warns(InputWarning, match=message):
        table = read_table(write(tmp_path, {"units": ["999", first]}))
    assert table["units"].tolist() == [999, 1.2]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": ["1,5"], "b": ["1.5"], "c": ["1.200"]}, r"'c', row 1: '1.200' is 1200 or 1.200, and the table has"),
        ({"a": ["1,200"], "b": ["1.200"]}, "'a', row 1: '1,200' is 1.200 or 1200, and the table has"),
        ({"a": ["1,5", "100.5"]}, "'a', row 2: '100.5', expected a decimal comma as in other numbers of the column"),
    ],
)
def test_numbers_of_two_kinds_are_refused(columns, message, tmp_path):
    with pytest.raises(InputError, match=f"table.csv: column {message}"):
        read_table(write(tmp_path, columns))


def write_long(tmp_path, values):
    lines = ["unique_id;ds;y", *(f"shop 1,5;2024-01-{i:02};{value}" for i, value in enumerate(values, 1))]
    (tmp_path / "long.csv").write_text("\n".join(lines))
    return tmp_path / "long.csv"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1.200", "999", "100,5", "1.300"], [1200, 999, 100.5, 1300]),
        (["100.5", "999", "1,200", ""], [100.5, 999, 1200, float("nan")]),
        (["", "999", "1.000.200", "1.300"], [float("nan"), 999, 1000200, 1300]),
    ],
)
def test_a_long_table_in_parts_and_of_an_engine_is_read_the_same(values, expected, tmp_path, monkeypatch):
    path = write_long(tmp_path, values)
    monkeypatch.setattr(parts, "ROWS", 3)
    in_parts = pandas.concat(TextFile(path).parts(["unique_id", "ds", "y"]))
    of_engine = pandas.concat(table.to_pandas() for table in read_long(str(path)))
    for table in (read_table(path), in_parts, of_engine):
        pandas.testing.assert_series_equal(pandas.Series(numbers(table["y"], "y")), pandas.Series(expected))


def test_a_part_of_another_kind_is_refused(tmp_path, monkeypatch):
    path = write_long(tmp_path, ["1,200", "999", "1,200.5"])
    monkeypatch.setattr(parts, "ROWS", 2)
    with (
        pytest.warns(InputWarning, match="'1,200' read as 1.200, not as 1200"),
        pytest.raises(InputError, match=r"column 'y', row 3: '1,200.5', expected a decimal comma"),
    ):
        list(TextFile(path).parts(["unique_id", "ds", "y"]))
