"""`metamixer predict`: what it computes, prints and writes."""

import io
import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from command_inputs import CLASSES, PREPROCESSING, save_classifier, save_pictures
from metamixer.checkpoints.ours import load_checkpoint
from metamixer.cli import main
from metamixer.predictors.classifier import Classifier


@pytest.fixture
def checkpoint(tmp_path):
    return save_classifier(tmp_path / "shapes.safetensors")


@pytest.fixture
def pictures(tmp_path):
    return save_pictures(tmp_path / "pictures")


def test_predict_prints_and_writes_the_networks_predictions(checkpoint, pictures, tmp_path, capsys):
    out = tmp_path / "result.json"
    out.touch()
    assert main(["predict", "--checkpoint", str(checkpoint), "--json", str(out), "--overwrite", str(pictures)]) == 0
    printed = capsys.readouterr().out
    results = json.loads(out.read_text())
    assert [result["image"] for result in results] == [str(pictures / "a.png"), str(pictures / "below" / "b.jpg")]
    for result in results:
        shares = [entry["probability"] for entry in result["classes"]]
        assert sorted(entry["name"] for entry in result["classes"]) == CLASSES
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(1)
        assert result["image"] in printed
    network, _ = load_checkpoint(checkpoint)
    image = PREPROCESSING.transform()(Image.open(pictures / "a.png").convert("RGB"))
    with torch.inference_mode():
        best = network(image[None]).argmax().item()
    assert results[0]["classes"][0]["name"] == CLASSES[best]


def test_predict_takes_several_images_and_fewer_classes(checkpoint, pictures, capsys):
    images = [str(pictures / "a.png"), str(pictures / "below" / "b.jpg")]
    assert (
        main(["predict", *images, "--checkpoint", str(checkpoint), "--top", "1", "--json", "-", "--batch-size", "1"])
        == 0
    )
    assert [len(result["classes"]) for result in json.loads(capsys.readouterr().out)] == [1, 1]


def test_an_image_given_twice_is_classified_once(checkpoint, pictures, capsys):
    options = ["--checkpoint", str(checkpoint), "--json", "-", "--batch-size", "1"]
    assert main(["predict", str(pictures), str(pictures / "a.png"), *options]) == 0
    images = [Path(result["image"]).name for result in json.loads(capsys.readouterr().out)]
    assert images == ["a.png", "b.jpg"]


def test_exif_orientation_is_applied(checkpoint, tmp_path):
    upright = Image.effect_mandelbrot((40, 30), (-2, -1, 1, 1), 20).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees clockwise
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "lying.png", exif=exif)
    classifier = Classifier.load(checkpoint=checkpoint)
    assert torch.equal(classifier([tmp_path / "lying.png"]), classifier([upright]))


def test_a_backend_is_chosen_for_the_batch_size_that_runs(checkpoint, pictures, monkeypatch):
    seen = []
    deploy = "metamixer.predictors.predictor.deploy"
    monkeypatch.setattr(deploy, lambda network, example, *args, **settings: seen.append(example) or network)
    assert main(["predict", "--checkpoint", str(checkpoint), "--backend", "auto", str(pictures)]) == 0
    assert seen[0].shape == (2, 3, 32, 32)
    assert seen[0].std() > 0.5


def test_unusual_file_names_are_printed_in_any_encoding(checkpoint, pictures, monkeypatch):
    (pictures / "m\xe4d.png").write_bytes((pictures / "a.png").read_bytes())
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    monkeypatch.setattr("sys.stdout", ascii_only)
    assert main(["predict", "--checkpoint", str(checkpoint), str(pictures)]) == 0
    ascii_only.flush()
    assert b"m\\xe4d.png" in ascii_only.buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("pictures/a.png", ["--overwrite"], "is one of the inputs, expected another folder"),
        ("shapes.safetensors", ["--overwrite"], "is one of the inputs, expected another folder"),
        ("pictures/notes.txt", [], "exists, expected another name or folder, or --overwrite"),
    ],
)
def test_predict_replaces_no_input_and_other_files_only_when_asked(
    name, options, said, checkpoint, pictures, tmp_path, capsys
):
    before = (tmp_path / name).read_bytes()
    assert (
        main(["predict", "--checkpoint", str(checkpoint), "--json", str(tmp_path / name), *options, str(pictures)]) == 2
    )
    assert said in capsys.readouterr().err
    assert (tmp_path / name).read_bytes() == before


def test_a_truncated_image_is_named_and_the_others_classified(checkpoint, pictures, tmp_path, capsys):
    whole = (pictures / "below" / "b.jpg").read_bytes()
    (pictures / "below" / "c.jpg").write_bytes(whole[: len(whole) // 2])
    out = tmp_path / "result.json"
    assert main(["predict", "--checkpoint", str(checkpoint), "--json", str(out), str(pictures)]) == 2
    error = capsys.readouterr().err
    assert "c.jpg: not a readable image" in error
    assert f"1 of 3 files failed, named above; the others are in {out}" in error
    assert [Path(result["image"]).name for result in json.loads(out.read_text())] == ["a.png", "b.jpg"]


@pytest.mark.parametrize(
    ("json", "files", "said"),
    [
        ("result.json", ["notes.txt", "more.txt"], "2 of 2 files failed, named above"),
        ("-", ["notes.txt", "a.png"], "1 of 2 files failed, named above; the others are in the output"),
    ],
)
def test_a_failure_says_where_the_other_results_are(
    json, files, said, checkpoint, pictures, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (pictures / "more.txt").write_text("not a picture either")
    assert (
        main(["predict", "--checkpoint", str(checkpoint), "--json", json, *(str(pictures / name) for name in files)])
        == 2
    )
    assert capsys.readouterr().err.endswith(f"error: {said}\n")
    assert not (tmp_path / "result.json").exists()
