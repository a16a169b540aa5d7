"""The smaller commands, and what all but training have in common: words, targets and errors."""

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

import metamixer
from command_inputs import save_classifier, save_pictures
from metamixer.checkpoints.ours import load_checkpoint, network_info, save_network
from metamixer.cli import main
from metamixer.commands.batch import Batch
from metamixer.commands.forecast import forecast
from metamixer.commands.models import models
from metamixer.commands.picture_files import plan_images
from metamixer.data.images.labelled import DigitsData
from metamixer.errors import InputError, InputWarning, first_line
from metamixer.predictors.classifier import Classifier
from metamixer.training.run_sheet import mixer_kernels
from metamixer.zoo.networks import METRICS


@pytest.fixture
def checkpoint(tmp_path):
    return save_classifier(tmp_path / "shapes.safetensors")


@pytest.fixture
def pictures(tmp_path):
    return save_pictures(tmp_path / "pictures")


def test_models_lists_the_papers_table(capsys):
    assert main(["models"]) == 0
    rows = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()[1:]}
    assert rows["ffnet_1.in1k"] == ["13.7", "M", "2.98", "G", "256", "81.3", "(paper)", "download", "55", "MB"]
    assert rows["ffnet_4.in1k_384"] == ["79.2", "M", "43.12", "G", "384", "85.3", "(paper)", "download", "321", "MB"]
    assert rows["ffnet_1_hybrid"][-2:] == ["no", "weights"]
    assert rows["ffnet_nano.mini_imagenet"][-3:] == ["in", "the", "package"]
    assert rows["ffnet_sr_nano_x2"][-3:] == ["in", "the", "package"]
    assert rows["ffnet_sr_nano_x3"][-5:-3] == ["33.67", "(ours)"]
    assert all(task in (models.__doc__ or "") for task in METRICS)


def test_fuse_writes_a_deploy_form_that_predicts_the_same(checkpoint, pictures, tmp_path, capsys):
    out = tmp_path / "deploy" / "fused.safetensors"
    assert main(["fuse", str(checkpoint), "--out", str(out)]) == 0
    assert "parity" in capsys.readouterr().out
    images = [pictures / "a.png"]
    original, fused = (Classifier.load(checkpoint=path)(images) for path in (checkpoint, out))
    torch.testing.assert_close(fused, original, rtol=1e-4, atol=1e-5)
    network, info = load_checkpoint(out)
    assert info["fused"]
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())
    assert main(["fuse", str(out), "--out", str(tmp_path / "again.safetensors")]) == 0
    assert main(["fuse", str(out), "--out", str(tmp_path / "again.safetensors"), "--overwrite"]) == 0


def test_fuse_writes_no_deploy_form_that_predicts_otherwise(checkpoint, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch.nn.GELU, "fuse", lambda layer: torch.nn.ReLU(), raising=False)
    assert main(["fuse", str(checkpoint), "--out", str(tmp_path / "fused.safetensors")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"metamixer: error: {checkpoint}: its deploy form differs from the network by ")
    assert "expected at most 1e-04 in fp32: nothing written" in error and error.count("\n") == 1
    assert not (tmp_path / "fused.safetensors").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("data: [", "config.yaml: not readable as YAML"),
        ("just words", "not a run's configuration"),
        ("model: {}", "not a run's configuration"),
        ("data: {class_path: NoSuchData}", "not a run's configuration"),
        ("data: {class_path: DigitsData, init_args: {size: 3}}", "not a run's configuration"),
        (
            "data: {class_path: DigitsData, init_args: {preprocessing: {std: [0, 0, 0]}}}",
            "preprocessing.std [0.0, 0.0, 0.0], expected values above 0",
        ),
    ],
)
def test_draw_reports_a_broken_configuration(content, message, checkpoint, tmp_path, capsys):
    config = Path(checkpoint).with_name("config.yaml")
    config.write_text(content)
    try:
        assert main(["draw", str(checkpoint), "--out", str(tmp_path / "sheet.png")]) == 2
    finally:
        config.unlink()
    error = capsys.readouterr().err
    assert error.startswith(f"metamixer: error: {config}: ") and message in error and error.count("\n") == 1


