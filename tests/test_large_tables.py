"""`metamixer forecast` of large long tables: in parts, with the forecast, warnings and errors of the whole table."""

import gzip

import numpy as np
import pandas
import pytest

from metamixer import Forecaster
from metamixer.cli import main
from metamixer.data.series import large, parts, tables
from metamixer.data.series.large import LargeTable
from metamixer.errors import InputError, InputWarning

pytestmark = pytest.mark.filterwarnings("ignore::metamixer.errors.InputWarning")

ROWS = 40
DAYS = pandas.date_range("2024-01-01", periods=ROWS)


def long(count=7, rows=ROWS):
    """Random walks, with one missing value."""
    values = np.random.default_rng(0).normal(size=(count, rows)).cumsum(1).round(3)
    values[1, 3] = -9999
    names = np.repeat([f"{name:03}" for name in range(count)], rows)
    return pandas.DataFrame({"unique_id": names, "ds": np.tile(DAYS[:rows], count), "y": values.ravel()})


def one(name, values, dates=None):
    values = np.asarray(values, float)
    return pandas.DataFrame({"unique_id": name, "ds": DAYS[-len(values) :] if dates is None else dates, "y": values})


@pytest.fixture
def small_parts(monkeypatch):
    """Parts that end within a series, also of small tables."""
    monkeypatch.setattr(large, "LARGE", 1)
    monkeypatch.setattr(large, "GATHERED", 20)
    monkeypatch.setattr(parts, "ROWS", 33)


def write(table, path, **how):
    if path.suffix == ".parquet":
        pytest.importorskip("pyarrow")
        table.to_parquet(path, index=False)
    else:
        table.to_csv(path, index=False, **how)
    return path


def run(path, *options):
    """The exit code and the forecast, if there is one."""
    out = path.with_name("forecast.csv")
    options = ["--horizon", 5, "--levels", 80, "--missing_values", -9999, *options]
    code = main(["forecast", str(path), *map(str, options), "--out", str(out), "--overwrite"])
    return code, pandas.read_csv(out, dtype={"unique_id": str}) if out.is_file() else None


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("table.csv", {}),
        ("table.csv", {"sep": ";", "decimal": ","}),
        ("table.csv.gz", {}),
        ("table.parquet", {}),
    ],
    ids=["csv", "semicolons", "gzip", "parquet"],
)
def test_a_table_in_parts_has_the_forecast_of_the_whole_table(name, how, tmp_path, request, capsys):
    late, ended = one("late", np.arange(9) ** 2), one("ended", np.arange(30), DAYS[:30])
    path = write(pandas.concat([long(), late, ended, one("new", [3])]), tmp_path / name, **how)
    _, whole = run(path)
    assert "in parts" not in capsys.readouterr().out
    request.getfixturevalue("small_parts")
    code, found = run(path)
    assert code == 0 and "read in parts: 5 steps, 50 rows" in capsys.readouterr().out
    assert found["unique_id"].unique().tolist() == [*long()["unique_id"].unique(), "late", "ended", "new"]
    pandas.testing.assert_frame_equal(found.sort_values(["unique_id", "ds"], ignore_index=True), whole, atol=1e-4)


def test_each_warning_comes_once_and_counts_all_series(small_parts, tmp_path, recwarn):
    days = DAYS[~DAYS.isin(DAYS[[7, 8]])]
    few = [one(f"few {number}", np.arange(3)) for number in range(7)]
    constant = [one(f"flat {number}", [number] * len(days), days) for number in range(2)]
    table = pandas.concat([*few[:4], long(), *constant, *few[4:]]).assign(shop=1)
    assert run(write(table[table["ds"].isin(days)], tmp_path / "table.csv"))[0] == 0
    first = ", ".join(f"series 'few {number}' has 3 values" for number in range(5))
    assert [str(each.message) for each in recwarn if issubclass(each.category, InputWarning)] == [
        "column 'shop': ignored, only unique_id, ds, y count",
        "2 missing rows added without values, the first at 2024-01-08",
        f"{first}, 2 more; expected at least 8 for a useful forecast",
        "series 'flat 0' is 0 at every date, series 'flat 1' is 1 at every date; the forecast repeats the value, and "
        "intervals assume a std of 10% of it",
    ]


CHANGED = DAYS.append(pandas.date_range("2024-03-01", periods=9, freq="MS"))
"""A frequency that changes."""


