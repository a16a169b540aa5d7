"""`metamixer forecast`: what it writes, and what it refuses before it writes anything."""

import json

import pandas
import pytest

from metamixer.cli import main
from metamixer.errors import InputWarning
from tables import wide

HUGE = "99999999999999999999"


@pytest.fixture(scope="module")
def table():
    return wide(400)


class TestCommand:
    def run(self, *arguments):
        return main(["forecast", *map(str, arguments)])

    def test_forecasts_draws_saves_and_uses_what_it_saved(self, table, tmp_path, capsys):
        table.to_csv(tmp_path / "table.csv", index=False)
        saved = tmp_path / "forecaster.safetensors"
        learn = ["--horizon", 12, "--lookback", 48, "--steps", 6, "--levels", "[80]", "--save", saved]
        out, plot = tmp_path / "out" / "forecast.csv", tmp_path / "out" / "forecast.png"
        assert self.run(tmp_path / "table.csv", *learn, "--out", out, "--plot", plot) == 0
        assert "seasonal-naive" in capsys.readouterr().out
        assert plot.read_bytes()[:4] == b"\x89PNG"
        again = tmp_path / "again.csv"
        assert self.run(tmp_path / "table.csv", "--checkpoint", saved, "--out", again) == 0
        assert again.read_text() == out.read_text()
        assert self.run(tmp_path / "table.csv", "--checkpoint", saved, "--levels", 90) == 2
        assert "levels, expected none: the forecaster was trained with its own" in capsys.readouterr().err
        assert main(["fuse", str(saved), "--out", str(tmp_path / "fused.safetensors")]) == 0
        assert "parity on random windows of series" in capsys.readouterr().out

    def test_forecasts_without_training(self, table, tmp_path):
        table.iloc[:30].to_csv(tmp_path / "table.csv", index=False)
        out, plot = tmp_path / "forecast.csv", tmp_path / "forecast.png"
        assert self.run(tmp_path / "table.csv", "--horizon", 12, "--levels", 80, "--out", out, "--plot", plot) == 0
        assert out.read_text().startswith("date,load,load-lo-80,load-hi-80,")
        assert len(out.read_text().splitlines()) == 13
        assert plot.read_bytes()[:4] == b"\x89PNG"

    def test_fine_tunes_and_backtests(self, table, tmp_path, capsys):
        table.iloc[:300].to_csv(tmp_path / "table.csv", index=False)
        tune = ["--horizon", 12, "--train", "finetune", "--steps", 2, "--quantiles", 0.1, 0.95]
        saved, out = tmp_path / "tuned.safetensors", tmp_path / "forecast.csv"
        assert self.run(*tune, "--out", out, "--save", saved, tmp_path / "table.csv") == 0
        printed = capsys.readouterr().out
        assert "fine-tuning: quantile loss on validation rows" in printed
        assert all(title in printed for title in ("forecaster", "zero-shot", "seasonal-naive (24 steps)", "MASE"))
        assert "load-q-10,load-q-95" in out.read_text()
        again = tmp_path / "again.csv"
        assert (
            self.run(tmp_path / "table.csv", "--checkpoint", saved, "--horizon", 5, "--levels", 80, "--out", again) == 0
        )
        assert len(again.read_text().splitlines()) == 6
        assert "load-lo-80,load-hi-80" in again.read_text()

    def test_a_table_too_short_for_a_backtest_is_forecast(self, table, tmp_path, capsys):
        table.iloc[:40].to_csv(tmp_path / "table.csv", index=False)
        out = tmp_path / "forecast.csv"
        with pytest.warns(InputWarning, match="no backtest: table of 40 dates, expected at least 42 for a backtest"):
            assert self.run(tmp_path / "table.csv", "--train", "finetune", "--horizon", 14, "--out", out) == 0
        assert "backtest on" not in capsys.readouterr().out and len(out.read_text().splitlines()) == 15

    def test_json_on_standard_output_writes_no_file(self, table, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        table.iloc[:30].to_csv("table.csv", index=False)
        assert self.run("table.csv", "--horizon", 2, "--json", "-") == 0
        assert [row["date"][:10] for row in json.loads(capsys.readouterr().out)]
        assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]

    def test_positive_clips_the_forecast(self, table, tmp_path):
        around_zero = table.iloc[:100].assign(load=lambda table: table["load"] - table["load"].mean())
        around_zero.to_csv(tmp_path / "table.csv", index=False)
        for number, extra in enumerate(((), ("--positive",))):
            out = tmp_path / f"{number}.csv"
            assert self.run(tmp_path / "table.csv", "--horizon", 24, "--levels", 99, *extra, "--out", out) == 0
            lowest = pandas.read_csv(out)["load-lo-99"].min()
            assert lowest == 0 if extra else lowest < 0

    def test_names_are_drawn_as_they_are(self, table, tmp_path):
        table.rename(columns={"load": "a_$x_y_z$"}).to_csv(tmp_path / "table.csv", index=False)
        learn = ["--horizon", 12, "--lookback", 48, "--steps", 2, "--plot", tmp_path / "plot.svg"]
        assert self.run(tmp_path / "table.csv", *learn, "--out", tmp_path / "forecast.csv") == 0
        assert "a_$x_y_z$" in (tmp_path / "plot.svg").read_text()

    def test_the_table_is_never_replaced(self, table, tmp_path, capsys):
        path = tmp_path / "table.csv"
        table.to_csv(path, index=False)
        for option in ("--out", "--plot"):
            before = path.read_bytes()
            assert self.run(path, option, path if option == "--out" else tmp_path / "x" / ".." / "table.csv") == 2
            assert "table.csv" in capsys.readouterr().err
            assert path.read_bytes() == before

    def test_an_earlier_forecast_stays(self, table, tmp_path, capsys):
        table.to_csv(tmp_path / "table.csv", index=False)
        out = tmp_path / "forecast.csv"
        out.write_text("of yesterday")
        assert self.run(tmp_path / "table.csv", "--out", out) == 2
        assert "forecast.csv: exists, expected another name or folder, or --overwrite" in capsys.readouterr().err
        assert out.read_text() == "of yesterday"

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["nowhere.csv"], "nowhere.csv: no such file"),
            (["{table}", "--train", "scratch", "--horizon", "500"], "expected at least 1508"),
            (["{table}", "--train", "none", "--steps", "9"], "steps 9 with train none"),
            (["{table}", "--train", "finetune", "--lookback", "9"], "lookback 9 with train finetune"),
            (["{table}", "--train", "scratch", "--quantiles", "0.1"], "quantiles [0.1] with train scratch"),
            (["{table}", "--quantiles", "1.5"], "quantiles [1.5], expected numbers between 0 and 1"),
            (["{table}", "--horizon", "20000"], "horizon 20000, expected an integer from 1 to 10000"),
            (["{table}", "--save", "forecaster.pt"], "expected a name that ends in .safetensors"),
            (["{table}", "--checkpoint", "{table}"], "not a readable checkpoint"),
            (["{table}", "--time", "when"], "time column 'when': no such column"),
            (["{table}", "--horizon", "0"], "horizon 0, expected an integer from 1 to 10000"),
            (["{table}", "--steps", "-5"], "steps -5, expected an integer from 1 to 1000000"),
            (["{table}", "--steps", HUGE], f"steps {HUGE}, expected an integer from 1 to 1000000"),
            (["{table}", "--horizon", HUGE], f"horizon {HUGE}, expected an integer from 1 to 10000"),
            (["{table}", "--lookback", HUGE], f"lookback {HUGE}, expected an integer from 1 to 1048576"),
            (["{table}", "--seed", HUGE], f"seed {HUGE}, expected an integer from 0 to 4294967295"),
            (["{table}", "--save", "{table}/x.safetensors"], "x.safetensors: can't be written"),
            (["{table}", "--out", "forecast.parquet"], "out 'forecast.parquet', expected a name that ends in .csv"),
            (["{table}", "--out", "forecast.csv.gz"], "out 'forecast.csv.gz', expected a name that ends in .csv"),
            (["{table}", "--plot", "forecast.xyz"], "forecast.xyz: expected a name that ends in one of"),
            (["{table}", "--checkpoint", "x.safetensors", "--steps", "9"], "steps 9 with checkpoint x.safetensors"),
            (["{table}", "--checkpoint", "x.safetensors", "--train", "scratch"], "train 'scratch' with checkpoint"),
            (["{table}", "--backend", "openvino"], "backend 'openvino' without --checkpoint, expected none"),
        ],
    )
    def test_wrong_input_is_one_line_and_nothing_is_written(self, arguments, said, table, tmp_path, capsys):
        table.to_csv(tmp_path / "table.csv", index=False)
        out = tmp_path / "forecast.csv"
        assert self.run("--out", out, *[argument.format(table=tmp_path / "table.csv") for argument in arguments]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
        assert not out.exists()
