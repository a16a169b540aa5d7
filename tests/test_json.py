"""`--json`: the result of a command alone, and files that are none of its targets."""

import json
from pathlib import Path

import pytest
from PIL import Image

from metamixer.cli import main
from metamixer.predictors.results import Result
from metamixer.system.json_files import standard
from short_runs import DIGITS_EPOCHS, DIGITS_STEPS, write_digits_recipe


def test_training_evaluating_and_drawing_give_json_alone(tmp_path, capsys):
    recipe, run = write_digits_recipe(tmp_path / "recipe.yaml"), tmp_path / "run"
    assert main(["fit", "--config", recipe, "--out", str(run), "--json", "-"]) == 0
    trained = json.loads(capsys.readouterr().out)
    metrics = trained.pop("metrics")
    assert trained.pop("value") <= metrics["val/top1"] == pytest.approx(metrics["val/top1"])
    assert trained == {
        "task": "classification",
        "out": str(run),
        "checkpoint": str(run / "best.ckpt"),
        "metric": "val/top1",
        "epochs": DIGITS_EPOCHS,
        "steps": DIGITS_EPOCHS * DIGITS_STEPS,
    }
    assert "json" not in (run / "config.yaml").read_text(), "a run with this file writes none"

    words = ["--config", recipe, "--out", str(run), "--trainer.limit_test_batches", "2"]
    assert main(["test", *words, "--json=-"]) == 0
    printed = capsys.readouterr()
    tested = json.loads(printed.out)
    assert (tested["task"], tested["weights"]) == ("classification", str(run / "best.ckpt"))
    assert 0 <= tested["metrics"]["test/top1"] <= 1
    assert f"weights: {run}/best.ckpt" in printed.err

    assert main(["draw", str(run / "best.ckpt"), "--out", str(tmp_path / "sheet.png"), "--json", "-"]) == 0
    drawn = json.loads(capsys.readouterr().out)
    assert drawn == {"checkpoint": str(run / "best.ckpt"), "sheet": str(tmp_path / "sheet.png")}


@pytest.mark.parametrize("command", ["fit", "validate", "test"])
def test_a_json_file_is_not_replaced_unasked(command, tmp_path, capsys):
    (tmp_path / "result.json").write_text("mine")
    recipe = write_digits_recipe(tmp_path / "recipe.yaml")
    words = [command, "--config", recipe, "--out", str(tmp_path / "run"), "--json"]
    assert main([*words, str(tmp_path / "result.json")]) == 2
    assert f"{tmp_path}/result.json: exists" in capsys.readouterr().err
    assert main(words) == 2
    assert (
        f"{command}: argument --json: expected one argument; see metamixer {command} --help" in capsys.readouterr().err
    )
    assert (tmp_path / "result.json").read_text() == "mine"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["upscale", "restore"])
def test_json_and_the_result_need_different_files(command, tmp_path, capsys):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    assert main([command, f"{tmp_path}/a.png", "--out", f"{tmp_path}/b.png", "--json", f"{tmp_path}/b.png"]) == 2
    error = capsys.readouterr().err
    assert error == f"metamixer: error: {tmp_path}/b.png: the target of two results, expected different names\n"
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_saved_result_has_null_in_place_of_nan(tmp_path):
    class Found(Result):
        def to_dict(self):
            return {"probability": float("nan"), "areas": [float("inf"), 1.0]}

    Found().save(tmp_path / "found.json")
    assert json.loads((tmp_path / "found.json").read_text()) == {"probability": None, "areas": [None, 1.0]}


def test_a_folder_is_no_checkpoint(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    Image.new("RGB", (8, 8)).save("a.png")
    assert main(["upscale", "a.png", "--checkpoint", "runs"]) == 2
    error = capsys.readouterr().err
    assert "runs: " in error and "no such model" not in error and error.count("\n") == 1


def test_a_text_that_is_no_checkpoint_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (8, 8)).save("a.png")
    assert main(["restore", "a.png", "--checkpoint", "best"]) == 2
    error = "metamixer: error: checkpoint 'best', expected a file, or a name that `metamixer models` lists\n"
    assert capsys.readouterr().err == error


def test_json_has_neither_nan_nor_infinity():
    result = {"iou": [0.5, float("nan")], "loss": float("inf"), "name": "nan", "steps": 3, "whole": (True, None)}
    assert standard(result) == {"iou": [0.5, None], "loss": None, "name": "nan", "steps": 3, "whole": [True, None]}
