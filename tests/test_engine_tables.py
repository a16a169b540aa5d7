"""Jobs over long tables of time series, without the engine that runs them."""

from dataclasses import replace

import numpy as np
import pandas
import pyarrow.csv
import pyarrow.parquet
import pytest

from jobs import run
from metamixer.cli import main
from metamixer.engine.series import Tables, read_long
from metamixer.engine.shard import INPUTS, PREDICTIONS
from metamixer.errors import InputError
from metamixer.predictors.forecasting.forecaster import Forecaster


def long_table(series=6, length=30):
    """Series of three lengths in rows of mixed order, the last of a single value."""
    random = np.random.RandomState(0)
    frames = [
        pandas.DataFrame(
            {
                "unique_id": f"{i:03d}",
                "ds": pandas.date_range("2024-01-01", periods=length - 5 * (i % 3), freq="D"),
                "y": random.rand(length - 5 * (i % 3)).round(3),
            }
        )
        for i in range(series)
    ]
    frames.append(frames[0].head(1).assign(unique_id="one"))
    return pandas.concat(frames).sample(frac=1, random_state=0, ignore_index=True)


@pytest.mark.parametrize("kind", ["parquet", "csv.gz"])
def test_each_series_of_a_long_table_is_forecast_as_alone(kind, tmp_path):
    table = long_table()
    path = tmp_path / f"table.{kind}"
    table.to_parquet(path) if kind == "parquet" else table.to_csv(path, index=False)
    work = replace(Tables.of([str(path)], horizon=3, levels=(80.0,)), shards=2)
    results, tally = run(work, tmp_path / "out")
    assert tally == {"inputs": 7, "failed": 1}
    assert results[results.error.notna()].unique_id.tolist() == ["one"]
    alone = Forecaster(3, levels=(80.0,))
    for name, forecast in results[results.error.isna()].groupby("unique_id"):
        expected = alone.predict(table[table.unique_id == name])
        assert np.array_equal(forecast.ds, expected.ds)
        columns = [name for name in expected if name not in ("unique_id", "ds")]
        np.testing.assert_allclose(forecast[columns], expected[columns], rtol=1e-5)
    assert run(work, tmp_path / "out")[1] == tally
    assert len(pandas.read_parquet(tmp_path / "out" / PREDICTIONS)) == len(results)


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_numbers_that_mark_missing_values_are_missing_in_every_kind_of_file(kind, tmp_path):
    table = long_table(1)
    path = tmp_path / f"table.{kind}"
    marked = table.assign(y=table["y"].mask(table["ds"].dt.day == 20, -9999))
    marked.to_parquet(path) if kind == "parquet" else marked.to_csv(path, index=False)
    results, _ = run(Tables.of([str(path)], horizon=3, missing_values=[-9999]), tmp_path / "out")
    expected = Forecaster(3).predict(
        table.assign(y=table["y"].mask(table["ds"].dt.day == 20))[table.unique_id == "000"]
    )
    forecast = results[results.unique_id == "000"]
    np.testing.assert_allclose(forecast["ffnet_ts_zero"], expected["ffnet_ts_zero"], rtol=1e-5)


@pytest.mark.parametrize("kind", ["parquet", "categories.parquet", "csv"])
@pytest.mark.parametrize("written", ["%d/%m/%Y", "%m-%d-%Y", "%d/%m/%Y %H:%M", "%d/%m/%y", " %d/%m/%YT%H:%M"])
def test_all_dates_of_a_file_tell_whether_the_day_is_first(written, kind, tmp_path):
    results, _ = run(Tables.of([write_dates(tmp_path, kind, written, "45/45/2024")], horizon=2), tmp_path / "out")
    found = {name: forecast["ds"].dt.strftime("%Y-%m-%d").tolist() for name, forecast in results.groupby("unique_id")}
    assert found["short"] == ["2024-03-13", "2024-03-14"]
    assert found["long"] == ["2024-03-21", "2024-03-22"]
    assert "expected a date" in results[results.unique_id == "wrong"].error.item()


def test_dates_of_both_orders_are_refused(tmp_path):
    path = write_dates(tmp_path, "csv", "%d/%m/%Y", "12/31/2024")
    message = r"table.csv: column 'ds': 13/03/2024 and 12/31/2024, expected the day before the month in all dates"
    with pytest.raises(InputError, match=message):
        run(Tables.of([path], horizon=2), tmp_path / "out")


@pytest.mark.parametrize("wrong", ["45/45/2024", "31/02/2024", "13/03/2024 25:00"])
def test_a_wrong_date_is_quoted_as_it_stands_in_the_file(wrong, tmp_path):
    results, _ = run(Tables.of([write_dates(tmp_path, "csv", "%d/%m/%Y", wrong)], horizon=2), tmp_path / "out")
    assert f": '{wrong}', expected a date" in results[results.unique_id == "wrong"].error.item()


def test_an_ambiguous_file_of_several_is_refused(tmp_path):
    """A series may go on in another file, whose dates have one reading."""
    days = pandas.date_range("2024-03-01", periods=20).strftime("%d/%m/%Y")
    for name, dates in {"all": days, "few": days[:12]}.items():
        pandas.DataFrame({"unique_id": name, "ds": dates, "y": 1.0}).to_csv(tmp_path / f"{name}.csv", index=False)
    paths = [str(tmp_path / "all.csv"), str(tmp_path / "few.csv")]
    message = r"few.csv: column 'ds': 01/03/2024 fits both orders of day and month, expected dates such as 2024-12-31"
    with pytest.raises(InputError, match=message):
        run(Tables.of(paths, horizon=2), tmp_path / "out")