def test_draw_leaves_out_kernels_that_a_mixer_does_not_have(tmp_path):
    kernels = {}
    for mixer in ("ffnified", "convolution", "depthwise", "attention", "identity", "pooling"):
        args = {"depths": (1, 1, 1, 1), "dims": (32,) * 4, "stem_dim": 8, "num_classes": 10}
        network = metamixer.create_model("ffnet_nano", mixers=mixer, **args).eval()
        kernels[mixer] = [*mixer_kernels(network, "stages.2.blocks.0")]
    assert kernels["ffnified"] == ["key", "value"]
    assert (kernels["convolution"], kernels["depthwise"]) == (["key"], ["query"])
    assert kernels["attention"] == kernels["identity"] == kernels["pooling"] == []
    with pytest.raises(InputError, match=r"block 'stages\.7': no such block"):
        mixer_kernels(network, "stages.7")
    (tmp_path / "config.yaml").write_text("data: {class_path: DigitsData}")
    about = {"classes": [str(i) for i in range(10)], "preprocessing": DigitsData().preprocessing.as_dict()}
    info = network_info("ffnet_nano", {**args, "mixers": "pooling"}, task="classification", **about)
    save_network(network, info, tmp_path / "digits.safetensors")
    with pytest.warns(InputWarning, match=r"'stages\.2\.blocks\.0' has no depthwise convolutions"):
        assert main(["draw", str(tmp_path / "digits.safetensors"), "--out", str(tmp_path / "sheet.png")]) == 0
    width, height = Image.open(tmp_path / "sheet.png").size
    assert height < 0.9 * width, "two of three parts"


@pytest.mark.parametrize(("command", "name"), [("fuse", "mine.safetensors"), ("draw", "mine.png")])
def test_fuse_and_draw_replace_files_only_when_asked(command, name, checkpoint, tmp_path, capsys):
    (tmp_path / name).write_text("mine")
    assert main([command, str(checkpoint), "--out", str(tmp_path / name)]) == 2
    assert f"{name}: exists, expected another name or folder, or --overwrite" in capsys.readouterr().err
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize(
    ("command", "file", "table"),
    [
        ("detect", "photo.png", "detections.json"),
        ("segment", "photo.png", "areas.json"),
        ("points", "scan.ply", "counts.csv"),
        ("points", "room/coord.npy", "counts.csv"),
    ],
)
def test_json_replaces_neither_another_result_nor_an_input(command, file, table, tmp_path, capsys):
    """Which is known before anything is read."""
    source, out = tmp_path / file, tmp_path / "found"
    source.parent.mkdir(exist_ok=True)
    source.touch()
    given = source.parent if file.startswith("room") else source
    for target, said in ((out / table, "the target of two results"), (source, "is one of the inputs")):
        words = [command, str(given), "--out", str(out), "--json", str(target), "--overwrite"]
        assert main(words) == 2
        assert f"{target}: {said}" in capsys.readouterr().err


