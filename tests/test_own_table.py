"""`metamixer train TABLE`: the packaged forecaster fine-tuned, or a network from scratch."""

import json
import re
import shlex
from functools import partialmethod

import numpy as np
import pandas
import pytest

import metamixer
from metamixer.cli import main
from metamixer.errors import InputWarning
from metamixer.predictors.fine_tuning import FineTuning
from metamixer.predictors.own_table import fine_tunes
from metamixer.training.own_data.kinds import understand
from metamixer.training.own_data.training import find_start
from tables import wide, write_table


@pytest.mark.parametrize("rows", [[], [50, 51]])
def test_a_table_fine_tunes_the_packaged_forecaster(rows, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(FineTuning, "__init__", partialmethod(FineTuning.__init__, steps=2, batch_size=4, checks=1))
    table, out = tmp_path / "my sales.csv", tmp_path / "run"
    wide(300).drop(index=rows).to_csv(table, index=False)
    assert main(["train", str(table), "--out", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert ": 300 dates of 3 series (load, wind, price), the last 37 held out for the backtest; trains" in lines[0]
    assert "fine-tuning ffnet_ts_zero: 2 steps" in lines[1]
    assert re.match(r"MASE of the forecaster \d.*, seasonal-naive \(24 steps\) ", lines[-2]) and "nan" not in lines[-2]
    loaded = metamixer.load(out)
    assert loaded.horizon == 37 and loaded.predict(wide(300)).equals(
        metamixer.load(out / "best.safetensors")(wide(300)).frame
    )
    figure, hub = lines[-2].partition(";")[0], tmp_path / "hub"
    assert main(["export", str(out), "--format", "hub", "--out", str(hub)]) == 0
    assert f"Reached {figure} of my sales.csv: 300 dates of 3 series" in (hub / "README.md").read_text()
    command = shlex.split(lines[-1].removeprefix("next: metamixer "))
    assert main([*command, "--out", str(tmp_path / "forecast.csv")]) == 0
    assert len((tmp_path / "forecast.csv").read_text().splitlines()) == 38


def test_a_fine_tuned_run_keeps_the_earlier_one_and_can_be_the_start(tmp_path, monkeypatch):
    monkeypatch.setattr(FineTuning, "__init__", partialmethod(FineTuning.__init__, steps=2, batch_size=4, checks=1))
    table, out = write_table(tmp_path / "data") / "sales.csv", tmp_path / "run"
    first = metamixer.train(table, out=out)
    kept = (out / "best.safetensors").read_bytes()
    again = metamixer.train(table, out=out, initial=str(out / "best.safetensors"))
    assert (out / "earlier_run_1" / "best.safetensors").read_bytes() == kept
    assert first.predictor.horizon == again.predictor.horizon == 15
    assert json.loads((out / "split.json").read_text()) == {"rows": 120, "train": 90, "validation": 15, "test": 15}
    about = again.to_dict()
    assert about["value"] == about["mase"]["forecaster"] and about["mae"].keys() == {"load", "wind", "price"}


def test_scratch_trains_a_table_from_a_random_initialization(tmp_path):
    data = write_table(tmp_path / "data")
    assert not fine_tunes(data, "scratch") and fine_tunes(data, None)
    assert str(find_start(understand(data), "scratch")) == "ffnet_ts from scratch"
    trained = metamixer.train(data, out=tmp_path / "run", epochs=1)
    assert trained.checkpoint == tmp_path / "run" / "best.ckpt" and trained.predictor.horizon == 15


def test_a_table_with_gaps_trains_on_a_filled_copy(tmp_path):
    months = wide(240, "MS").drop(index=[50, 51])
    months.iloc[100, 1] = np.nan
    months.to_csv(tmp_path / "a.csv", index=False)
    with (
        pytest.warns(InputWarning, match="2 missing rows added"),
        pytest.warns(InputWarning, match="missing values"),
    ):
        data = understand(tmp_path / "a.csv")
    (tmp_path / "run").mkdir()
    settings = data.prepare(tmp_path / "run")
    copy = pandas.read_csv(settings["path"])
    assert len(copy) == 240 and not copy.isna().any(axis=None)
    assert (settings["horizon"], settings["lookback"], sum(settings["split"])) == (18, 96, 240)