@pytest.mark.parametrize(
    ("table", "options", "error"),
    [
        (one("a", [5]), (), "table of 1 date, expected at least 3"),
        (pandas.concat([long(2), one("z", [np.nan] * 9)]), (), "series 'z': no value, expected numbers"),
        (pandas.concat([long(2), one("z", [1, np.inf])]), (), "column 'y', row 82: inf, expected a number"),
        (pandas.concat([long(2), one("z", [1, 1e308])]), (), r"series 'z', 2024-02-09: 1e\+308, expected at most"),
        (long(2).astype({"y": str}).replace("-9999.0", "many"), (), "column 'y', row 44: 'many', expected a number"),
        (pandas.concat([long(2), one("z", [1, 2], DAYS[[7, 7]])]), (), "row 82: series 'z' has 2024-01-08 twice"),
        (one("a", range(9), DAYS[[0, 1, 3, 7, 12, 20, 22, 29, 38]]), (), "unknown frequency, steps from 1 day"),
        (one("a", range(len(CHANGED)), CHANGED), (), "2024-03-01 is 21 days after 2024-02-09, expected 1 day"),
        (
            pandas.concat([long(2), one("z", range(9), DAYS[2:38:4])]),
            (),
            "series 'z': dates 2024-01-03, 2024-01-07, 2024-01-11, ..., expected the table's frequency, 2024-01-03, "
            "2024-01-04, 2024-01-05, ...: forecast each series at its own with --engine local",
        ),
        (long(2).astype({"ds": str}).replace("2024-01-05", "soon"), (), "column 'ds', row 5: 'soon', expected a date"),
        (long(2).replace("001", None), (), "column 'unique_id', row 41: no value, expected the name"),
        (long(2), ("--horizon", 100_000), "horizon 100000, expected an integer from 1 to 10000"),
    ],
)
@pytest.mark.parametrize("in_parts", [False, True], ids=["whole", "parts"])
def test_bad_input_is_the_same_line_and_nothing_is_written(
    table, options, error, in_parts, tmp_path, request, recwarn, capsys
):
    if in_parts:
        request.getfixturevalue("small_parts")
    code, found = run(write(table, tmp_path / "table.csv"), *options)
    assert (code, found) == (2, None)
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    with pytest.raises(InputError, match=error):
        raise InputError(message)


@pytest.mark.parametrize("values", [[1e30, 1e-30] * 20, [7] * ROWS, [0] * ROWS, [1e300, -1e300] * 20, [5]])
def test_extreme_values_give_finite_forecasts(values, small_parts, tmp_path):
    code, found = run(write(pandas.concat([long(2), one("z", values)]), tmp_path / "table.csv"))
    assert code == 0 and np.isfinite(found.drop(columns=["unique_id", "ds"]).to_numpy()).all()


@pytest.mark.parametrize("change", ["shuffled", "wide", "small"])
def test_other_tables_are_read_whole(change, small_parts, tmp_path, monkeypatch):
    table = long()
    if change == "shuffled":
        table = table.sample(frac=1, random_state=0)
    elif change == "wide":
        table = table.pivot(index="ds", columns="unique_id", values="y").reset_index()
    else:
        monkeypatch.setattr(large, "LARGE", 2**20)
    assert LargeTable.find(write(table, tmp_path / "table.csv")) is None


def test_memory_bounds_the_series_at_once(small_parts, tmp_path, monkeypatch):
    monkeypatch.setattr(large, "GATHERED", 200)
    monkeypatch.setattr(large, "CELLS", 3 * (ROWS + 10))
    table = LargeTable.find(write(long(), tmp_path / "table.csv"))
    assert max(len(series.names) for series in table.blocks(10)) == 3


def test_a_packed_table_has_a_limit(small_parts, tmp_path, monkeypatch):
    path = tmp_path / "table.csv.gz"
    path.write_bytes(gzip.compress(long().to_csv(index=False).encode()))
    monkeypatch.setattr(tables, "SMALL_TABLE", 100)
    monkeypatch.setattr(tables, "TIMES", 2)
    with pytest.raises(InputError, match="bytes when unpacked, expected fewer: unpack it before"):
        LargeTable.find(path)


def test_a_row_group_has_a_limit(small_parts, tmp_path, monkeypatch):
    path = write(long(), tmp_path / "table.parquet")
    monkeypatch.setattr(tables, "SMALL_TABLE", 100)
    monkeypatch.setattr(tables, "TIMES", 0.1)
    with pytest.raises(InputError, match="280 rows and 3 columns by its metadata"):
        LargeTable.find(path)


def test_a_table_that_changes_while_it_is_read(small_parts, tmp_path):
    path = write(long(), tmp_path / "table.csv")
    table = LargeTable.find(path)
    write(long().assign(ds=long()["ds"] + pandas.Timedelta(days=1)), path)
    with pytest.raises(InputError, match=r"table.csv: changed while it was read"):
        list(table.blocks(1))


def test_the_horizon_follows_the_dates(small_parts, tmp_path, capsys):
    path = write(long(2), tmp_path / "table.csv")
    assert main(["forecast", str(path), "--out", str(tmp_path / "forecast.csv")]) == 0
    assert "in parts: 28 steps (chosen by the dates; --horizon sets another), 56 rows" in capsys.readouterr().out


def test_one_step_and_one_row_are_singular(small_parts, tmp_path, capsys):
    assert run(write(one("a", range(40)), tmp_path / "table.csv"), "--horizon", 1)[0] == 0
    assert "read in parts: 1 step, 1 row\n" in capsys.readouterr().out


def test_stream_warns_once_at_the_end():
    few = pandas.concat([one("a", [1, 2, 4]), one("b", [1, 3, 9])])
    with pytest.warns(InputWarning, match="'a' has 3 values, series 'b' has 3 values; expected at least 8") as caught:
        assert len(list(Forecaster(3).stream([few]))) == 1
    assert len(caught) == 1
