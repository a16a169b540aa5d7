"""`metamixer train TABLE`: the packaged forecaster fine-tuned, or a network from scratch."""

import json
import re
import shlex
import shutil
from functools import partialmethod

import numpy as np
import pandas
import pytest
from PIL import Image

import metamixer
from metamixer import Forecaster
from metamixer.cli import main
from metamixer.errors import InputError, InputWarning
from metamixer.predictors.forecasting.fine_tuning import FineTuning
from metamixer.predictors.own_data import table as own_table
from metamixer.predictors.own_data.table import fine_tunes
from metamixer.predictors.own_data.training import Plan, plan
from metamixer.training.own_data.kinds import understand
from metamixer.training.own_data.reading import Reading
from metamixer.training.own_data.start import find_start
from metamixer.training.own_data.tables import reading_of
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
    again = metamixer.train(table, out=out, initial=str(out))
    assert (out / "earlier_run_1" / "best.safetensors").read_bytes() == kept
    assert first.predictor.horizon == again.predictor.horizon == 15
    assert json.loads((out / "split.json").read_text()) == {"rows": 120, "train": 90, "validation": 15, "test": 15}
    about = again.to_dict()
    assert about["value"] == about["mase"]["forecaster"] and about["mae"].keys() == {"load", "wind", "price"}


def test_a_table_too_short_for_a_backtest_is_refused_before_training(tmp_path):
    Forecaster.load("ffnet_ts_zero", horizon=41).save(tmp_path / "forecaster.safetensors")
    data = write_table(tmp_path / "data")
    with pytest.raises(InputError, match=r"sales.csv: table of 120 dates, expected at least 123 for a backtest"):
        metamixer.train(data, out=tmp_path / "run", initial=str(tmp_path / "forecaster.safetensors"))
    assert not (tmp_path / "run").exists()


def marked(path):
    """A table with -9999 for missing values, and a date column of another name that isn't the first."""
    frame = wide(240, names=("load",)).rename(columns={"date": "when"})
    frame.loc[::9, "load"] = -9999
    frame[["load", "when"]].to_csv(path, index=False)
    return path


