"""`metamixer export`, and `predict` with its files: int8 with its accuracy, and wrong requests in one line."""

import io
import json
from contextlib import redirect_stdout

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import metamixer
from metamixer.checkpoints.ours import network_info, save_network
from metamixer.cli import main
from metamixer.deployment.exporting import export
from metamixer.deployment.quantization import quantizable_layers
from shapes import CLASSES, INFO, SIZE, classifier, needs


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "shapes.safetensors"
    save_network(classifier(), INFO, path)
    return path


@pytest.mark.parametrize(("shape", "side"), [((), SIZE), ((4, 3, SIZE, SIZE), SIZE), ((2, 3, 96, 96), 96)])
def test_a_fixed_batch_is_one_or_the_users_and_predicts_any_number(shape, side, checkpoint, labelled, tmp_path, capsys):
    out = tmp_path / "fixed.pt2"
    command = ["export", str(checkpoint), "--format", "torch", "--out", str(out), "--dynamic", "false"]
    assert main([*command, *(["--shape", *map(str, shape)] if shape else []), "--images", str(labelled)]) == 0
    assert metamixer.load_exported(out).shape == (shape or (1, 3, SIZE, SIZE))
    capsys.readouterr()
    answers = []
    for file in (out, checkpoint):
        assert main(["predict", "--checkpoint", str(file), str(labelled), "--json", "-"]) == 0
        answers.append(
            [share["probability"] for result in json.loads(capsys.readouterr().out) for share in result["classes"]]
        )
    assert len(answers[0]) == 9 * len(CLASSES)
    assert answers[0] == pytest.approx(answers[1], abs=1e-3 if side == SIZE else 1)


def write_labelled(folder):
    """Three images of each class, in a folder of its name."""
    for i, name in enumerate(CLASSES):
        (folder / "images" / name).mkdir(parents=True)
        for j in range(3):
            Image.effect_mandelbrot((70, 70), (-2 + 0.2 * i, -1, 1, 1 + 0.1 * j), 20).save(
                folder / "images" / name / f"{j}.png"
            )
    return folder / "images"


@pytest.fixture
def labelled(tmp_path):
    return write_labelled(tmp_path)


@pytest.fixture(scope="module")
def int8(checkpoint, tmp_path_factory):
    """The command that exports to int8, a file that it has written, and what it printed."""
    folder = tmp_path_factory.mktemp("int8")
    images = write_labelled(folder)
    command = ["export", str(checkpoint), "--format", "openvino", "--int8"]
    command += ["--calibration", str(images), "--validation", str(images)]
    with redirect_stdout(io.StringIO()) as printed:
        assert main([*command, "--max_drop", "100", "--out", str(folder / "full.xml")]) == 0
    return command, folder / "full.xml", printed.getvalue()


@needs["openvino"]
def test_int8_is_written_with_its_accuracy_or_not_at_all(int8, labelled, tmp_path, capfd):
    command, full, printed = int8
    assert "% in int8" in printed
    assert main(["predict", "--checkpoint", str(full), str(labelled)]) == 0
    out = tmp_path / "net.xml"
    assert main([*command, "--max_drop", "-200", "--out", str(out)]) == 2
    error = capfd.readouterr().err.splitlines()[-1]
    assert "the costliest layers: " in error
    assert not out.exists()


@needs["openvino"]
def test_mixed_precision_leaves_the_costliest_layers_in_floating_point(int8, tmp_path, monkeypatch, capsys):
    command, full, _ = int8
    monkeypatch.setattr(
        "metamixer.deployment.exporting.top1",
        lambda *args, answers=iter([90.0, 50.0, 60.0, 89.5]), **settings: next(answers),
    )
    assert main([*command, "--mixed", "--out", str(tmp_path / "mixed.xml")]) == 0
    assert "2 layers: " in capsys.readouterr().out
    quantized = [path.read_text().count('type="FakeQuantize"') for path in (full, tmp_path / "mixed.xml")]
    assert quantized[0] - quantized[1] >= 2


