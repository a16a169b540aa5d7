"""Examples run as they are, on small settings."""

import runpy
import sys
from pathlib import Path

import pytest

from metamixer.errors import InputWarning

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_minute_one(tmp_path, monkeypatch, capfd):
    options = ["--out", str(tmp_path), "--epochs", "1", "--side", "40"]
    monkeypatch.setattr(sys, "argv", ["minute_one.py", *options])
    runpy.run_path(str(EXAMPLES / "minute_one.py"), run_name="__main__")
    said = capfd.readouterr().out
    for task in ("predict", "segment", "points", "upscale", "forecast", "train"):
        assert f"{task}: " in said
    assert "40 images in 4 classes (cat, church, coffee, flower), 8 held out for validation" in said
    assert (tmp_path / "large.png").is_file() and (tmp_path / "forecast.csv").is_file()
    assert (tmp_path / "run" / "best.ckpt").is_file()


def test_classify_photograph(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(sys, "argv", ["classify_photograph.py", "--out", str(tmp_path / "rocket.jpg")])
    runpy.run_path(str(EXAMPLES / "classify_photograph.py"), run_name="__main__")
    assert capfd.readouterr().out.startswith("missile ") and (tmp_path / "rocket.jpg").is_file()


def test_label_points(tmp_path, monkeypatch, capfd):
    options = ["--out", str(tmp_path / "farm.png"), "--farms", "3", "--minutes", "0.01"]
    monkeypatch.setattr(sys, "argv", ["label_points.py", *options])
    with pytest.warns(InputWarning, match="only 1 training step, expected a weak network"):
        runpy.run_path(str(EXAMPLES / "label_points.py"), run_name="__main__")
    said = capfd.readouterr().out
    assert "of 5 classes" in said and " of an unseen farm: " in said and (tmp_path / "farm.png").is_file()


def test_find_objects(tmp_path, monkeypatch, capfd):
    options = ["--out", str(tmp_path / "table.jpg"), "--images", "4", "--unseen", "1", "--epochs", "1"]
    monkeypatch.setattr(sys, "argv", ["find_objects.py", *options])
    with pytest.warns(InputWarning, match="only 1 training step, expected a weak network"):
        runpy.run_path(str(EXAMPLES / "find_objects.py"), run_name="__main__")
    said = capfd.readouterr().out
    assert "4 classes (coin, button, leaf, screw), 1 held out" in said and "on 1 unseen tables: " in said
    assert (tmp_path / "table.jpg").is_file()