def test_a_table_is_read_as_the_options_say(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(own_table, "fitting_steps", lambda *about, **more: (1, 0.0))
    monkeypatch.setattr(FineTuning, "__init__", partialmethod(FineTuning.__init__, batch_size=4, max_windows=16))
    table, options = marked(tmp_path / "sales.csv"), ["--missing_values", "-9999", "--time", "when", "--horizon", "5"]
    assert main(["train", str(table), "--out", str(tmp_path / "run"), *options]) == 0
    command = shlex.split(capsys.readouterr().out.splitlines()[-1].removeprefix("next: metamixer "))
    assert command[-2:] == ["--missing_values", "-9999"]
    assert main([*command, "--out", str(tmp_path / "forecast.csv")]) == 0
    forecast = pandas.read_csv(tmp_path / "forecast.csv")
    assert len(forecast) == 5 and forecast["load"].abs().max() < 5
    before = files(tmp_path / "run")
    assert main(["train", str(table), "--out", str(tmp_path / "run"), "--resume", "auto", *options]) == 0
    assert files(tmp_path / "run") == before
    assert main(["train", str(table), "--out", str(tmp_path / "run"), "--resume", "--horizon", "7"]) == 2
    assert "horizon 7 with resume, expected none" in capsys.readouterr().err


def test_a_table_is_read_as_the_options_say_from_scratch(tmp_path):
    table, reading = marked(tmp_path / "sales.csv"), Reading((-9999.0,), horizon=5)
    table.write_text(table.read_text().replace("when", "date"))
    with pytest.warns(InputWarning, match="27 missing values filled"):
        data = understand(table, 0, reading)
    (tmp_path / "run").mkdir()
    settings = data.prepare(tmp_path / "run")
    assert settings["horizon"] == 5 and pandas.read_csv(settings["path"])["load"].abs().max() < 5
    assert reading_of(tmp_path / "run" / "split.json") == reading
    assert reading_of(tmp_path / "split.json") == Reading()


def test_options_of_a_table_are_refused_for_other_data(tmp_path):
    Image.new("RGB", (600, 600)).save(tmp_path / "photo.png")
    with pytest.raises(InputError, match="horizon 5 with large images, expected it with a table of time series only"):
        understand(tmp_path, 0, Reading(horizon=5))
    with pytest.raises(InputError, match="time 'when' with a training from scratch, expected none: name the column"):
        understand(marked(tmp_path / "a.csv"), 0, Reading(time="when"))


def test_scratch_trains_a_table_from_a_random_initialization(tmp_path):
    data = write_table(tmp_path / "data")
    assert not fine_tunes(data, "scratch") and fine_tunes(data, None) and fine_tunes(data, "ffnet_ts_zero")
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


def test_sentinels_are_warned_of(tmp_path):
    hours = wide(240)
    hours.loc[::9, "load"] = -9999
    hours.to_csv(tmp_path / "a.csv", index=False)
    with pytest.warns(InputWarning, match=r"column 'load', row 1 .*: -9999 \(27 such values\); used as a number"):
        understand(tmp_path / "a.csv")


class Killed(BaseException):
    """The process ends here."""


def killed(*given, **options):
    raise Killed


@pytest.fixture
def tuned(tmp_path, monkeypatch):
    """A function that fine-tunes in a folder on a table of weekly spikes, on which a few steps help."""
    table = tmp_path / "sales.csv"
    frame = wide(300, names=("load",))
    frame["load"] = (np.arange(300) % 7 == 0) * 5 + np.random.default_rng(0).normal(0, 0.1, 300)
    frame.to_csv(table, index=False)

    def train(out, *, steps=2, **options):
        monkeypatch.setattr(own_table, "fitting_steps", lambda *about, **more: (steps, 0.0))
        return metamixer.train(table, out=tmp_path / out, **options)

    return train


def files(out):
    return {path.name: path.read_bytes() for path in out.iterdir() if path.is_file() and path.name != ".lock"}


def test_a_fine_tuning_killed_again_and_again_gives_the_same_result(tuned, tmp_path, monkeypatch, capsys):
    assert tuned("whole", seed=5, resume="auto").tuned.kept
    for place in ("Forecaster.fit", "Forecaster.save", "write_data"):
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(f"{own_table.__name__}.{place}", killed)
            tuned("run", seed=5, resume="auto")
        assert (tmp_path / "run" / "best.safetensors").exists() == (place == "write_data")
    again = tuned("run", steps=1, resume="auto")  # as timed on a slower machine
    assert f"repeating the run in {tmp_path / 'run'}: fine-tuning ffnet_ts_zero, 2 steps" in capsys.readouterr().out
    assert again.tuned.steps == 2 and files(tmp_path / "run") == files(tmp_path / "whole")
    assert not (tmp_path / "run" / "earlier_run_1").exists()


def test_a_fine_tuned_start_is_kept_for_resuming(tuned, tmp_path, monkeypatch):
    tuned("whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "run")
    tuned("whole", initial=str(tmp_path / "whole" / "best.safetensors"))
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(own_table.Forecaster, "fit", killed)
        tuned("run", initial=str(tmp_path / "run" / "best.safetensors"))  # which is moved to earlier_run_1
    tuned("run", resume=True)
    assert files(tmp_path / "run")["best.safetensors"] == files(tmp_path / "whole")["best.safetensors"]


def test_an_interrupted_fine_tuning_says_how_to_resume(tuned, tmp_path, monkeypatch, capsys):
    def interrupted(*given, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(own_table.Forecaster, "fit", interrupted)
    assert main(["train", str(tmp_path / "sales.csv"), "--out", str(tmp_path / "run"), "--resume", "auto"]) == 130
    assert capsys.readouterr().err.endswith("metamixer: interrupted: continue with --resume\n")
    assert (tmp_path / "run" / "fine_tuning.yaml").is_file()


SETTINGS = "{table: a, steps: 3, seed: 0, initial: null}"


@pytest.mark.parametrize(
    ("settings", "options", "message"),
    [
        (None, {}, "run/recipe.yaml: no such file, expected a run of metamixer train"),
        (SETTINGS, {}, "sales.csv: not the table that the run in .*run started with, expected it unchanged"),
        (SETTINGS, {"epochs": 3}, "epochs 3 with resume, expected none: the run in .*run fine-tunes on a table"),
        (SETTINGS, {"initial": "scratch"}, "initial scratch with resume, expected none"),
        (
            "{table: a, steps: 0, seed: 0, initial: null}",
            {},
            r"run/fine_tuning.yaml.steps 0, expected .* or equal to 1",
        ),
        ("[]", {}, "run/fine_tuning.yaml"),
    ],
)
def test_what_cannot_be_repeated_is_one_line(settings, options, message, tmp_path):
    table = write_table(tmp_path / "data") / "sales.csv"
    (tmp_path / "run").mkdir()
    if settings:
        (tmp_path / "run" / "fine_tuning.yaml").write_text(settings)
    with pytest.raises(InputError, match=message):
        metamixer.train(table, out=tmp_path / "run", resume=True, **options)


def test_auto_resumes_only_a_run_as_the_options_ask_for(tmp_path):
    data, out = write_table(tmp_path / "data"), tmp_path / "run"
    out.mkdir()
    (out / "fine_tuning.yaml").write_text(SETTINGS)
    plans = {
        options: plan(data, out, initial=options[0], epochs=options[1], resume="auto")
        for options in ((None, None), (None, 2), ("scratch", None))
    }
    assert list(plans.values()) == [Plan(True, True), Plan(False, False), Plan(False, False)]
    with pytest.raises(InputError, match="resume 'yes', expected True, False or 'auto'"):
        plan(data, out, initial=None, epochs=None, resume="yes")
