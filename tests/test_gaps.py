"""Tables with missing rows, and the default horizon of a frequency."""

import warnings

import matplotlib
import numpy as np
import pandas
import polars
import pytest
from matplotlib import pyplot

import metamixer
from metamixer.checkpoints.ours import network_info, save_network
from metamixer.cli import main
from metamixer.data.series.frames import read_frame
from metamixer.data.series.frequency import Frequency
from metamixer.data.series.gaps import fill_gaps
from metamixer.errors import InputError, InputWarning
from metamixer.predictors.forecasting.forecaster import Forecaster
from metamixer.predictors.forecasting.plot import bands_of, draw_forecast, forecast_figure, forecast_of_last_rows
from tables import to_long, wide
from test_predictors import CASES, SERIES


@pytest.mark.parametrize("frequency", ["h", "15min", "D", "B", "W-SUN", "MS", "ME", "QS", "YS"])
@pytest.mark.parametrize("layout", [lambda table: table, to_long], ids=["wide", "long"])
def test_missing_rows_are_added_without_values(frequency, layout):
    whole = wide(40, frequency, start="2020-02-02")
    series, _ = read_frame(layout(whole))
    gaps, _ = read_frame(layout(whole.drop(index=[7, 8, 20])))
    first = str(series.times[7].astype("datetime64[s]")).replace("T", " ").removesuffix(" 00:00:00")
    with pytest.warns(InputWarning, match=f"3 missing rows added without values, the first at {first}"):
        filled = fill_gaps(gaps)
    assert (filled.times == series.times).all() and type(filled).__name__ in ("FilledSeries", "LongSeries")
    missing = np.isnan(filled.values).all(axis=1)
    assert np.flatnonzero(missing).tolist() == [7, 8, 20]
    assert (filled.values[~missing] == gaps.values).all()
    assert "row" not in filled.place(9, 0) and "row" not in filled.date(9)


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table,
        lambda table: table.drop(index=range(5, 35)),  # more rows missing than there are
        lambda table: table.assign(date=table["date"] + pandas.to_timedelta(np.arange(40) ** 2, "min")),
        lambda table: table.iloc[[0, 2, 1, *range(4, 40)]],
        lambda table: table.assign(
            date=table["date"][0] + pandas.to_timedelta([*range(39), 10**15], "us")  # 30 years, 8 PB of dates
        ),
    ],
    ids=["whole", "mostly missing", "irregular", "disordered", "a far date"],
)
def test_other_tables_are_unchanged(change):
    series, _ = read_frame(change(wide(40)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fill_gaps(series) is series


def test_a_forecast_fills_gaps_unless_told_not_to(tmp_path):
    table = wide(60, "D").drop(index=[11, 57])
    with pytest.warns(InputWarning, match="2 missing rows added"):
        forecast = Forecaster(3).predict(table)
    assert forecast["date"].tolist() == pandas.date_range("2020-03-30 22:00", periods=3).tolist()
    with pytest.raises(InputError, match=r"row 12: .* is 2 days 00:00:00 after .*: fill the gap with rows"):
        Forecaster(3, fill_gaps=False).predict(table)


@pytest.mark.parametrize("way", ["alone", "together"])
def test_a_file_keeps_whether_gaps_are_filled(way, tmp_path, capsys):
    path = "ffnet_ts_zero"
    if way == "together":
        path = tmp_path / "scratch.safetensors"
        info = network_info("ffnet_ts", SERIES, task="forecasting", preprocessing=CASES["forecasting"].preprocessing)
        save_network(metamixer.create_model("ffnet_ts", **SERIES), info, path)
    for fills in (True, False):
        asked, kept = Forecaster.load(path, fill_gaps=fills), tmp_path / f"{fills}.safetensors"
        asked.decide_horizon(read_frame(wide(60))[0])
        asked.save(kept)
        assert Forecaster.load(kept).fill_gaps is fills
    wide(60).drop(index=[57]).to_csv(tmp_path / "table.csv", index=False)
    assert main(["forecast", str(tmp_path / "table.csv"), "--checkpoint", str(kept), "--json", "-"]) == 2
    assert "fill the gap with rows" in capsys.readouterr().err


def test_a_plot_of_a_table_with_gaps(tmp_path):
    table, forecaster = wide(60, "D").drop(index=[11, 57]), Forecaster(4)
    with pytest.warns(InputWarning, match="missing rows"):
        forecast = forecaster.predict(table)
    with warnings.catch_warnings():
        warnings.simplefilter("error", InputWarning)
        draw_forecast(table, forecast, forecaster, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000


@pytest.mark.parametrize("frame", [pandas.DataFrame, polars.DataFrame])
def test_a_forecast_draws_and_describes_itself_and_leaves_pyplot_and_small_numbers_alone(frame, monkeypatch):
    def needs_arrow(frame):
        raise ModuleNotFoundError("pyarrow")

    monkeypatch.setattr(polars.DataFrame, "to_pandas", needs_arrow)
    backend = matplotlib.get_backend()
    forecast = Forecaster(4)(frame({"date": wide(60, "D")["date"], "load": 1e-12 * wide(60, "D")["load"]}))
    assert forecast.draw().width > 100 and str(forecast) == "4 steps, 4 rows"
    assert pyplot.get_fignums() == [] and matplotlib.get_backend() == backend
    assert [row["load"] for row in forecast.to_dict()["rows"]] == list(forecast["load"])


def test_the_last_rows_of_a_long_table_are_the_latest_however_dates_are_written():
    table = to_long(wide(60, "D", start="2024-01-01"))
    written, forecaster = table.assign(ds=table["ds"].dt.strftime("%d.%m.%Y")), Forecaster(4)
    dates, forecast = forecast_of_last_rows(*forecaster.read_history(written), forecaster)
    assert (dates == np.arange("2024-02-26", "2024-03-01", dtype="datetime64[D]")).all()
    known = table[table["ds"] < "2024-02-26"]
    np.testing.assert_allclose(forecast["ffnet_ts_zero"], forecaster.predict(known)["ffnet_ts_zero"], rtol=1e-5)


def test_a_plot_has_a_band_for_each_interval_and_pair_of_quantiles():
    forecaster = Forecaster(4, levels=(50, 95), quantiles=(0.9, 0.5, 0.1))
    assert bands_of(forecaster) == [
        ("95 %", "lo-95", "hi-95"),
        ("10 to 90 %", "q-10", "q-90"),
        ("50 %", "lo-50", "hi-50"),
    ]
    table = wide(60, "D")
    figure = forecast_figure(table, forecaster.predict(table), forecaster)
    assert [len(axis.collections) for axis in figure.axes[:3]] == [3, 3, 3]


def test_a_series_that_ends_early_is_named():
    table = wide(60, "D")
    table.loc[57:, "wind"] = np.nan
    with pytest.warns(InputWarning, match="column 'wind' ends at .*; all forecasts begin after .*, the last date"):
        Forecaster(3).predict(table)


@pytest.mark.parametrize(
    ("frequency", "rows", "horizon"),
    [
        *(("h", 50, 48), ("D", 50, 28), ("B", 50, 28), ("W-SUN", 50, 13), ("ME", 50, 18), ("MS", 50, 18)),
        *(("QS", 50, 8), ("YS", 50, 6), ("15min", 50, 5), ("10s", 50, 5), ("2h", 9, 1), ("15min", 2000, 96)),
    ],
)
def test_the_default_horizon_follows_the_frequency(frequency, rows, horizon):
    series, _ = read_frame(wide(rows, frequency, start="2020-02-02"))
    assert Frequency.of(series).default_horizon(rows) == horizon


def test_a_forecaster_takes_the_horizon_from_its_first_table():
    forecaster = Forecaster()
    with pytest.raises(InputError, match="no horizon yet"):
        print(forecaster.horizon)
    assert len(forecaster.predict(wide(40, "MS"))) == forecaster.horizon == 18


def test_the_command_prints_the_horizon_and_the_rows_added(tmp_path, capsys):
    file, out = tmp_path / "table.csv", tmp_path / "forecast.csv"
    wide(60, "W-SUN").drop(index=[11]).to_csv(file, index=False)
    with pytest.warns(InputWarning, match="1 missing row added"):
        assert main(["forecast", str(file), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert said.startswith(
        "ffnet_ts_zero, without training: 13 steps (chosen by the dates; --horizon sets another), 13 rows\n"
    )
    assert main(["forecast", str(file), "--out", str(out), "--overwrite", "--no-fill-gaps"]) == 2
    assert "row 12: " in capsys.readouterr().err