def test_dates_that_are_no_text_are_one_line(tmp_path):
    dates = pyarrow.array([b"13/03/2024", b"\xff1/03/2024"]).view(pyarrow.string())
    table = pyarrow.table({"unique_id": ["a", "a"], "ds": dates, "y": [1.0, 2.0]})
    pyarrow.parquet.write_table(table, tmp_path / "table.parquet")
    with pytest.raises(InputError, match=r"table.parquet: not a readable .*\(.*Invalid UTF8"):
        list(read_long(str(tmp_path / "table.parquet")))


def write_dates(folder, kind, written, wrong):
    """A long table of days in March: of a short series, whose dates have two readings, a long one, and a wrong one."""
    days = pandas.date_range("2024-03-01", periods=20).strftime(written)
    dates = {"short": days[:12], "long": days, "wrong": [wrong, *days[1:12]]}
    rows = [(name, day, float(i)) for name, series in dates.items() for i, day in enumerate(series)]
    table = pandas.DataFrame(rows, columns=["unique_id", "ds", "y"])
    path = folder / f"table.{kind}"
    if kind == "csv":
        table.to_csv(path, index=False)
    else:
        table.astype({"ds": "category" if kind.startswith("categories") else str}).to_parquet(path)
    return str(path)


def test_a_text_in_a_series_costs_no_other_series(tmp_path):
    table = long_table(3).astype({"y": str})
    table.loc[table.index[table.unique_id == "001"][2], "y"] = "many"
    table.to_csv(tmp_path / "table.csv", index=False)
    results, _ = run(replace(Tables.of([str(tmp_path / "table.csv")], horizon=2), shards=1), tmp_path / "out")
    errors = dict(zip(results.unique_id, results.error, strict=True))
    assert "'many', expected a number" in errors["001"]
    assert pandas.isna(errors["000"]) and pandas.isna(errors["002"])


@pytest.mark.parametrize("mark", [";", "\t"])
def test_decimal_commas_are_read_and_wrong_numbers_quoted_as_they_stand(mark, tmp_path):
    days = pandas.date_range("2024-01-01", periods=9).strftime("%Y-%m-%d")
    lines = [mark.join([name, day, f"{i},5"]) for name in "ab" for i, day in enumerate(days)]
    lines[12] = lines[12].replace("3,5", "1.000,5")
    (tmp_path / "table.csv").write_text("\n".join([mark.join(["unique_id", "ds", "y"]), *lines]))
    results, _ = run(Tables.of([str(tmp_path / "table.csv")], horizon=1), tmp_path / "out")
    whole = pandas.DataFrame({"date": days, "y": np.arange(9) + 0.5})
    assert results["ffnet_ts_zero"][0] == pytest.approx(Forecaster(1).predict(whole)["y"][0], rel=1e-4)
    assert "'1.000,5', expected a number" in results["error"][1]


def test_files_of_other_kinds_are_named(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "utf16.csv").write_text("unique_id,ds,y\na,2024-01-01,1\n", encoding="utf-16")
    with pytest.raises(InputError, match=r"folder.csv: is a folder, expected a table"):
        Tables.of([str(tmp_path / "folder.csv")], horizon=1)
    with pytest.raises(InputError, match=r"utf16.csv: text in UTF-16, expected UTF-8"):
        list(read_long(str(tmp_path / "utf16.csv")))


def test_tables_that_are_not_long_are_refused(tmp_path):
    pandas.DataFrame({"date": ["2024-01-01"], "y": [1.0]}).to_csv(tmp_path / "wide.csv", index=False)
    long_table(1).assign(unique_id=None).to_parquet(tmp_path / "nameless.parquet")
    with pytest.raises(InputError, match=r"wide.csv: columns date, y, expected unique_id, ds, y: a long table"):
        run(Tables.of([str(tmp_path / "wide.csv")], horizon=2), tmp_path / "out")
    with pytest.raises(InputError, match=r"nameless.parquet: column 'unique_id': rows without a value"):
        run(Tables.of([str(tmp_path / "nameless.parquet")], horizon=2), tmp_path / "out")
    with pytest.raises(InputError, match=r"none.csv: no such file"):
        Tables.of([str(tmp_path / "none.csv")], horizon=2)


def test_a_column_that_is_there_twice_is_named(tmp_path):
    columns = {"unique_id": ["a"], "ds": ["2024-01-01"], "y": [1.0]}
    table = pyarrow.table([*columns.values(), ["b"]], names=[*columns, "unique_id"])
    pyarrow.parquet.write_table(table, tmp_path / "twice.parquet")
    pyarrow.csv.write_csv(table, tmp_path / "twice.csv")
    for name in ("twice.parquet", "twice.csv"):
        with pytest.raises(InputError, match=rf"{name}: column 'unique_id' twice, expected it once"):
            list(read_long(str(tmp_path / name)))


def test_the_command_works_through_a_table_in_this_process(tmp_path, capsys):
    table = long_table(3)
    table.to_csv(tmp_path / "table.csv", index=False)
    command = ["forecast", str(tmp_path / "table.csv"), "--horizon", "2", "--engine", "local"]
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    assert "4 series, 1 with an error in place of a result" in capsys.readouterr().out
    found = pandas.read_parquet(tmp_path / "out" / PREDICTIONS)
    assert found[found.error.isna()].groupby("unique_id").size().to_dict() == {"000": 2, "001": 2, "002": 2}
    assert not (tmp_path / "out" / INPUTS).exists()
    assert main(command) == 2
    assert "engine local without --out" in capsys.readouterr().err