def test_an_image_given_twice_is_processed_once(pictures, tmp_path):
    given = [str(pictures), str(pictures / "a.png"), str(pictures / "below" / "b.jpg")]
    jobs, _ = plan_images(given, tmp_path / "out", compare=False, json=None, overwrite=False)
    assert [job.target for job in jobs] == [tmp_path / "out" / "a.png", tmp_path / "out" / "below" / "b.jpg"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["paint"], "command 'paint', expected one of predict"),
        (["predict", "--model", "ffnet_9", "--checkpoint", "{checkpoint}", "{pictures}"], "expected ffnet_9"),
        (
            ["predict", "--model", "ffnet_sr_light", "{pictures}"],
            "model 'ffnet_sr_light': its task is super_resolution",
        ),
        *(
            (
                ["predict", "--model", name, "--checkpoint", "{published}", "{pictures}"],
                f"model '{name}': its task is",
            )
            for name in ("ffnet_sr_light", "upernet_ffnet_1", "ffnet_ts")
        ),
        (
            ["predict", "--model", "ffnet_1.pth.tar", "{pictures}"],
            "no such weights, expected ffnet_1.distilled_in1k or ffnet_1.in1k",
        ),
        (["predict", "--model", "resnet5O", "{pictures}"], "model 'resnet5O': no such model; did you mean resnet50"),
        (["predict", "--checkpoint", "{checkpoint}", "{empty}"], "no images in this folder"),
        (["predict", "--checkpoint", "{checkpoint}", "nowhere.jpg"], "nowhere.jpg: no such file"),
        (["predict", "--checkpoint", "{pictures}", "{pictures}"], "{pictures}: is a folder, expected a file"),
        (["predict", "--checkpoint", "{checkpoint}", "{pictures}/notes.txt"], "notes.txt: not a readable image"),
        (["predict", "--checkpoint", "{pictures}/notes.txt", "{pictures}"], "notes.txt: not a readable checkpoint"),
        (
            ["predict", "--checkpoint", "{checkpoint}", "{pictures}", "--batch_size", "0"],
            "batch_size 0, expected at least 1",
        ),
        (
            ["predict", "--checkpoint", "{checkpoint}", "{pictures}", "--batch_size", "-1"],
            "batch_size -1, expected at least 1",
        ),
        (["predict", "--checkpoint", "{checkpoint}", "{pictures}", "--top", "0"], "top 0, expected at least 1"),
        (["predict", "--checkpoint", "{checkpoint}", "{pictures}", "--top", "-1"], "top -1, expected at least 1"),
        (["predict", "--checkpoint", "{checkpoint}", "a" * 300], f"{'a' * 300}: File name too long"),
        (["fuse", "{checkpoint}", "--out", "fused.pth"], "expected a name that ends in .safetensors"),
        (["draw", "{checkpoint}"], "config.yaml: no such file"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(arguments, said, checkpoint, pictures, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    torch.save({"weight": torch.zeros(1)}, tmp_path / "published.pth")
    places = {
        "checkpoint": checkpoint,
        "pictures": pictures,
        "empty": tmp_path / "empty",
        "published": tmp_path / "published.pth",
    }
    assert main([argument.format(**places) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert said.format(**places) in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("said", "line"), [("two\nlines", "two"), ("\n  late", "late"), ("", "ValueError"), ("\n", "ValueError")]
)
def test_errors_of_other_libraries_are_one_line(said, line):
    assert first_line(ValueError(said)) == line


@pytest.mark.parametrize(
    "levels",
    [["--levels", "80", "95"], ["--levels", "[80, 95]"], ["--levels=[80, 95]"], ["--levels=[80,95]"]],
    ids=" ".join,
)
def test_lists_are_words_after_their_option_or_one_in_brackets(levels, monkeypatch):
    seen = {}
    stand_in = functools.wraps(forecast)(lambda **options: seen.update(options))
    monkeypatch.setattr("metamixer.commands.forecast.forecast", stand_in)
    assert main(["forecast", *levels, "table.csv", "--missing-values", "-9999", "1e9", "--overwrite"]) == 0
    assert (seen["table"], seen["levels"], seen["missing_values"], seen["overwrite"]) == (
        "table.csv",
        [80, 95],
        [-9999, 1e9],
        True,
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--engine", "dask"], "engine 'dask', expected local, ray, or ray:ACTORS such as ray:4"),
        (["--engine", "local:2"], "engine 'local:2', expected local, ray, or ray:ACTORS such as ray:4"),
        (["--engine", "ray:0"], "engine 'ray:0', expected local, ray, or ray:ACTORS such as ray:4"),
        (["--engine", "ray:" + "9" * 5000], "expected local, ray, or ray:ACTORS such as ray:4"),
        (["--engine", "ray", "--compare"], "compare True with --engine ray, expected it without --engine"),
    ],
)
def test_an_engine_that_is_not_there_is_refused(options, message, capsys, tmp_path):
    assert main(["upscale", str(tmp_path), "--out", str(tmp_path / "out"), *options]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_closed_pipe_ends_a_command_silently():
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "metamixer", "models"]
    result = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    assert (result.returncode, result.stderr) == (141, "")


def test_a_closed_pipe_is_no_fault_of_a_file():
    batch = Batch(2, "out")
    with pytest.raises(BrokenPipeError), batch, batch.file(Path("a.png")):
        raise BrokenPipeError
    assert batch.failures == []