@needs["openvino"]
def test_the_last_refusal_states_the_number_of_floating_point_layers(
    checkpoint, labelled, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(
        "metamixer.deployment.exporting.top1", lambda *args, answers=iter([90.0, 50.0, 60.0]), **settings: next(answers)
    )
    costs = "metamixer.deployment.exporting.layer_costs"
    monkeypatch.setattr(costs, lambda network, _: [(name, 0.5) for name, _ in quantizable_layers(network)][:2])
    command = [
        "export",
        str(checkpoint),
        "--format",
        "openvino",
        "--out",
        str(tmp_path / "net.xml"),
        "--int8",
        "--mixed",
    ]
    assert main([*command, "--calibration", str(labelled), "--validation", str(labelled)]) == 2
    assert "int8 top-1 60.00 % with 1 of 2 layers in floating point" in capsys.readouterr().err
    assert not (tmp_path / "net.xml").exists()


@needs["openvino"]
def test_a_network_of_series_is_calibrated_on_arrays(tmp_path, capsys):
    args = {"variables": 2, "lookback": 16, "horizon": 4, "dims": (8,)}
    scaling = {"names": ["load", "wind"], "time": "date", "scaling": {"mean": [0.0, 0.0], "std": [1.0, 1.0]}}
    info = network_info("ffnet_ts", args, task="forecasting", preprocessing=scaling)
    torch.manual_seed(0)
    save_network(metamixer.create_model("ffnet_ts", **args), info, tmp_path / "series.safetensors")
    folder = tmp_path / "windows"
    folder.mkdir()
    for i in range(8):
        np.save(folder / f"{i}.npy", np.sin((5 * i + np.arange(16)[:, None]) / 6 + np.arange(2)))
    command = [
        "export",
        str(tmp_path / "series.safetensors"),
        "--format",
        "openvino",
        "--out",
        str(tmp_path / "series.xml"),
    ]
    assert main([*command, "--int8", "--calibration", str(folder)]) == 0
    assert "verified (int8, no accuracy measured)" in capsys.readouterr().out
    np.save(folder / "9.npy", np.zeros((16, 3)))
    assert main([*command, "--int8", "--calibration", str(folder), "--overwrite"]) == 2
    assert "9.npy: shape [16, 3], expected [16, 2]" in capsys.readouterr().err


def test_predict_takes_an_exported_file_and_a_backend(checkpoint, labelled, tmp_path, capsys):
    out = tmp_path / "net.onnx"
    assert main(["export", str(checkpoint), "--format", "onnx", "--out", str(out), "--images", str(labelled)]) == 0
    assert "100.00% of 9 images" in capsys.readouterr().out
    results = []
    for arguments in (
        ["--checkpoint", str(checkpoint)],
        ["--checkpoint", str(out)],
        ["--checkpoint", str(checkpoint), "--backend", "openvino"],
    ):
        assert main(["predict", *arguments, "--json", "-", str(labelled / "circle")]) == 0
        results.append(json.loads(capsys.readouterr().out))
    for other in results[1:]:
        for ours, theirs in zip(other, results[0], strict=True):
            assert ours["classes"][0]["name"] == theirs["classes"][0]["name"]
            assert ours["classes"][0]["probability"] == pytest.approx(theirs["classes"][0]["probability"], abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--format", "pdf"], "format 'pdf', expected one of onnx, openvino, coreml, executorch, litert, torch, hub"),
        (["--format", "torch", "--model", "resnet18"], "a checkpoint of ffnet_nano, expected resnet18"),
        (["--format", "onnx", "--precision", "bf16"], "precision 'bf16', expected one of fp32, fp16, int8"),
        (["--format", "onnx", "--out", "net.pdf"], "expected a name that ends in .onnx"),
        (["--format", "onnx", "--int8"], "--calibration FOLDER"),
        (["--format", "onnx", "--int8", "--calibration", "{empty}"], "--validation FOLDER"),
        (["--format", "onnx", "--images", "{empty}"], "no images in this folder"),
        (["--format", "onnx", "--calibration", "{empty}"], "expected --int8 as well"),
        (["--format", "onnx", "--validation", "{empty}"], "expected --int8 as well"),
        (["--format", "onnx", "--max_drop", "0"], "max_drop 0.0, expected --int8 as well"),
        (["--format", "onnx", "--max-drop=0"], "max_drop 0.0, expected --int8 as well"),
        (["--format", "onnx", "--mixed"], "mixed True, expected --int8 as well"),
        (
            ["--format", "onnx", "--int8", "--precision", "fp16"],
            "precision 'fp16' with --int8, expected one of the two",
        ),
        (["--format", "torch", "--samples", "0"], "samples 0, expected at least 1"),
        (["--format", "torch", "--size", "0"], "size 0, expected at least 1"),
        (["--format", "torch", "--size", "-5"], "size -5, expected at least 1"),
        (["--format", "torch", "--size", "100000"], "for an input of 1x3x100000x100000, expected at most 268,435,456"),
        (["--format", "torch", "--shape", ""], "shape '', expected a value, or no --shape"),
        (["--format", "torch", "--shape", "1", "3", "0", "64"], "smallest size of shape 0, expected at least 1"),
        (["--format", "torch", "--shape", "1", "1", "64", "64"], "input of shape [1, 1, 64, 64], expected 3 channels"),
        (
            ["--format", "torch", "--shape", "1", "3", "64", "96"],
            "shape 1 3 64 96 for ffnet_nano, expected a batch of square images",
        ),
        (
            ["--format", "torch", "--shape", "1", "3", "96", "96", "--size", "64"],
            "size 64 and shape 1 3 96 96, expected one of the two",
        ),
    ],
)
def test_wrong_requests_are_one_line_and_exit_code_2(arguments, said, checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    arguments = [argument.format(empty=tmp_path / "empty") for argument in arguments]
    assert main(["export", str(checkpoint), *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


@pytest.mark.parametrize(
    ("command", "source", "out"),
    [
        (["fuse"], "net.safetensors", "net.safetensors"),
        (["export", "--format", "torch", "--overwrite"], "net.safetensors", "net.safetensors"),
        pytest.param(
            ["export", "--format", "openvino", "--overwrite", "--model", "ffnet_nano"],
            "net.bin",
            "net.xml",
            marks=needs["openvino"],
        ),
    ],
)
def test_a_checkpoint_is_never_replaced(command, source, out, checkpoint, tmp_path, capsys):
    source = tmp_path / source
    source.write_bytes(checkpoint.read_bytes())
    assert main([command[0], str(source), *command[1:], "--out", str(tmp_path / out)]) == 2
    assert "is one of the inputs, expected another folder" in capsys.readouterr().err
    assert source.read_bytes() == checkpoint.read_bytes()


def test_a_file_is_replaced_when_asked(checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shapes.pt2").touch()
    command = ["export", str(checkpoint), "--format", "torch"]
    assert main([*command, "--out", "shapes.pt2"]) == 2
    assert "shapes.pt2: exists, expected another name or folder, or --overwrite" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0
    assert metamixer.load_exported("shapes.pt2").shape == (None, 3, None, None)


def test_predict_refuses_exported_files_of_another_network(tmp_path, capsys):
    segmenter = network_info("ffnet_head_ffnet_nano", {}, task="segmentation", classes=CLASSES, preprocessing={})
    for name, info in (("classes", INFO), ("pixels", segmenter)):
        example = torch.rand(1, 3, 8, 8)
        export(nn.Conv2d(3, 3, 1).eval(), tmp_path / f"{name}.pt2", format="torch", info=info, example=example)
    Image.new("RGB", (8, 8)).save(tmp_path / "picture.png")
    for arguments, said in (
        ([str(tmp_path / "pixels.pt2")], "for segmentation, expected one for classification"),
        ([str(tmp_path / "classes.pt2"), "--model", "ffnet_1"], "a file of ffnet_nano, expected ffnet_1"),
    ):
        assert main(["predict", str(tmp_path / "picture.png"), "--checkpoint", *arguments]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["."], "source '.', expected a checkpoint or a network's name"),
        (
            ["ffnet_1_hybrid"],
            "model 'ffnet_1_hybrid': no weights are published",
        ),
        (["ffnet_sr_nano_x2", "--images", "{arrays}"], "a.npy: not a readable array"),
        (
            ["ffnet_sr_nano_x2", "--images", "{arrays}", "--size", "8", "--samples", "1"],
            "a.npy: contains NaN or infinite values",
        ),
    ],
)
def test_sources_and_inputs_that_cannot_be_used_are_one_line(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.npy").touch()
    if "--size" in arguments:
        np.save(tmp_path / "a.npy", np.full((3, 8, 8), np.nan))
    command = ["export", "--format", "torch", *(argument.format(arrays=tmp_path) for argument in arguments)]
    assert main(command) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("metamixer: error: ")
    assert said in error
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


def test_a_classifier_without_names_of_classes_predicts_their_numbers(tmp_path, capsys):
    save_network(classifier(), {**INFO, "classes": None}, tmp_path / "net.safetensors")
    assert (
        main(["export", str(tmp_path / "net.safetensors"), "--format", "torch", "--out", str(tmp_path / "net.pt2")])
        == 0
    )
    Image.new("RGB", (40, 40)).save(tmp_path / "picture.png")
    assert main(["predict", "--checkpoint", str(tmp_path / "net.pt2"), str(tmp_path / "picture.png")]) == 0
    assert {line.split()[1] for line in capsys.readouterr().out.splitlines() if "%" in line} >= {"0", "1", "2"}


def test_a_validation_folder_is_for_classifiers(labelled, capsys):
    command = ["export", "ffnet_head_ffnet_nano", "--format", "onnx", "--pretrained", "false", "--int8"]
    for options, message in (
        (
            ["--validation", str(labelled)],
            "for ffnet_head_ffnet_nano, expected a classifier with known preprocessing",
        ),
        (
            ["--max_drop", "0.5"],
            "max_drop 0.5 for ffnet_head_ffnet_nano, expected a classifier: other networks have no measured",
        ),
        (["--mixed"], "mixed True for ffnet_head_ffnet_nano, expected a classifier: other networks have no measured"),
    ):
        assert main([*command, "--calibration", str(labelled), *options]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("name", ["ffnet_3d_nano", "cascade_mask_rcnn_ffnet_nano"])
def test_a_network_of_several_tensors_is_refused(name, capsys):
    assert main(["export", name, "--format", "torch", "--pretrained", "false"]) == 2
    assert "expected one with one input and one output tensor" in capsys.readouterr().err


@needs["onnx"]
@pytest.mark.parametrize("name", ["ffnet_head_ffnet_nano", "ffnet_sr_nano_x2"])
def test_segmenters_and_upscalers_export_by_name(name, shallow, tmp_path, capsys):
    assert (
        main(
            [
                "export",
                name,
                "--format",
                "onnx",
                "--pretrained",
                "false",
                "--size",
                "64",
                "--out",
                str(tmp_path / "net.onnx"),
            ]
        )
        == 0
    )
    assert "verified" in capsys.readouterr().out


def test_a_missing_extra_gives_the_pip_command(checkpoint, monkeypatch, capsys):
    monkeypatch.setattr("metamixer.deployment.formats.find_spec", lambda package: None)
    assert main(["export", str(checkpoint), "--format", "litert"]) == 2
    assert "pip install 'metamixer[litert]'" in capsys.readouterr().err
